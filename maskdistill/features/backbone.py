"""A frozen transformer on a device, ready to read photos."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from torch import Tensor

from maskdistill.config import FeatureConfig
from maskdistill.datasets.transforms import PatchGeometry, patch_grid, to_pixels
from maskdistill.errors import CheckpointError, ConfigError
from maskdistill.features.attention import use_blocked_attention
from maskdistill.features.families import Vit, check_family, has_cls, has_heads, prepare
from maskdistill.features.focus_weights import cached_name, load_focus_state_dict
from maskdistill.features.forward import (
    FeatureRequest,
    Features,
    RunBlocks,
    compile_blocks,
    forward_features,
    run_blocks,
)
from maskdistill.features.registry import BackboneSpec, check_reachable, choose_backbone
from maskdistill.features.weight_files import check_state, load_weights
from maskdistill.storage.read_files import first_line

logger = logging.getLogger(__name__)


@dataclass
class Backbone:
    """A frozen transformer on a device, ready to read photos."""

    spec: BackboneSpec
    reason: str  # why this one was taken
    model: Vit = field(repr=False)
    device: torch.device
    precision: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    run: RunBlocks = field(default=run_blocks, repr=False)

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
        """Attention heads of the last block; 1 where they cannot be told apart."""
        attention = getattr(self.model.blocks[-1], "attn", None)
        return attention.num_heads if attention is not None else 1

    @property
    def has_heads(self) -> bool:
        """Whether queries, keys and values can be asked for."""
        return has_heads(self.model)

    @property
    def has_attention(self) -> bool:
        """Whether there is a CLS token, and its attention can be asked for."""
        return has_cls(self.model) and self.has_heads

    @cached_property
    def description(self) -> str:
        """One line for people: name, where it runs, what the weights are."""
        return f"{self.spec.name} on {self.device} in {self.precision}. {self.spec.weights}"

    def blocks(self, from_the_end: tuple[int, ...]) -> tuple[int, ...]:
        """Block numbers from 1 for a default that is counted from the end; a shallow model has its first block."""
        return tuple(dict.fromkeys(max(1, self.depth - back) for back in from_the_end))

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
        return self.features_of([image], [geometry], request, mirror=mirror)[0]

    def features_of(
        self,
        images: Sequence[Image.Image],
        geometries: Sequence[PatchGeometry],
        request: FeatureRequest,
        *,
        mirror: bool = False,
    ) -> list[Features]:
        """``features`` of several photos, by one forward pass over all that have the same grid."""
        of_grid: dict[tuple[int, int], list[int]] = {}
        for index, geometry in enumerate(geometries):
            of_grid.setdefault((geometry.rows, geometry.cols), []).append(index)
        found: dict[int, Features] = {}
        for indices in of_grid.values():
            photos = [
                to_pixels(images[index], geometries[index], mean=self.mean, std=self.std, mirror=mirror)
                for index in indices
            ]
            found.update(zip(indices, self.forward(torch.stack(photos), request), strict=True))
        return [found[index] for index in range(len(images))]

    def forward(self, pixels: Tensor, request: FeatureRequest) -> list[Features]:
        """One forward pass over (B, 3, H, W) normalised pixels."""
        if self.device.type == "cuda":
            pixels = pixels.pin_memory()  # which the GPU reads by itself
        pixels = pixels.to(self.device, non_blocking=True)
        return forward_features(self.model, pixels, request, antialias=self.spec.antialias, run=self.run)


def load_backbone(config: FeatureConfig) -> Backbone:
    """Choose, build and load the transformer of a configuration.

    Raises:
        ConfigError: If the name, device or precision cannot work here.
        CheckpointError: If the weights are missing, cannot be fetched, or belong to another model.

    Example:
        ```python
        import maskdistill as md

        config = md.load_preset("quick").with_overrides(["features.backbone=focus_vits14"])
        backbone = md.load_backbone(config.features)
        assert backbone.patch_size == 14
        ```
    """
    choice = choose_backbone(config.backbone, config.architecture)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    model = _build_model(choice.spec).eval().requires_grad_(False)
    data = timm.data.config.resolve_model_data_config(model)
    model = model.to(device=device, dtype=getattr(torch, precision))
    if device.type == "cpu" and precision == "bfloat16" and config.runtime != "compiled":
        use_blocked_attention(model)
    logger.info("Backbone %s (%s) on %s in %s.", choice.spec.name, choice.reason, device, precision)
    found = Backbone(choice.spec, choice.reason, model, device, precision, data["mean"], data["std"])
    if config.runtime == "compiled":
        found.run = compile_blocks(model)
        _try_compiled(found)
    return found


def _try_compiled(backbone: Backbone) -> None:
    """Compile before any photo is at hand, so that what is missing here is no fault of a photo."""
    side = 4 * backbone.patch_size
    try:
        backbone.forward(torch.zeros(1, 3, side, side), FeatureRequest(token_blocks=(backbone.depth,)))
    except RuntimeError as error:
        raise ConfigError(
            f"features.runtime=compiled cannot work here: {first_line(error)}. torch.compile wants a C++ compiler, and "
            "Triton on a GPU; install them, or set features.runtime=torch."
        ) from error


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
    return "bfloat16" if _mkldnn_takes_bfloat16() and _has_bfloat16_units() else "float32"


def _mkldnn_takes_bfloat16() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _has_bfloat16_units() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; emulated, it would be slower than float32."""
    if not hasattr(torch.cpu, "get_capabilities"):  # PyTorch before 2.11 knows no more
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16"))


def _build_model(spec: BackboneSpec) -> Vit:
    pretrained = spec.source == "hub"
    if pretrained:
        check_reachable(spec)
    try:
        model = timm.create_model(spec.architecture, pretrained=pretrained, num_classes=0, **_any_size(spec))
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"Cannot get the weights of {spec.name}: {first_line(error)}. Without a network use backbone=focus_vits14, "
            "or a local file."
        ) from error
    check_family(model, spec.architecture)
    assert isinstance(model, Vit)
    if spec.source == "focus":
        state = load_focus_state_dict()
        remedy = "It is made anew once it is gone from the cache folder."
        check_state(model.state_dict(), state, Path(cached_name()), remedy)
        model.load_state_dict(state)
    elif spec.source == "file":
        load_weights(model, Path(spec.path))
    prepare(model)
    return model


def _any_size(spec: BackboneSpec) -> dict[str, Any]:
    """BEiT has no such option; ``prepare`` does it there."""
    return {} if timm.models.is_model_in_modules(spec.architecture, ("beit",)) else {"dynamic_img_size": True}
