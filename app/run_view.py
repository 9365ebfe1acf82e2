"""The masks of the chosen run with all that is known of them, kept until the run's files or people's decisions change.

Nothing here may be changed by who gets it: all sessions share it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import pandas as pd
import streamlit as st

from app import cache, photo_cache, selection, session, widgets
from maskdistill.clustering.projection import pca_map
from maskdistill.datasets import Photo
from maskdistill.errors import DatasetError, MaskDistillError
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.mask_truth import lacks_truth, make_truth
from maskdistill.pseudo_labels.signals import MaskSignals
from maskdistill.review import decisions
from maskdistill.review.mask_table import MaskTable, read_mask_table
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.mask_tables import has_masks
from maskdistill.storage.read_files import DamagedFileError, let_go, read_array, read_json_if_there
from maskdistill.storage.run_folder import Run, list_runs, runs_folder
from maskdistill.storage.run_photos import photos_of

Need = Literal["clusters", "candidates", "filter", "metrics"]
_FILES = (
    *("stages/repairs.json", "repairs/masks.parquet", "repairs/masks.json"),
    *("stages/foreground.json", "foreground.json", "foreground/masks.parquet", "foreground/masks.json"),
    *("images.parquet", "masks.parquet", "proposals.json", "clusters.parquet", "clusters.json", "embeddings.npy"),
    *("umap_xy.npy", "candidates.parquet", "candidates.json", "kept.parquet", "metrics.json", "mask_truth.parquet"),
)
_NEEDS: dict[Need, tuple[str, str]] = {  # the file that shows it, and what to do without it
    "clusters": ("clusters.parquet", "The masks of this run are not clustered yet."),
    "candidates": ("candidates.parquet", "The first model of this run has not judged the masks yet."),
    "filter": ("kept.parquet", "No filter has gone over the masks of this run yet."),
    "metrics": ("metrics.json", "The stages of this run were not compared yet."),
}


@dataclass(frozen=True, eq=False)
class RunView:
    """A run, read. Rows of ``vectors`` and of the maps are those that the table's column ``vector`` names."""

    run: Run
    stamp: str  # names this state of the files: a key for caches
    info: dict[str, Any]
    table: MaskTable
    photos: Sequence[Photo]  # by number
    thumbs: Path  # folder of the masks' crops
    vectors: np.ndarray | None  # (V, D) float32, mapped into memory
    umap: np.ndarray | None  # (V, 2) float32
    pca: np.ndarray | None  # (V, 2) float32
    clusters: dict[str, Any] | None  # clusters.json
    metrics: dict[str, Any] | None  # metrics.json
    problems: tuple[str, ...] = ()  # files that are damaged, and that much of the run can be seen without

    @property
    def frame(self) -> pd.DataFrame:
        """The table's rows."""
        return self.table.frame

    @cached_property
    def codes(self) -> MaskCodes:
        """The masks that count: the foreground's, or as they were cut."""
        return MaskCodes.open(self.run)

    @cached_property
    def drawn(self) -> MaskCodes | None:
        """The masks as the first model draws them; None before that stage."""
        return MaskCodes.open(self.run, "candidates") if has_masks(self.run.candidate_masks_path) else None

    @cached_property
    def row_of_vector(self) -> np.ndarray:
        """(V,) rows of the table, by row of ``vectors``."""
        vector = self.frame["vector"].to_numpy()
        rows = np.flatnonzero(vector >= 0)
        placed = np.full(0 if self.vectors is None else len(self.vectors), -1)
        placed[vector[rows]] = rows
        return placed

    def codes_of(self, mask_id: int) -> MaskCodes:
        """Where a mask's shape is: among the proposals, or among what the first model drew where there was none.

        Raises:
            RunError: If there is no such mask.
        """
        row = self.table.rows_of([mask_id])[0]
        seen = self.frame["origin"].iat[row] != "proposal"
        return self.drawn if seen and self.drawn is not None else self.codes


