"""The set of masks that follows the user from page to page: read from the link's text, and written there."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from app import cache, selection, session
from app.clusters.alternatives import trials_of, trials_stamp
from app.run_view import Decided, Explorer
from maskdistill.errors import ConfigError, MaskDistillError
from maskdistill.review.point_map import PointMap
from maskdistill.review.selections import LONGEST, Ground, field_text, ids_text, join, resolve, view_text
from maskdistill.storage.run_folder import Run
from maskdistill.storage.saved_views import save_view, views

KEPT_WORDS = ("not judged", "kept", "dropped")  # by the number in a text, as kept:1
DECISION_WORDS = ("undecided", "accepted", "rejected", "relabelled")  # as decision:2
_VIEWS = "selection"  # kind of saved view


@dataclass(frozen=True, eq=False)
class Current:
    """The selection as it is now."""

    text: str
    rows: np.ndarray  # (n,) int64 of the table, rising


def ground(found: Explorer, done: Decided) -> Ground:
    """What selections of a run mean, with people's decisions; shared by all sessions, not to be changed."""
    return _ground(found.run.path, (found.stamp, done.version, trials_stamp(found)), found, done)


def current(found: Explorer, done: Decided) -> Current:
    """The selection of the link; one that cannot be read is forgotten, with a notice."""
    text = text_of_link()
    try:
        picked = resolve(text, ground(found, done))
    except MaskDistillError as error:
        session.notify(str(error))
        clear()
        return Current("", np.zeros(0, np.int64))
    if picked.missing:
        session.notify(f"{picked.missing:,} masks of the selection are not in this run any more.")
    return Current(text if len(picked.rows) else "", picked.rows)


def text_of_link() -> str:
    """The selection as the link has it: a set of masks, else the cluster."""
    chosen = selection.current()
    return chosen.picked or (field_text("cluster", [chosen.cluster]) if chosen.cluster else "")


def pick(found: Explorer, done: Decided, text: str, *, add: bool = False) -> None:
    """Select masks, or add them to those that are selected. What is too long for a link is kept in the run.

    Raises:
        MaskDistillError: If the text cannot be read, or the run's database not be written.
    """
    if add:
        text = join(current(found, done).text, text)
    if len(text) > LONGEST:
        text = ids_text(found.frame["mask_id"].to_numpy()[resolve(text, ground(found, done)).rows])
    if len(text) > LONGEST:
        name = blake2b(text.encode(), digest_size=8).hexdigest()
        if not any(view.name == name for view in views(found.run, _VIEWS)):
            save_view(found.run, _VIEWS, name, text)
        text = view_text(name)
    kind, _, value = text.partition(":")
    selection.select(picked=text, cluster=int(value) if kind == "cluster" and value.isdigit() else 0)


def clear() -> None:
    """Select nothing."""
    selection.select(picked="", cluster=0)


def members(found: Explorer, done: Decided) -> np.ndarray:
    """(N,) cluster that each mask counts for: where it is now, those of excluded clusters too; 0 for rejected ones."""
    return ground(found, done).fields["cluster"]


@cache.newest(4)
def _ground(path: Path, key: tuple[str, int, str], found: Explorer, done: Decided) -> Ground:
    frame = found.frame
    said = done.effective
    # Objects that only stage 1 saw are in no cluster, unless a person put them into one: their class may be of old.
    cluster = np.where((frame["vector"] >= 0) | (said.cluster > 0), done.cluster, 0)
    if done.classes is not None and done.classes.excluded:
        out = np.flatnonzero(np.isin(done.classes.assigned, list(done.classes.excluded)))
        rows = found.row_of_vector[out]
        free = said.decision[rows] >= 0
        cluster[rows[free]] = done.classes.assigned[out[free]]
    judged = frame["candidate"].to_numpy() & found.run.kept_path.is_file()
    fields = {
        "cluster": cluster,
        "kept": np.where(judged, np.where(frame["kept"], 1, 2), 0),
        "decision": np.where(said.decision < 0, 2, np.where(said.cluster > 0, 3, said.decision)),
        "truth": frame["truth"].to_numpy(),
    }
    for name, trial in trials_of(found).items():
        fields[name] = np.zeros(len(frame), np.int32)
        fields[name][found.row_of_vector] = trial.cluster
    maps = {}
    for name, places in (("umap", found.umap), ("pca", found.pca)):
        if places is not None:
            maps[name] = PointMap.of(name, np.asarray(places), found.row_of_vector)
    return Ground(frame["mask_id"].to_numpy(), fields, maps, lambda name: _saved(found.run, name))


def _saved(run: Run, name: str) -> str:
    for view in views(run, _VIEWS):
        if view.name == name:
            return str(view.value)
    raise ConfigError(
        f"The link names the selection '{name[:40]}', which is not kept in this run. Select the masks anew."
    )
