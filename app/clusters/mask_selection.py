"""The selected masks: read from the link's text, and written there."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from app import cache, selection, session
from app.clusters.alternatives import alternatives_of, alternatives_stamp
from app.run_view import DecisionView, RunView
from maskdistill.errors import ConfigError
from maskdistill.review.point_map import PointMap
from maskdistill.review.selections import LONGEST, SelectionData, field_text, ids_text, join, resolve, view_text
from maskdistill.storage.run_folder import Run
from maskdistill.storage.saved_views import save_view, views

KEPT_LABELS = ("not judged", "kept", "dropped")  # by the number in a text, as kept:1
DECISION_LABELS = ("undecided", "accepted", "rejected", "relabelled")  # as decision:2
_VIEWS = "selection"  # kind of saved view


@dataclass(frozen=True, eq=False)
class SelectedMasks:
    """The selection as it is now."""

    text: str
    rows: np.ndarray  # (n,) int64 of the table, rising


def selection_data(run_view: RunView, decisions_now: DecisionView) -> SelectionData:
    """What texts of selections refer to, with people's decisions; shared by all sessions, not to be changed."""
    return _selection_data(
        run_view.run.path,
        (run_view.stamp, decisions_now.version, alternatives_stamp(run_view)),
        run_view,
        decisions_now,
    )


def current(run_view: RunView, decisions_now: DecisionView) -> SelectedMasks:
    """The selection of the link; one that means nothing is cleared, with a notice.

    Raises:
        RunError: If a file or the database of the run cannot be read. The selection stays.
    """
    text, data = link_text(), selection_data(run_view, decisions_now)
    try:
        found = resolve(text, data)
    except ConfigError as error:
        session.notify(str(error))
        clear()
        return SelectedMasks("", np.zeros(0, np.int64))
    if found.missing:
        session.notify(f"{found.missing:,} masks of the selection are not in this run any more.")
    return SelectedMasks(text if len(found.rows) else "", found.rows)


def link_text() -> str:
    """The selection as the link has it: a set of masks, else the cluster."""
    chosen = selection.current()
    return chosen.picked or (field_text("cluster", [chosen.cluster]) if chosen.cluster else "")


def select_masks(run_view: RunView, decisions_now: DecisionView, text: str, *, add: bool = False) -> None:
    """Select masks, or add them to those that are selected. What is too long for a link is kept in the run.

    Raises:
        MaskDistillError: If the text cannot be read, or the run's database not be written.
    """
    if add:
        text = join(current(run_view, decisions_now).text, text)
    if len(text) > LONGEST:
        rows = resolve(text, selection_data(run_view, decisions_now)).rows
        text = ids_text(run_view.frame["mask_id"].to_numpy()[rows])
    if len(text) > LONGEST:
        name = blake2b(text.encode(), digest_size=8).hexdigest()
        if not any(view.name == name for view in views(run_view.run, _VIEWS)):
            save_view(run_view.run, _VIEWS, name, text)
        text = view_text(name)
    kind, _, value = text.partition(":")
    selection.select(picked=text, cluster=int(value) if kind == "cluster" and value.isdecimal() else 0)


def clear() -> None:
    """Select nothing."""
    selection.select(picked="", cluster=0)


def clusters_of_masks(run_view: RunView, decisions_now: DecisionView) -> np.ndarray:
    """(N,) cluster of each mask after people's decisions, excluded clusters too; 0 for rejected masks."""
    return selection_data(run_view, decisions_now).fields["cluster"]


@cache.newest(4)
def _selection_data(
    path: Path, key: tuple[str, int, str], run_view: RunView, decisions_now: DecisionView
) -> SelectionData:
    frame, effective = run_view.frame, decisions_now.effective
    judged = frame["candidate"].to_numpy() & run_view.run.kept_path.is_file()
    relabelled = np.where(effective.cluster > 0, 3, effective.decision)
    fields = {
        "cluster": _clusters(run_view, decisions_now),
        "kept": np.where(judged, np.where(frame["kept"], 1, 2), 0),
        "decision": np.where(effective.decision < 0, 2, relabelled),
        "truth": frame["truth"].to_numpy(),
    }
    for name, alternative in alternatives_of(run_view).items():
        fields[name] = np.zeros(len(frame), np.int32)
        fields[name][run_view.row_of_vector] = alternative.cluster
    maps = {
        name: PointMap.of(name, np.asarray(places), run_view.row_of_vector)
        for name, places in (("umap", run_view.umap), ("pca", run_view.pca))
        if places is not None
    }
    return SelectionData(frame["mask_id"].to_numpy(), fields, maps, lambda name: _saved(run_view.run, name))


def _clusters(run_view: RunView, decisions_now: DecisionView) -> np.ndarray:
    frame, effective, classes = run_view.frame, decisions_now.effective, decisions_now.classes
    # Objects that only stage 1 saw are in no cluster, unless a person put them into one: their class may be of old.
    cluster = np.where((frame["vector"] >= 0) | (effective.cluster > 0), decisions_now.cluster, 0)
    if classes is not None and classes.excluded:
        excluded = np.flatnonzero(np.isin(classes.assigned, list(classes.excluded)))
        rows = run_view.row_of_vector[excluded]
        in_use = effective.decision[rows] >= 0
        cluster[rows[in_use]] = classes.assigned[excluded[in_use]]
    return cluster


def _saved(run: Run, name: str) -> str:
    for view in views(run, _VIEWS):
        if view.name == name:
            return str(view.value)
    raise ConfigError(
        f"The link names the selection '{name[:40]}', which is not kept in this run. Select the masks anew."
    )