@dataclass(frozen=True, eq=False)
class ClusterView:
    """Where masks are after what people said, row by row of the table."""

    version: int  # of the decisions: a key for caches
    classes: decisions.Classes | None  # None without clusters
    cluster: np.ndarray  # (N,) int32: where each mask is now, after people's changes; 0 for nowhere

    @property
    def seen(self) -> decisions.Seen:
        """What a person who looks at it decides on."""
        return decisions.Seen(self.version, None if self.classes is None else self.classes.numbering)

    def name_of(self, cluster: int) -> str:
        """What a cluster is called."""
        return f"cluster {cluster}" if self.classes is None else self.classes.name_of(cluster)


@dataclass(frozen=True, eq=False)
class DecisionView(ClusterView):
    """What people said, row by row of the table."""

    marks: pd.DataFrame
    effective: decisions.Effective

    @property
    def of_clusters(self) -> ClusterView:
        """To keep, where what was said of single masks, some 20 bytes a mask, is not needed any more."""
        return ClusterView(self.version, self.classes, self.cluster)


def read_run_view(run: Run) -> RunView:
    """A run's masks, read again when one of its files has changed.

    Raises:
        MaskDistillError: If there are no masks yet, or a file is damaged.
    """
    return _read_run_view(run.path, stamp_of(run))


def stamp_of(run: Run) -> str:
    """Name of the state that the run's files are in now."""
    return cache.stamp(run.path / name for name in _FILES)


def decision_view(run_view: RunView) -> DecisionView:
    """People's decisions on a run's masks, up to the last one.

    Raises:
        RunError: If the run's database cannot be read.
    """
    return _decision_view(run_view.run.path, (run_view.stamp, decisions.version(run_view.run)), run_view)


def repairs_of(run_view: RunView) -> decisions.Repairs:
    """The masks that people mended, up to the last one; also those that no stage has read yet.

    Raises:
        RunError: If the run's files cannot be read.
    """
    version = decisions.repairs_version(run_view.run)  # each other decision would read all of it again
    return _repairs_of(run_view.run.path, (run_view.stamp, version), run_view) if version else decisions.Repairs()


def shape_of(run_view: RunView, mask_id: int, *, drawn: bool = False) -> dict[str, Any]:
    """Run-length code of a mask as it is now: as people mended it, else as the run has it.

    Args:
        run_view: The run.
        mask_id: The mask.
        drawn: Whether that is as the first model draws it, where it does.

    Raises:
        RunError: If there is no such mask.
    """
    form = repairs_of(run_view).by_shown.get(mask_id)
    if form is not None and form.code is not None:
        return form.code
    if drawn and run_view.drawn is not None and mask_id in run_view.drawn:
        return run_view.drawn.code(mask_id)
    return run_view.codes_of(mask_id).code(mask_id)


def candidates_of(run_view: RunView) -> pd.DataFrame:
    """mask_id and the signals of the masks that the first model judged, as columns; read once for all who ask.

    Raises:
        RunError: If the file cannot be read.
    """
    return _candidates(run_view.run.path, run_view.stamp, run_view.run)


def open_run_view() -> RunView:
    """The chosen run, for a page; without one the page says what to do next, and stops."""
    runs = {run.name: run for run in list_runs(runs_folder())}
    run = runs.get(selection.current().run)
    if run is None:
        _ask_for_run(bool(runs))
    if not run.masks_path.is_file():
        _ask_for_next("The masks of this run are not finished yet.")
    try:
        _look_up_truth(run)
        with st.spinner("Reading the run …", show_time=True):
            run_view = read_run_view(run)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        st.stop()
    for problem in run_view.problems:
        st.error(widgets.escape(problem))
    return run_view


def _look_up_truth(run: Run) -> None:
    """Where photos have ground truth, see what it says of each mask, once a run; without the photos do without."""
    if not lacks_truth(run):
        return
    try:
        with widgets.scan_progress("Comparing masks with ground truth") as on_progress:
            make_truth(run, GroundTruth(photo_cache.source(run.info()["data"], seen=run.seen_path)), on_progress)
    except (DatasetError, OSError) as error:  # such as a run that may only be read
        session.notify(f"Ground truth is left out. {error}")


def need(run_view: RunView, what: Need) -> None:
    """Stop the page with what to do next if the run does not have that yet."""
    file, sentence = _NEEDS[what]
    if not (run_view.run.path / file).is_file():
        _ask_for_next(sentence)


