"""The classes of a run: its clusters after what people changed in them."""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.review.decisions.class_shares import carry_shares
from maskdistill.review.decisions.effect import BOX, effective
from maskdistill.review.decisions.folding import Folded, fold
from maskdistill.review.decisions.marks import read_marks
from maskdistill.review.decisions.records import EDITS, Action, Kind, Scope
from maskdistill.review.decisions.steps import (
    MOVING,
    UNDONE,
    Edit,
    Numbering,
    clusters_fingerprint,
    read_edits,
    read_numbering,
    steps,
)
from maskdistill.storage.database import reading
from maskdistill.storage.read_files import read_json, read_json_if_there
from maskdistill.storage.run_folder import Run
from maskdistill.storage.shares import shares_of


@dataclass(frozen=True, eq=False)
class Classes:
    """Clusters after people's changes. Numbers are stable: what merging frees stays empty."""

    mask_ids: np.ndarray  # (N,) int64, rows as in clusters.parquet and embeddings.npy
    cluster: np.ndarray  # (N,) int32 class, 1 to num_classes; 0 for a mask that is rejected or in an excluded cluster
    assigned: np.ndarray  # (N,) int32 cluster that the mask is in, rejected and excluded ones too
    numbering: Numbering  # what the numbers mean
    names: Mapping[int, str]  # those that people gave, or that categories came with
    excluded: frozenset[int]
    left_out: frozenset[int]  # those of them that are of bad masks: nothing is learnt of their photos
    num_classes: int  # the highest number there is
    num_edits: int  # changes of clusters and steps of marks that are in force
    dormant: int  # steps about an earlier clustering
    shares: np.ndarray | None  # (N, num_classes) float32 share of each mask in each class; None: wholly in its own
    digest: str  # of what decides the training; "" if all is as the clustering left it

    @property
    def rejected(self) -> np.ndarray:
        """Ids of the masks that are in no class although their cluster is one."""
        return self.mask_ids[(self.cluster == 0) & ~np.isin(self.assigned, list(self.excluded))]

    def name_of(self, cluster: int) -> str:
        """What a cluster is called: the name that people gave it, else "cluster 3"."""
        return self.names.get(cluster) or f"cluster {cluster}"


def read_classes(run: Run) -> Classes:
    """The clusters of a run after people's changes.

    Raises:
        RunError: If there are no clusters yet, or a file is damaged.
    """
    table = run.clusters()
    record = read_json(run.path / "clusters.json")
    num_classes = record["num_classes"]
    numbering, edits, dormant = _read_edits(run)
    ids = table["mask_id"].to_numpy(copy=True)  # a part of the table would keep all of it
    before = table["cluster"].to_numpy().astype(np.int32)
    left_out = [] if numbering.base else record.get("left_out", [])  # of an alternative that people adopted none is
    folded = fold(ids, before, num_classes, edits, left_out, _names_of_categories(record, numbering))
    marks = read_marks(run, Scope.CLUSTERS)
    assigned, cluster, relabelled = _apply_marks(run, folded, marks)
    cluster[np.isin(cluster, list(folded.excluded))] = 0
    shares, carried = shares_of(table, run.clusters_path), None
    if shares is not None and not numbering.base:  # an alternative that people adopted has none
        chosen = relabelled | np.isin(ids, list(folded.chosen))
        excluded = np.isin(np.arange(1, folded.num_classes + 1), list(folded.excluded))
        carried = carry_shares(shares, before, folded.assigned, cluster, chosen, excluded)
    changed = (
        folded.num_classes != num_classes
        or not np.array_equal(cluster, before)
        or (shares is not None and (carried is None or not np.array_equal(carried, shares)))
    )
    return Classes(
        mask_ids=ids,
        cluster=cluster,
        assigned=assigned,
        numbering=numbering,
        names={number: name for number, name in folded.names.items() if name},
        excluded=frozenset(folded.excluded),
        left_out=frozenset(left_out) & folded.excluded,
        num_classes=folded.num_classes,
        num_edits=len(edits) + marks.loc[~marks["dormant"], "step"].nunique(),
        dormant=dormant,
        shares=carried,
        digest=_digest(ids, cluster, folded.num_classes, carried) if changed else "",
    )


