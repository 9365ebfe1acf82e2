"""The labels that reviewers gave the masks of a run, kept current action by action. No Streamlit in here.

Reading all decisions anew takes longer the more there are; a person who decides twice a second must not wait for it.
So an action of this server is added to what is known, and all is read anew only when somebody else wrote, or after an
undo.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from app.run_view import ClusterView, RunView, decision_view
from maskdistill.review import decisions
from maskdistill.review.audit.agreement import ACCEPTED, NO_LABEL, REJECTED, differing, encode_labels
from maskdistill.review.decisions import Action, Mark, Scope, Seen, Sent, Step
from maskdistill.storage.database import Burst

_PART = 2**15  # masks whose steps are copied when one of them changes
_LABEL_OF = {Action.ACCEPT: ACCEPTED, Action.REJECT: REJECTED, Action.CLEAR: NO_LABEL}


@dataclass(frozen=True, eq=False)
class ReviewerLabels:
    """The last label that one reviewer, or anybody, gave each of N masks. It is never changed."""

    labels: np.ndarray  # (N,) int16, as ``encode_labels`` gives them
    skipped: np.ndarray  # (N,) bool
    steps: tuple[np.ndarray, ...]  # parts of (N,) int32, the step of each label; 0 for none
    times: tuple[float, ...] = ()  # seconds since 1970 of each step with a label, rising
    recent: tuple[int, ...] = ()  # rows that were judged one by one, the last one last

    @classmethod
    def empty(cls, num_masks: int) -> "ReviewerLabels":
        """No label yet."""
        return _no_labels(num_masks)

    @classmethod
    def of(cls, effective: decisions.Effective) -> "ReviewerLabels":
        """The labels that stand of decisions."""
        labels = encode_labels(effective.decision, effective.cluster)
        return cls(labels, effective.skipped, _in_parts(effective.step.astype(np.int32)))

    @property
    def step(self) -> np.ndarray:
        """(N,) int32, of each label; 0 for none."""
        return np.concatenate(self.steps)

    def step_of(self, row: int) -> int:
        """The step of one mask's label; 0 for none."""
        return int(self.steps[row // _PART][row % _PART])

    def set_label(self, rows: np.ndarray, label: int | None, step: int) -> "ReviewerLabels":
        """These labels with one step more; None skips."""
        skipped = self.skipped
        if (skipped[rows] != (label is None)).any():
            skipped = skipped.copy()
            skipped[rows] = label is None
        recent = (*self.recent, int(rows[0])) if len(rows) == 1 else self.recent
        if label is None:
            return replace(self, skipped=skipped, recent=recent)
        labels = self.labels.copy()
        labels[rows] = label
        return ReviewerLabels(labels, skipped, self._steps_with(rows, step), (*self.times, time.time()), recent)

    def _steps_with(self, rows: np.ndarray, step: int) -> tuple[np.ndarray, ...]:
        """Of the parts only those are copied that change."""
        steps, parts = list(self.steps), rows // _PART
        for part in np.unique(parts).tolist():
            steps[part] = steps[part].copy()
            steps[part][rows[parts == part] % _PART] = step
        return tuple(steps)


def _in_parts(values: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.split(values, range(_PART, len(values), _PART)))


@lru_cache(maxsize=8)
def _no_labels(num_masks: int) -> ReviewerLabels:
    labels, skipped, step = (np.zeros(num_masks, kind) for kind in (np.int16, bool, np.int32))
    for values in (labels, skipped, step):
        values.flags.writeable = False  # shared by all who have given none
    return ReviewerLabels(labels, skipped, _in_parts(step))


@dataclass(frozen=True, eq=False)
class ReviewLabels:
    """All labels of a run's masks at one moment. It is never changed: every thread may read it."""

    version: int  # of the decisions
    cluster_view: ClusterView  # as all was read last: for clusters and their names
    everyone: ReviewerLabels
    reviewers: Mapping[str, ReviewerLabels]

    @property
    def seen(self) -> Seen:
        """What a person who looks at them decides on."""
        return replace(self.cluster_view.seen, version=self.version)

    @property
    def names(self) -> list[str]:
        """Who has given a label."""
        return sorted(self.reviewers)

    def of_reviewer(self, name: str) -> ReviewerLabels:
        """The labels of one person."""
        return self.reviewers.get(name) or ReviewerLabels.empty(len(self.everyone.labels))

    def differ(self, pair: Sequence[str] = ()) -> np.ndarray:
        """(N,) bool: masks to which these people, or any, gave different labels."""
        labels = [self.of_reviewer(name).labels for name in pair or self.names]
        return differing(np.stack(labels)) if labels else np.zeros(len(self.everyone.labels), bool)

    def others_of(self, row: int, name: str) -> list[tuple[str, int]]:
        """Who else gave a mask which label."""
        labels = ((other, int(own.labels[row])) for other, own in self.reviewers.items() if other != name)
        return sorted((other, label) for other, label in labels if label != NO_LABEL)

    def set_label(self, name: str, rows: np.ndarray, label: int | None, step: int) -> "ReviewLabels":
        """These labels with one person's step more."""
        own = self.of_reviewer(name).set_label(rows, label, step)
        everyone = self.everyone.set_label(rows, label, step)
        return replace(self, version=step, everyone=everyone, reviewers={**self.reviewers, name: own})


class LabelStore:
    """The current ``ReviewLabels`` of one state of a run's files, and how they are changed; all sessions share it.

    ``labels`` is replaced as a whole, so a reader takes it once and sees one moment, whoever writes meanwhile.
    """

    labels: ReviewLabels

    def __init__(self, run_view: RunView) -> None:
        self._run_view = run_view
        self._burst = Burst(run_view.run.path)
        self._lock = threading.RLock()  # held by whoever replaces ``labels``
        self._columns = {name: run_view.frame[name].to_numpy() for name in ("mask_id", "image_id", *"xywh")}
        self._read()

    def rows_by_id(self, mask_ids: np.ndarray) -> np.ndarray:
        """Rows of masks, -1 for those that are no more."""
        ids = self._columns["mask_id"]
        rows = np.minimum(np.searchsorted(ids, mask_ids), len(ids) - 1)
        return np.where(ids[rows] == mask_ids, rows, -1)

    def refresh(self) -> None:
        """Read what others wrote.

        Raises:
            RunError: If the run's database cannot be read.
        """
        with self._lock:
            if decisions.version(self._run_view.run) != self.labels.version:
                self._read()

    def decide(
        self,
        name: str,
        rows: Sequence[int],
        action: Action,
        cluster: int | None = None,
        *,
        sent: Sent | None = None,
        seen: Seen | None = None,
    ) -> None:
        """Write a person's decision on masks, as one step; it is on the disk when this returns.

        Args:
            name: Of the person.
            rows: Of the masks.
            action: What is decided.
            cluster: Of a ``RELABEL``.
            sent: What names the browser's action: the same one is written once.
            seen: What the person saw.

        Raises:
            ConfigError: If that cannot be decided.
            RunError: If the run's database cannot be written.
        """
        marks = self._marks_on(rows, action, cluster)
        self._burst.go_on()
        with self._lock:
            step = decisions.decide(self._run_view.run, name, marks, scope=Scope.LABELS, sent=sent, seen=seen)
            self._add(name, np.asarray(rows, np.int64), _label_of(action, cluster), step)

    def reject_undecided(self, name: str, rows: Sequence[int], note: str, seen: Seen | None = None) -> int:
        """Reject those of these masks that nobody has decided on when it is written, nor moved since, as one step.

        Returns:
            How many were rejected.

        Raises:
            RunError: If the run's database cannot be written.
        """
        marks = self._marks_on(rows, Action.REJECT)
        with self._lock:
            step, written = decisions.decide_undecided(
                self._run_view.run, name, marks, scope=Scope.LABELS, seen=seen, note=note
            )
            if written:
                self._add(name, self.rows_by_id(np.array([mark.mask_id for mark in written])), REJECTED, step)
            return len(written)

    def undo(self, name: str, sent: Sent | None = None) -> tuple[Step, np.ndarray] | None:
        """Undo a person's last step; what it was, and the rows of its masks. None if there is none.

        Raises:
            RunError: If the run's database cannot be written.
        """
        return self._revert(decisions.undo, name, sent)

    def redo(self, name: str, sent: Sent | None = None) -> tuple[Step, np.ndarray] | None:
        """Do again what a person undid last, as ``undo`` returns it.

        Raises:
            RunError: If the run's database cannot be written.
        """
        return self._revert(decisions.redo, name, sent)

    def _revert(
        self, revert: Callable[..., Step | None], name: str, sent: Sent | None
    ) -> tuple[Step, np.ndarray] | None:
        run = self._run_view.run
        with self._lock:
            step = revert(run, name, scope=(Scope.LABELS, Scope.MASKS), sent=sent)
            if step is None:
                return None
            self._read_marks()
            rows = self.rows_by_id(np.array(decisions.masks_of(run, step.id), np.int64))
            return step, rows[rows >= 0]

    def _marks_on(self, rows: Sequence[int], action: Action, cluster: int | None = None) -> list[Mark]:
        ids, images, *sides = (column[np.asarray(rows, np.int64)].tolist() for column in self._columns.values())
        boxes = zip(*sides, strict=True)
        return [Mark(id, str(image), box, action, cluster) for id, image, box in zip(ids, images, boxes, strict=True)]

    def _add(self, name: str, rows: np.ndarray, label: int | None, step: int) -> None:
        if step != self.labels.version + 1:  # somebody else wrote meanwhile
            self._read()
            return
        self.labels = self.labels.set_label(name, rows, label, step)

    def _read(self) -> None:
        view = decision_view(self._run_view)
        self._replace(view.marks, ReviewLabels(view.version, view.of_clusters, ReviewerLabels.of(view.effective), {}))

    def _read_marks(self) -> None:
        """After a step on single masks: clusters and their names are as they were."""
        version = decisions.version(self._run_view.run)
        marks = decisions.read_marks(self._run_view.run)
        everyone = ReviewerLabels.of(decisions.effective(marks, self._run_view.frame))
        self._replace(marks, replace(self.labels, version=version, everyone=everyone))

    def _replace(self, marks: pd.DataFrame, labels: ReviewLabels) -> None:
        rows = self.rows_by_id(marks["mask_id"].to_numpy())
        reviewers = {}
        for name, own in marks.groupby("reviewer", sort=False):
            stands = ReviewerLabels.of(decisions.effective(own, self._run_view.frame))
            own = own.assign(row=rows[own.index])[own["scope"].eq(Scope.LABELS)]
            times = own[own["action"].ne(Action.SKIP)].drop_duplicates("step")["time"]
            single = own.loc[~own["step"].duplicated(keep=False) & (own["row"] >= 0), "row"]
            reviewers[str(name)] = replace(stands, times=tuple(times.tolist()), recent=tuple(single.tolist()))
        self.labels = replace(labels, reviewers=reviewers)


def _label_of(action: Action, cluster: int | None) -> int | None:
    """The label that an action gives a mask; None for none."""
    if action is Action.RELABEL:
        return cluster
    return None if action is Action.SKIP else _LABEL_OF[action]
