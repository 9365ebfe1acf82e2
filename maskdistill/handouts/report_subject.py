"""A run as its report reads it, once for all parts of the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskdistill.datasets import Photo
from maskdistill.errors import RunError
from maskdistill.evaluation.label_names import LabelNames, names_of
from maskdistill.evaluation.photo_metrics import PhotoResults, read_photo_results
from maskdistill.evaluation.run_label_maps import LabelMaps
from maskdistill.review.decisions import Classes, read_classes
from maskdistill.review.mask_table import read_mask_table
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import photos_of


@dataclass(frozen=True, eq=False)
class ReportSubject:
    """What the page shows of the run."""

    run: Run
    info: dict[str, Any]
    photos: Sequence[Photo]
    frame: pd.DataFrame
    names: LabelNames
    classes: Classes | None
    metrics: dict[str, Any] | None
    maps: LabelMaps
    results: PhotoResults | None


def read_subject(run: Run) -> ReportSubject:
    """Read it.

    Raises:
        RunError: If there is no run, it has no masks yet, or a file is damaged.
    """
    info = run.info()
    if not run.masks_path.is_file():
        raise RunError(f"{run.path} has no masks yet. Make them with: maskdistill run --run {run.path}")
    metrics = read_json_if_there(run.path / "metrics.json")
    classes = read_classes(run) if run.clusters_path.is_file() else None
    name_of = (lambda number: f"cluster {number}") if classes is None else classes.name_of
    names = names_of(1 if classes is None else classes.num_classes, name_of, metrics)
    frame = read_mask_table(run).frame
    return ReportSubject(
        run, info, photos_of(run), frame, names, classes, metrics, LabelMaps(run), read_photo_results(run)
    )
