"""Where people's changes of clusters take masks, change by change. Pure: no file is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from maskdistill.review.decisions.records import Kind
from maskdistill.review.decisions.steps import Edit


@dataclass
class Folded:
    """Clusters after some changes."""

    mask_ids: np.ndarray  # (N,) int64
    assigned: np.ndarray  # (N,) int32, 1 to num_classes
    num_classes: int
    names: dict[int, str] = field(default_factory=dict)
    excluded: set[int] = field(default_factory=set)
    chosen: set[int] = field(default_factory=set)  # ids of the masks that people put where they are, mask by mask

    def apply(self, edit: Edit) -> None:
        """Take one more change into account."""
        _APPLY[edit.kind](self, edit)

    def rows_of(self, mask_ids: np.ndarray) -> np.ndarray:
        """Rows of masks that are there."""
        order = np.argsort(self.mask_ids, kind="stable")
        return order[np.searchsorted(self.mask_ids, mask_ids, sorter=order)]

    def _there(self, assigned: np.ndarray) -> np.ndarray:
        """What a change assigned, without masks that have gone into others since."""
        return assigned[np.isin(assigned[:, 0], self.mask_ids)]

    def _merge(self, edit: Edit) -> None:
        which = edit.value["clusters"]
        kept, *freed = which
        self.assigned[np.isin(self.assigned, freed)] = kept
        name = next((self.names[number] for number in which if self.names.get(number)), "")
        everything = self.excluded.issuperset(which)
        for number in which:
            self.names.pop(number, None)
            self.excluded.discard(number)
        if name:
            self.names[kept] = name
        if everything:
            self.excluded.add(kept)

    def _split(self, edit: Edit) -> None:
        assigned = self._there(edit.assigned)
        rows = self.rows_of(assigned[:, 0])
        inside = self.assigned[rows] == edit.value["cluster"]  # what was undone since may have taken masks out of it
        self.assigned[rows[inside]] = assigned[inside, 1]
        self.num_classes = max(self.num_classes, *edit.value["numbers"])

    def _gather(self, edit: Edit) -> None:
        assigned = self._there(edit.assigned)
        self.assigned[self.rows_of(assigned[:, 0])] = assigned[:, 1]
        self.chosen.update(assigned[:, 0].tolist())
        self.num_classes = max(self.num_classes, edit.value["cluster"])
        self._rename(edit)

    def _rename(self, edit: Edit) -> None:
        self.names[edit.value["cluster"]] = edit.value["name"]

    def _exclude(self, edit: Edit) -> None:
        change = self.excluded.add if edit.value["excluded"] else self.excluded.discard
        change(edit.value["cluster"])

    def _adopt(self, edit: Edit) -> None:
        assigned = self._there(edit.assigned)
        rows, before = self.rows_of(assigned[:, 0]), self.assigned.copy()
        self.assigned[rows] = assigned[:, 1]
        for row in np.setdiff1d(np.arange(len(before)), rows):  # of masks that people drew since: with their fellows
            fellows = assigned[before[rows] == before[row], 1]
            self.assigned[row] = np.bincount(fellows).argmax() if len(fellows) else 1
        self.num_classes = edit.value["num_classes"]


_APPLY = {
    Kind.MERGE: Folded._merge,
    Kind.SPLIT: Folded._split,
    Kind.GATHER: Folded._gather,
    Kind.RENAME: Folded._rename,
    Kind.EXCLUDE: Folded._exclude,
    Kind.ADOPT: Folded._adopt,
}


def fold(
    mask_ids: np.ndarray,
    cluster: np.ndarray,
    num_classes: int,
    edits: Sequence[Edit],
    excluded: Sequence[int] = (),
    names: Mapping[int, str] | None = None,
) -> Folded:
    """Clusters after changes, without marks on single masks.

    Args:
        mask_ids: (N,).
        cluster: (N,) of each before them, 1 to ``num_classes``.
        num_classes: K before them.
        edits: In order.
        excluded: Clusters that are no classes before them.
        names: Of clusters that have one before them.
    """
    folded = Folded(mask_ids, cluster.astype(np.int32), num_classes, dict(names or {}), set(excluded))
    for edit in edits:
        folded.apply(edit)
    return folded
