"""A new photo, labelled by both models of a run."""

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from PIL import Image

from app import cache, photo_cache, uploads
from app.run_context import run_config
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, inspect_image, read_photo
from maskdistill.datasets.label_files import palette
from maskdistill.errors import DatasetError
from maskdistill.evaluation.run_label_maps import STAGE1
from maskdistill.machine import heavy_imports
from maskdistill.proposals.crf import crf_available, refine_classes
from maskdistill.proposals.live import LIVE_SIDE, live_size
from maskdistill.roots import scratch_folder
from maskdistill.storage.run_folder import Run, fingerprint
from maskdistill.storage.token_store import run_axes

if TYPE_CHECKING:  # importing it loads torch
    from maskdistill.datasets.transforms import PatchGeometry
    from maskdistill.models import Predictor

FINAL, FINAL_CRF = "final", "final_crf"


@dataclass(frozen=True, eq=False)
class SegmentedPhoto:
    """The label maps that the models predict for a photo."""

    name: str  # of the file
    size: tuple[int, int]  # height, width of the upright photo, pixels
    image: Image.Image  # a copy of at most ``LIVE_SIDE`` pixels, which the models read
    maps: dict[str, np.ndarray]  # (H, W) uint8 label map of the copy, by model
    seconds: dict[str, float]  # that each took

    def palette_png(self, kind: str) -> Image.Image:
        """A label map at the photo's own size, in VOC's colors: 0 background, 1 to K clusters."""
        labels = Image.fromarray(self.maps[kind]).resize(self.size[::-1], Image.Resampling.NEAREST)
        labels.putpalette(palette().tobytes())
        return labels


@dataclass(frozen=True, eq=False)
class Models:
    """The trained models of a run, in the order of the method; they share the tokens of a photo."""

    config: RunConfig
    predictors: dict[str, "Predictor"]


class KeptTokens:
    """Patch tokens of the last photo, so that a second model does not compute them again."""

    def __init__(self, read: Callable[[Photo], tuple[np.ndarray, "PatchGeometry"]]) -> None:
        self._read = read
        self._kept: tuple[str, Any] | None = None
        self._lock = threading.Lock()

    def __call__(self, photo: Photo) -> tuple[np.ndarray, "PatchGeometry"]:
        """(rows, cols, D) tokens and their grid."""
        with self._lock:
            if self._kept is None or self._kept[0] != photo.digest:
                self._kept = (photo.digest, self._read(photo))
            return self._kept[1]


def trained_models(run: Run) -> list[str]:
    """Folders of the models that the run has, in the order of the method."""
    wanted = (STAGE1, run.final_model)
    return [name for name in wanted if (run.path / name / "model.safetensors").is_file()]


def models(run: Run) -> Models:
    """The run's models, loaded once per server.

    Raises:
        MaskDistillError: If the weights cannot be used.
    """
    names = trained_models(run)
    stamp = cache.stamp(run.path / name / "model.safetensors" for name in names)
    return _models(run.path, tuple(names), stamp)


@st.cache_resource(max_entries=2, show_spinner="Loading the models …")
def _models(path: Path, names: tuple[str, ...], stamp: Any) -> Models:
    with heavy_imports:
        from maskdistill.features.patch_tokens import FreshTokens
        from maskdistill.models.predictor import load_model

    run = Run(path)
    config = run_config(run.info())
    axes = run_axes(run, config.features)
    tokens = KeptTokens(lambda photo: FreshTokens(config.features, photo_cache.backbone(config.features), axes)(photo))
    kinds = (STAGE1, FINAL) if names[0] == STAGE1 else (FINAL,)
    return Models(config, {kind: load_model(run, name, tokens) for kind, name in zip(kinds, names, strict=False)})


def segment(content: bytes, name: str, models: Models, *, crf: bool) -> SegmentedPhoto:
    """Label a picture file.

    Args:
        content: Of the file.
        name: Of the file.
        models: The models.
        crf: Whether the last prediction is refined along the photo's edges too, where pydensecrf is installed.

    Raises:
        DatasetError: If it is no usable picture; the message has no path.
    """
    with tempfile.TemporaryDirectory(prefix=".maskdistill-", dir=scratch_folder()) as folder:
        photo, size = _as_photo(content, name, Path(folder))
        image = read_photo(photo)
        maps, seconds = {}, {}
        for kind, predictor in models.predictors.items():
            with photo_cache.forward_lock():
                began = time.perf_counter()
                probabilities = predictor.probabilities(photo)
            maps[kind], seconds[kind] = _classes(probabilities), time.perf_counter() - began
        if crf and crf_available():
            began = time.perf_counter()
            refined = refine_classes(np.asarray(image), probabilities, models.config.crf)
            maps[FINAL_CRF], seconds[FINAL_CRF] = _classes(refined), time.perf_counter() - began
        return SegmentedPhoto(name, size, image, maps, seconds)


def _classes(probabilities: np.ndarray) -> np.ndarray:
    return probabilities.argmax(axis=0).astype(np.uint8)


def _as_photo(content: bytes, name: str, folder: Path) -> tuple[Photo, tuple[int, int]]:
    """An upright copy of bounded size as a photo, and the (height, width) of the picture that was given."""
    path = folder / "picture"
    path.write_bytes(content)
    try:
        size = inspect_image(path, max_pixels=uploads.MAX_PIXELS)
        image = read_photo(path, min_short_side=LIVE_SIDE)
    except DatasetError as error:
        raise DatasetError(str(error).removeprefix(f"Cannot read {path}. ")) from error
    digest = fingerprint([name, len(content), content[:4096].hex(), content[-4096:].hex()])
    photo = Photo(name, folder / "copy.png", *size, digest)
    height, width = live_size(photo)
    image.resize((width, height), Image.Resampling.LANCZOS).save(photo.path, compress_level=1)
    return replace(photo, height=height, width=width), size


def too_large(size: int) -> str:
    """Why a file of that many bytes is refused; empty if it is not."""
    limit = uploads.MAX_FILE_MB
    return "" if size <= limit * 2**20 else f"It has more than {limit} MB; save a smaller copy."
