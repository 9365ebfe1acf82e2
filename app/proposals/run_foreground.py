"""What the foreground learnt across photos says of the photo on show, and what it made of the run's masks."""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from app import cache
from app.components.layered_image import ColorScale, Layer, View
from app.proposals.photo_view import mask_layer
from app.run_context import RunContext
from maskdistill.datasets import Photo
from maskdistill.pictures import colors, drawing
from maskdistill.pictures.derivation import DerivationStep
from maskdistill.proposals.live import live_size
from maskdistill.review.mask_table import PART
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.photo_arrays import ArrayStore
from maskdistill.storage.read_files import columns_of
from maskdistill.storage.run_folder import Run

TITLE = "Foreground"
_CHANCE = "Probability of foreground"
_LEAST = 0.45  # opacity of the map, at least
_COLUMNS = ("mask_id", "image_id", "score", "pool", "recut")
_STATE = ("stages/foreground.json", "foreground.json", "foreground/masks.json", "foreground/masks.parquet")


@dataclass(frozen=True)
class RunMask:
    """A mask of the run, on the copy of the photo that is explored."""

    mask: np.ndarray  # (H, W) bool
    score: float
    parts: dict[str, float]
    pool: int = -1  # its candidate, -1 for what was made from the cut


@dataclass(frozen=True)
class RunForeground:
    """Of one photo, as the run has it; nothing here may be changed, all sessions share it."""

    probability: np.ndarray  # (rows, cols) float32, of each patch to be foreground
    cut: tuple[RunMask, ...]  # the run's masks as they were cut, best first
    after: tuple[RunMask, ...]  # the same after the foreground
    recut: bool  # whether the first of them has the foreground's shape


def run_foreground(context: RunContext, photo: Photo) -> RunForeground | None:
    """What the run's stage ``foreground`` found on a photo; None if it was not used, or not on this photo.

    Raises:
        RunError: If a file is damaged.
    """
    run = context.run
    if run is None or run.own_mask_stage != "foreground":
        return None
    stamp = cache.stamp(run.path / name for name in _STATE)
    return _read(run.path, stamp, photo.id, live_size(photo))


@st.cache_resource(max_entries=32, show_spinner=False)
def _read(path: Path, stamp: str, photo_id: str, size: tuple[int, int]) -> RunForeground | None:
    cut, after = _tables(path, stamp)
    rows = after.of_photo(photo_id)
    if not len(rows):
        return None
    number, maps = (
        int(Run(path).photo_of(rows["mask_id"].to_numpy()[:1])[0]),
        ArrayStore(Run(path).foreground.maps_path),
    )
    if maps.missing([number]):
        return None
    values = np.asarray(maps.read(number)[..., 0], np.float32)
    return RunForeground(values, cut.masks(photo_id, size), after.masks(photo_id, size), bool(rows["recut"].iat[0]))


@dataclass(frozen=True, eq=False)
class _Masks:
    """All masks of a run, of one kind."""

    table: pd.DataFrame
    codes: MaskCodes

    def of_photo(self, photo_id: str) -> pd.DataFrame:
        return self.table[self.table["image_id"] == photo_id]

    def masks(self, photo_id: str, size: tuple[int, int]) -> tuple[RunMask, ...]:
        return tuple(self._mask(row, size) for row in self.of_photo(photo_id).to_dict("records"))

    def _mask(self, row: dict[Hashable, Any], size: tuple[int, int]) -> RunMask:
        parts = {
            str(name).removeprefix(PART): float(value)
            for name, value in row.items()
            if str(name).startswith(PART) and not math.isnan(value)
        }
        picture = Image.fromarray(self.codes.decode(row["mask_id"])).resize(size[::-1], Image.Resampling.NEAREST)
        return RunMask(np.asarray(picture), float(row["score"]), parts, int(row.get("pool", -1)))


@cache.newest(2)
def _tables(path: Path, stamp: str) -> tuple[_Masks, _Masks]:
    """As cut, and after the foreground."""
    run = Run(path)
    return (
        _Masks(run.cut_masks(columns_shown(run.cut_masks_path)), MaskCodes.open(run, "proposals")),
        _Masks(run.own_masks(columns_shown(run.own_masks_path)), MaskCodes.open(run, "own")),
    )


def columns_shown(path: Path) -> list[str]:
    """The columns of a table of masks that the page shows; the codes are not read with them.

    Raises:
        RunError: If the file is missing or damaged.
    """
    return [name for name in columns_of(path) if name in _COLUMNS or name.startswith(PART)]


def foreground_view(found: RunForeground) -> View:
    """The masks after the foreground, over the map."""
    step = _map_step(found)
    masks = tuple(mask_layer(rank, item.mask, item.score, item.parts) for rank, item in enumerate(found.after))
    return View((*masks, Layer.of_step(step, least=_LEAST)), TITLE, scale=ColorScale.of_step(step, _CHANCE))


def foreground_steps(found: RunForeground) -> list[DerivationStep]:
    """From the map to the run's best mask."""
    steps = [_map_step(found)]
    if found.cut:
        caption = f"The run's mask before. Score {found.cut[0].score:.2f}."
        steps.append(_mask_step("As cut", caption, found.cut[0]))
    best = found.after[0]
    if found.recut:
        caption = (
            "The head says which patches are foreground, this photo's own patches where the object ends: each joins "
            f"the nearer of the two means, of foreground and of the rest. Score {best.score:.2f}."
        )
    elif best.pool >= 0:
        caption = (
            "What was cut holds several objects, or none: the best candidate of the pool, below, takes its place. "
            f"Score {best.score:.2f}."
        )
    else:
        caption = f"The mask keeps its shape; how clearly it stands out here counts in its score, now {best.score:.2f}."
    return [*steps, _mask_step("After the foreground", caption, best)]


def _map_step(found: RunForeground) -> DerivationStep:
    caption = (
        "A small head, taught by the cut masks of many photos but never by this one's, gives each patch the "
        "probability that it is foreground."
    )
    image = drawing.color_map(found.probability, 0, 1, "sequential")
    return DerivationStep(_CHANCE, caption, image, ends=("0", "1"))


def _mask_step(title: str, caption: str, item: RunMask) -> DerivationStep:
    return DerivationStep(title, caption, drawing.mask_layer(item.mask, colors.mask_color(0)), on_patches=False)