def class_digest(run: Run) -> str:
    """``digest`` of ``read_classes``; cheap where all is as the clustering left it."""
    decided = steps(run, scope=Scope.CLUSTERS, limit=1) or read_json(run.path / "clusters.json").get("left_out")
    return read_classes(run).digest if decided else ""


def read_names(run: Run) -> dict[int, str]:
    """Names that people gave clusters, by number; cheaper than all of ``read_classes``."""
    numbering, edits, _ = _read_edits(run, load=())
    return _fold_names(edits, _names_of_categories(read_json_if_there(run.path / "clusters.json"), numbering))


def class_names(run: Run) -> dict[int, str]:
    """Names that people gave the classes that the models learn from, by number: those of now, or, if people took over
    another clustering since that stage, of then.

    Raises:
        RunError: If a file is damaged.
    """
    numbering, edits, _ = _read_edits(run, load=())
    made = read_json_if_there(run.path / "classes.json") or {}
    if made.get("clusters") != numbering.clusters:  # of another clustering, or not made
        made = {"adopted": 0, "names": {}}
    if made["adopted"] == numbering.base:
        return _fold_names(edits, _names_of_categories(read_json_if_there(run.path / "clusters.json"), numbering))
    return {int(number): name for number, name in made["names"].items()}


def _fold_names(edits: Sequence[Edit], given: Mapping[int, str]) -> dict[int, str]:
    nowhere = np.zeros(0, np.int64)
    return {number: name for number, name in fold(nowhere, nowhere, 0, edits, names=given).names.items() if name}


def _names_of_categories(record: Mapping[str, Any] | None, numbering: Numbering) -> dict[int, str]:
    """Names that clusters have before people give any: where they are the categories that masks came with."""
    given = {} if record is None or numbering.base else record.get("names", {})
    return {int(number): name for number, name in given.items()}


def _read_edits(run: Run, load: Sequence[Kind] = MOVING) -> tuple[Numbering, list[Edit], int]:
    """What the numbers mean, the changes in force, and how many steps are dormant."""
    clusters = clusters_fingerprint(run)
    with reading(run.path) as db:
        if db is None:
            return Numbering(clusters), [], 0
        db.execute("BEGIN")  # one moment for all that is read
        numbering = read_numbering(db, clusters)
        return numbering, read_edits(db, numbering, load), _count_dormant(db, numbering)


def _count_dormant(db: sqlite3.Connection, numbering: Numbering) -> int:
    kinds = ", ".join(f"'{kind}'" for kind in EDITS)
    relabels = f"SELECT 1 FROM marks m WHERE m.step = s.id AND m.action = '{Action.RELABEL}'"
    count = f"""SELECT count(*) FROM steps s WHERE s.clusters != ? AND s.undoes IS NULL AND NOT {UNDONE}
        AND (s.kind IN ({kinds}) OR s.kind = '{Kind.MARK}' AND s.scope = '{Scope.CLUSTERS}' AND EXISTS ({relabels}))"""
    return db.execute(count, (numbering.clusters,)).fetchone()[0]


def _apply_marks(run: Run, folded: Folded, marks: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) cluster of each mask, with the classes that people gave single masks; the same, 0 for rejected masks; which
    of them have such a class.
    """
    if not len(marks):
        return folded.assigned, folded.assigned.copy(), np.zeros(len(folded.assigned), bool)
    found = effective(marks, _places(run, folded.mask_ids))
    relabelled = found.cluster > 0
    assigned = np.where(relabelled, found.cluster, folded.assigned)
    return assigned, np.where(found.decision < 0, 0, assigned), relabelled


def _places(run: Run, mask_ids: np.ndarray) -> pd.DataFrame:
    """Photos and boxes of proposals, in this order; empty where the proposals were made anew."""
    columns = ["image_id", *(f"bbox_{name}" for name in BOX)]
    table = run.masks().set_index("mask_id")[columns].reindex(pd.Index(mask_ids, name="mask_id"))
    return table.set_axis(["image_id", *BOX], axis=1).reset_index()


def _digest(ids: np.ndarray, cluster: np.ndarray, num_classes: int, shares: np.ndarray | None) -> str:
    state = hashlib.blake2b(str(num_classes).encode(), digest_size=16)
    state.update(np.ascontiguousarray(ids, np.int64).tobytes())
    state.update(np.ascontiguousarray(cluster, np.int64).tobytes())
    if shares is not None:
        state.update(shares[cluster > 0].tobytes())
    return state.hexdigest()
