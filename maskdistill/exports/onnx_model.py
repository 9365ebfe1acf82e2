"""A run's trained model as one ONNX file, from the photo's pixels to its label map, checked against torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from maskdistill import __version__
from maskdistill.config import FeatureConfig, RunConfig, TrainConfig
from maskdistill.datasets import Photo, open_source, read_photo
from maskdistill.datasets.label_files import palette
from maskdistill.datasets.transforms import PatchGeometry
from maskdistill.errors import ConfigError, MaskDistillError, RunError
from maskdistill.exports.folder import exporting
from maskdistill.exports.names import clean_class_names
from maskdistill.exports.onnx_graph import INPUT, LABELS, LOGITS, OPSET, PatchReading, photo_graph
from maskdistill.features.backbone import Backbone, load_backbone
from maskdistill.features.families import resample_positions
from maskdistill.features.patch_tokens import head_blocks
from maskdistill.files import replace_atomically, write_atomically
from maskdistill.models.object_prior import wants_object_prior
from maskdistill.models.patch_head import PatchHeadPredictor, patch_affinity, smooth_by_affinity, upsample
from maskdistill.models.predictor import load_model
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import photos_of
from maskdistill.storage.token_store import TokenAxes, run_axes

MODEL, EXAMPLE = "model.onnx", "label_photo.py"
TOLERANCE = 1e-4  # of the logits
NUM_CHECKED = 4  # photos
HINT = "Install what it takes: pip install 'maskdistill[onnx]'"
# The whole use of the file, without torch and without this package; docs/onnx.md holds the same.
EXAMPLE_TEXT = """\
import json, sys
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model = onnxruntime.InferenceSession("model.onnx")
names = json.loads(model.get_modelmeta().custom_metadata_map["class_names"])
photo = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
labels = model.run(["labels"], {"photo": np.asarray(photo)})[0]
Image.fromarray(labels).save("labels.png")
print({names[label]: f"{(labels == label).mean():.1%}" for label in np.unique(labels)})
"""


class Session(Protocol):
    """What is needed of ``onnxruntime.InferenceSession``."""

    def run(self, names: Sequence[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of these names."""
        ...