def _ask_for_run(any_runs: bool) -> NoReturn:
    wanted = selection.current().run
    if wanted:
        st.warning(f"There is no run '{widgets.escape(wanted)}' in {widgets.escape(str(runs_folder()))}.")
    if any_runs:
        st.info("Choose a run in the sidebar on the left, or make a new one on the Start page.", icon=_ARROW)
    else:
        st.info("There is no run yet. Choose photos on the Start page and find their masks first.")
    st.page_link("../pages/start.py", label="Choose photos", icon=":material/photo_library:")
    st.stop()


def _ask_for_next(sentence: str) -> NoReturn:
    st.info(f"{sentence} The Training page makes the stages, each in the background.", icon=":material/model_training:")
    st.page_link("../pages/training.py", label="Go on in Training", icon=":material/model_training:")
    selection.write_link()
    st.stop()


_ARROW = ":material/arrow_back:"


@cache.newest(4)
def _read_run_view(path: Path, stamp: str) -> RunView:
    run = Run(path)
    table = read_mask_table(run)
    vectors = _vectors_of(run, table.frame) if run.clusters_path.is_file() else None
    problems: list[str] = []

    def optional(read: Callable[[Path], Any], name: str) -> Any:
        try:
            return read(run.path / name)
        except DamagedFileError as error:
            problems.append(str(error))
            return None

    pca = None if vectors is None else pca_map(vectors)
    if vectors is not None:
        let_go(vectors)
    return RunView(
        run=run,
        stamp=stamp,
        info=run.info(),
        table=table,
        photos=photos_of(run),
        thumbs=run.thumbs,
        vectors=vectors,
        umap=_fitting(optional(_mapped, "umap_xy.npy"), vectors),
        pca=pca,
        clusters=read_json_if_there(run.path / "clusters.json"),
        metrics=optional(read_json_if_there, "metrics.json"),
        problems=tuple(problems),
    )


def _vectors_of(run: Run, frame: pd.DataFrame) -> np.ndarray | None:
    path = run.path / "embeddings.npy"
    vectors = _mapped(path)
    needed = int(frame["vector"].max()) + 1 if len(frame) else 0  # of masks made anew there may be fewer
    if vectors is not None and len(vectors) < needed:
        raise DamagedFileError(path, f"it has {len(vectors)} rows, clusters.parquet at least {needed}")
    return vectors


@cache.newest(4)
def _candidates(path: Path, stamp: str, run: Run) -> pd.DataFrame:
    return run.candidates(("mask_id", *(field.name for field in fields(MaskSignals))))


@cache.newest(4)
def _repairs_of(path: Path, key: tuple[str, int], run_view: RunView) -> decisions.Repairs:
    return decisions.read_repairs(run_view.run)


@cache.newest(4)
def _decision_view(path: Path, key: tuple[str, int], run_view: RunView) -> DecisionView:
    run, frame = run_view.run, run_view.frame
    marks = decisions.read_marks(run)
    effective = decisions.effective(marks, frame)
    cluster = frame["cluster"].to_numpy().copy()
    classes = None
    if run_view.vectors is not None:
        version = decisions.version(run, apart_from=decisions.Scope.LABELS)
        classes = _classes(path, (run_view.stamp, version), run)
        rows = run_view.row_of_vector
        cluster[rows] = classes.cluster[np.searchsorted(classes.mask_ids, frame["mask_id"].to_numpy()[rows])]
    given = effective.cluster > 0
    cluster[given] = effective.cluster[given]
    return DecisionView(key[1], classes, cluster, marks, effective)


@cache.newest(4)
def _classes(path: Path, key: tuple[str, int], run: Run) -> decisions.Classes:
    """Read again only where clusters, or masks, were changed: labels of masks change no class."""
    return decisions.read_classes(run)


def _mapped(path: Path) -> np.ndarray | None:
    return read_array(path, ndim=2) if path.exists() else None


def _fitting(places: np.ndarray | None, vectors: np.ndarray | None) -> np.ndarray | None:
    """A map of other vectors is of no use."""
    return places if places is not None and vectors is not None and len(places) == len(vectors) else None
