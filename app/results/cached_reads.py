"""What the Results page reads of label maps, cached until their files change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from app import cache, widgets
from app.run_view import RunView, decision_view, read_run_view
from maskdistill.datasets import read_label
from maskdistill.errors import DatasetError
from maskdistill.evaluation.compare_runs import RunComparison, common_photos, compare_runs
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.label_names import LabelNames, names_of
from maskdistill.evaluation.photo_metrics import PhotoResults, make_photo_results, read_photo_results
from maskdistill.evaluation.run_label_maps import LabelMaps
from maskdistill.pictures import drawing
from maskdistill.proposals.live import LIVE_SIDE
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import photos_of, truth_of_photos

TRUTH = "truth"
_MADE_BY = ("proposals", "clusters", "classes", "pseudo_labels", "predictions", "evaluation")  # stages
_FILES = ("predictions.json", "pseudo_labels.json", "photo_counts.parquet")


@dataclass(frozen=True)
class LabelLayer:
    """A label map of a photo as a grey picture whose pixels hold the labels."""

    kind: str
    src: str  # data URL
    problem: str = ""  # why there is none


def names(run_view: RunView) -> LabelNames:
    """Names of the run's clusters and classes."""
    decisions_now = decision_view(run_view)
    num_classes = 1 if run_view.clusters is None else run_view.clusters["num_classes"]
    if decisions_now.classes is not None:
        num_classes = max(num_classes, decisions_now.classes.num_classes)
    return names_of(num_classes, decisions_now.name_of, run_view.metrics)


def photo_results(run: Run) -> PhotoResults:
    """Counts of each photo; where they are missing they are made now, with a progress bar.

    Raises:
        MaskDistillError: If a file is damaged.
        OSError: If they cannot be written.
    """
    return _shelf().get((run.path, stamp(run)), lambda: read_photo_results(run) or _make_results(run))


@st.cache_resource(max_entries=1, show_spinner=False)
def _shelf() -> cache.Shelf:
    return cache.Shelf(size=8)  # unlike a cached function it may draw a progress bar


def _make_results(run: Run) -> PhotoResults:
    with widgets.scan_progress("Comparing the label maps of each photo") as on_progress:
        return make_photo_results(run, GroundTruth(truth_of_photos(run)), on_progress)


def left_out(run_view: RunView) -> Mapping[str, Any]:
    """What of the ground truth could not be used, as ``GroundTruth.describe`` has it; empty before it was read.

    Raises:
        MaskDistillError: If a file is damaged.
    """
    found = (run_view.metrics or {}).get("ground_truth_left_out")
    if found is None and (run_view.run.path / "photo_counts.parquet").is_file():
        found = photo_results(run_view.run).ground_truth
    return found or {}


def label_maps(run: Run) -> LabelMaps:
    """The run's label maps.

    Raises:
        MaskDistillError: If there are no masks yet, or a file is damaged.
    """
    return _label_maps(run.path, stamp(run))


@st.cache_resource(max_entries=4, show_spinner=False)
def _label_maps(path: Path, stamp: Any) -> LabelMaps:
    return LabelMaps(Run(path))


def ious(run: Run, kind: str, names: LabelNames) -> np.ndarray:
    """(photos,) mean IoU of each photo with ground truth, by the matching that the names hold; do not change it."""
    return _ious(run.path, stamp(run), kind, tuple(sorted(names.matching.items())))


@st.cache_resource(max_entries=64, show_spinner=False)
def _ious(path: Path, stamp: Any, kind: str, matching: tuple[tuple[int, int], ...]) -> np.ndarray:
    return photo_results(Run(path)).ious(kind, dict(matching))


def agreement(run: Run) -> pd.DataFrame:
    """``PhotoResults.agreement``; do not change it."""
    return _agreement(run.path, stamp(run))


@st.cache_resource(max_entries=8, show_spinner=False)
def _agreement(path: Path, stamp: Any) -> pd.DataFrame:
    return photo_results(Run(path)).agreement()


def class_sizes(run: Run, kind: str) -> pd.DataFrame:
    """``PhotoResults.class_sizes``; do not change it."""
    return _class_sizes(run.path, stamp(run), kind)


@st.cache_resource(max_entries=32, show_spinner=False)
def _class_sizes(path: Path, stamp: Any, kind: str) -> pd.DataFrame:
    return photo_results(Run(path)).class_sizes(kind)


def layers(run: Run, number: int, kinds: Sequence[str]) -> list[LabelLayer]:
    """The label maps of a photo, at most ``LIVE_SIDE`` pixels long; those it does not have are left out.

    In the place of ground truth that cannot be used stands its problem.

    Args:
        run: The run.
        number: Of the photo.
        kinds: As ``LabelMaps`` has them, and "truth".

    Raises:
        MaskDistillError: If a label map is damaged.
    """
    layers = [_layer(run, number, kind) for kind in kinds]
    return [layer for layer in layers if layer.src or layer.problem]


def _layer(run: Run, number: int, kind: str) -> LabelLayer:
    try:
        return LabelLayer(kind, _layer_url(run.path, stamp(run), number, kind))
    except (DatasetError, OSError) as error:
        if kind != TRUTH:
            raise
        return LabelLayer(kind, "", str(error))


@st.cache_data(max_entries=600, show_spinner=False)
def _layer_url(path: Path, stamp: Any, number: int, kind: str) -> str:
    run = Run(path)
    if kind != TRUTH:
        labels = label_maps(run).read(kind, number)
    else:
        source = _truth_source(path, stamp)
        labels = None if source is None else read_label(source, source.photos[number])
    return "" if labels is None else label_url(labels)


@st.cache_resource(max_entries=4, show_spinner=False)
def _truth_source(path: Path, stamp: Any) -> Any:
    run = Run(path)
    return truth_of_photos(run, read_run_view(run).photos)


def label_url(labels: np.ndarray) -> str:
    """A (H, W) uint8 label map as a grey PNG whose pixels hold the labels, at most ``LIVE_SIDE`` long."""
    image = Image.fromarray(labels)
    image.thumbnail((LIVE_SIDE, LIVE_SIDE), Image.Resampling.NEAREST)
    return drawing.png_url(image)


def comparison(first: Run, second: Run) -> RunComparison:
    """The final label maps of two runs compared, once; it shows a progress bar.

    Raises:
        MaskDistillError: If a file is damaged.
    """
    key = (first.path, stamp(first), second.path, stamp(second))
    return _shelf().get(key, lambda: _compare(first, second))


def _compare(first: Run, second: Run) -> RunComparison:
    pairs = common_photos(photos_of(first), photos_of(second))
    with widgets.scan_progress("Comparing the label maps of both runs") as on_progress:
        return compare_runs(label_maps(first), label_maps(second), pairs, on_progress)


def stamp(run: Run) -> str:
    """Names this state of the run's label maps: a key for caches."""
    paths = [*(run.stage_path(stage) for stage in _MADE_BY), *(run.path / name for name in _FILES)]
    return cache.stamp(paths)