class KeptAxes(nn.Module):
    """(N, D) tokens without what compact tokens do not keep; what 8 bits lose of the rest is left in."""

    mean: Tensor
    axes: Tensor

    def __init__(self, axes: TokenAxes) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(axes.mean))
        self.register_buffer("axes", torch.from_numpy(axes.axes))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, D)."""
        return (tokens - self.mean) @ self.axes @ self.axes.T + self.mean


class PatchNetwork(nn.Module):
    """Transformer and head, from patch embeddings to logits, in float32.

    Args:
        backbone: In float32, on the CPU.
        blocks: Numbers of the blocks whose tokens the head reads, from 1.
        predictor: The trained head.
        config: Its settings.
        axes: Of the tokens that it was trained on, if these were compact.
    """

    start: Tensor
    norm_pre: nn.Module
    norm: nn.Module

    def __init__(
        self,
        backbone: Backbone,
        blocks: tuple[int, ...],
        predictor: PatchHeadPredictor,
        config: TrainConfig,
        axes: TokenAxes | None = None,
    ) -> None:
        super().__init__()
        model = backbone.model
        assert isinstance(model, VisionTransformer)  # other families are refused by ``export_onnx``
        extra = (model.cls_token, getattr(model, "dist_token", None), model.reg_token)
        prefix = [token for token in extra if token is not None]
        start = torch.cat(prefix, dim=1) if prefix else torch.zeros(1, 0, model.embed_dim)
        if model.pos_embed is not None and not model.no_embed_class:
            start = start + model.pos_embed[:, : model.num_prefix_tokens]
        self.register_buffer("start", start.detach().clone())
        self.embed_norm, self.norm_pre, self.norm = model.patch_embed.norm, model.norm_pre, model.norm
        self.blocks = nn.ModuleList(model.blocks[: max(blocks)])
        self.wanted, self.smoothing, self.head = blocks, config.smoothing, predictor.model
        self.kept = nn.Identity() if axes is None else KeptAxes(axes)

    def forward(self, patches: Tensor) -> Tensor:
        """(1, N, D) patch embeddings with positions to (N, K + 1) logits."""
        x = self.norm_pre(torch.cat([self.start, patches], dim=1))
        found = {}
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in self.wanted:
                found[number] = self.norm(x)[0, self.start.shape[1] :]
        tokens = self.kept(torch.cat([found[number] for number in self.wanted], dim=1))
        logits = self.head(tokens)
        return smooth_by_affinity(logits, patch_affinity(tokens, self.smoothing)) if self.smoothing else logits


def export_onnx(run: Run, out: Path, *, stage: str = "final", class_names: Sequence[str] = ()) -> str:
    """Write ``model.onnx`` and ``label_photo.py``, the example of its use.

    The file takes photos of any size. It gives what the network says of each pixel; what the run does after that, the
    prior of one class an object and the CRF, is not in it. Photos of the run, or the samples where it has none left,
    go through it and through torch: where a logit differs by more than ``TOLERANCE``, nothing is written.

    Args:
        run: A run whose model is a ``patch_head``.
        out: New, empty, or the folder of an earlier export.
        stage: Which model, as ``load_model`` takes it.
        class_names: Of the classes 1 to K.

    Returns:
        A sentence on what was written and how well it agrees.

    Raises:
        RunError: If the model was not trained, or ONNX says something else than torch.
        ConfigError: If the model is another network, a package is missing, or the folder cannot be used.
    """
    config, info = run.config(), run.info()
    _check_packages()
    stage = run.final_model if stage == "final" else stage
    training = config.stage1 if stage == "stage1" else config.stage2
    if training.model != "patch_head":
        raise ConfigError(
            f"The model of {stage} is a {training.model}; only a patch_head is written as ONNX. Export a stage1 model "
            f"with --stage stage1, or train one with: --set stage2.model=patch_head"
        )
    photos = _photos_to_check(run)
    features = FeatureConfig(**{**_as_dict(config), "device": "cpu", "precision": "float32"})
    backbone = load_backbone(features)
    if not isinstance(backbone.model, VisionTransformer):
        kind = type(backbone.model).__name__
        raise ConfigError(
            f"The backbone {backbone.spec.name} is a {kind}, whose positions ONNX cannot follow to every size yet. "
            "Only plain vision transformers, such as dino_vits16, dinov2_vits14 and focus_vits14, are written as ONNX."
        )
    predictor = load_model(run, stage, lambda photo: _no_tokens(photo), object_prior=False)
    assert isinstance(predictor, PatchHeadPredictor)
    predictor.model.cpu()
    axes = run_axes(run, config.features)
    network = PatchNetwork(backbone, head_blocks(backbone, features), predictor, training, axes).eval()
    reading = _reading_of(backbone, features)
    model = photo_graph(_trace(network, len(reading.bias)), reading, predictor.num_classes)
    names = clean_class_names(class_names or [f"cluster {n}" for n in range(1, predictor.num_classes + 1)])[0]
    about = _about(run, info, config, stage, backbone, names)
    with exporting(out, "onnx", [MODEL, EXAMPLE]):
        session = _open(model.SerializeToString())
        found = check_model(session, network, backbone, features, photos)
        if found["largest_difference"] > TOLERANCE:
            raise RunError(
                f"The ONNX file's logits differ from torch's by {found['largest_difference']:.1e} on photos of "
                f"{run.path}, at most {TOLERANCE:g} is allowed; nothing was written. Try another version of "
                "onnxruntime, or tell the authors which backbone this is."
            )
        for key, value in {**about, "check": found}.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        replace_atomically(out / MODEL, lambda temporary: temporary.write_bytes(model.SerializeToString()))
        write_atomically(out / EXAMPLE, EXAMPLE_TEXT)
    size = (out / MODEL).stat().st_size / 2**20
    left_out = " The run's own label maps are settled by one class an object, too, which is not in the file."
    prior = left_out if stage != "stage1" and wants_object_prior(run, config) else ""
    return (
        f"{out / MODEL} ({size:.0f} MB): {stage} with {backbone.spec.name}, {predictor.num_classes} classes. On "
        f"{found['photos']} photos its logits differ from torch's by {found['largest_difference']:.1e} at most.{prior} "
        f"How to use it: {out / EXAMPLE}."
    )


def check_model(
    session: Session, network: PatchNetwork, backbone: Backbone, features: FeatureConfig, photos: Sequence[Photo]
) -> dict[str, Any]:
    """Compare ONNX with torch on photos.

    Returns:
        ``photos``, ``largest_difference`` of the logits, and ``same_labels``, a share of the pixels.

    Raises:
        RunError: If no photo can be read.
    """
    differences, same, counted = [], 0, 0
    for photo in photos:
        try:
            image = read_photo(photo)
        except (MaskDistillError, OSError):
            continue
        pixels = np.asarray(image)
        labels, logits = session.run([LABELS, LOGITS], {INPUT: pixels})
        wanted = torch_logits(network, backbone, features, pixels)
        differences.append(float(np.abs(logits - wanted).max()))
        same += int((labels == wanted.argmax(axis=0)).sum())
        counted += labels.size
    if not counted:
        raise RunError("No photo could be read to check the ONNX file with. Put the photos of the run back.")
    return {"photos": len(differences), "largest_difference": max(differences), "same_labels": same / counted}


@torch.inference_mode()
def torch_logits(network: PatchNetwork, backbone: Backbone, features: FeatureConfig, pixels: np.ndarray) -> np.ndarray:
    """(K + 1, height, width) float32 logits of a (height, width, 3) uint8 photo, by torch, step by step as in ONNX."""
    height, width = pixels.shape[:2]
    geometry = backbone.geometry(height, width, features)
    planes = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float()
    size = (geometry.resized_height, geometry.resized_width)
    content = F.interpolate(planes, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 255) / 255
    mean, std = (torch.tensor(item).view(1, 3, 1, 1) for item in (backbone.mean, backbone.std))
    margins = (0, geometry.padded_width - size[1], 0, geometry.padded_height - size[0])
    content = F.pad((content - mean) / std, margins)
    logits = network(_embed(backbone, content, geometry))
    return upsample(logits.T.reshape(1, -1, geometry.rows, geometry.cols), geometry)[0].numpy()


def _embed(backbone: Backbone, content: Tensor, geometry: PatchGeometry) -> Tensor:
    model = backbone.model
    cells = model.patch_embed.proj(content).flatten(2).transpose(1, 2)
    if model.pos_embed is None:
        return cells
    num_prefix = 0 if model.no_embed_class else model.num_prefix_tokens
    new = (geometry.rows, geometry.cols)
    grid = model.patch_embed.grid_size
    return (
        cells
        + resample_positions(model.pos_embed, num_prefix, grid, new, antialias=backbone.spec.antialias)[:, num_prefix:]
    )


def _reading_of(backbone: Backbone, features: FeatureConfig) -> PatchReading:
    model = backbone.model
    conv = model.patch_embed.proj
    bias = torch.zeros(len(conv.weight)) if conv.bias is None else conv.bias
    positions = None
    if model.pos_embed is not None:
        num_prefix = 0 if model.no_embed_class else model.num_prefix_tokens
        grid = model.pos_embed[:, num_prefix:].reshape(1, *model.patch_embed.grid_size, -1)
        positions = grid.permute(0, 3, 1, 2).contiguous().numpy()
    return PatchReading(
        kernel=conv.weight.numpy(),
        bias=bias.numpy(),
        positions=positions,
        mean=backbone.mean,
        std=backbone.std,
        shorter_side=features.shorter_side or backbone.spec.shorter_side,
        fit=features.fit,
        antialias=backbone.spec.antialias,
    )


def _trace(network: PatchNetwork, dimensions: int) -> Any:
    """The network as an ONNX graph that takes any number of patches."""
    example = torch.randn(1, 20, dimensions)
    count = torch.export.Dim("patches", min=2, max=2**16)
    program = torch.onnx.export(
        network, (example,), dynamo=True, opset_version=OPSET, dynamic_shapes=({1: count},), verbose=False
    )
    assert program is not None  # as dynamo makes one
    return program.model_proto


def _open(content: bytes) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _check_packages() -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"Writing ONNX needs the package {error.name}, which is not installed. {HINT}") from error


def _photos_to_check(run: Run) -> list[Photo]:
    """Photos of the run, the narrowest and the widest among them; the samples where its photos are gone."""
    photos = [photo for photo in photos_of(run) if photo.place is not None or photo.path.is_file()]
    photos = photos or list(open_source("sample").photos)
    photos.sort(key=lambda photo: photo.width / photo.height)
    count = min(NUM_CHECKED, len(photos))
    return [photos[place * (len(photos) - 1) // max(1, count - 1)] for place in range(count)]


def _no_tokens(photo: Photo) -> tuple[np.ndarray, PatchGeometry]:
    raise AssertionError(photo)  # only the head is taken of the predictor


def _as_dict(config: RunConfig) -> dict[str, Any]:
    return {name: getattr(config.features, name) for name in config.features.__dataclass_fields__}


def _about(
    run: Run, info: dict[str, Any], config: RunConfig, stage: str, backbone: Backbone, names: Sequence[str]
) -> dict[str, Any]:
    """What stands in the file's metadata; values are text or JSON."""
    colors = ["#{:02X}{:02X}{:02X}".format(*color) for color in palette()[: len(names) + 1].tolist()]
    return {
        "class_names": ["background", *names],
        "palette": colors,
        "model": stage,
        "preset": info.get("preset") or "",
        "backbone": backbone.spec.name,
        "weights": backbone.spec.weights,
        "settings": config.to_dict(),
        "versions": {"maskdistill": __version__, "torch": torch.__version__, "trained_with": info.get("versions", {})},
        "input": "photo: uint8 (height, width, 3), RGB, upright, of any size",
        "outputs": "labels: uint8 (height, width); logits: float32 (classes, height, width), before softmax",
        "not_included": "the prior of one class an object, and the CRF",
        "run": run.name,
    }
