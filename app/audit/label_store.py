"""What everyone said of a run's masks, kept current stroke by stroke. No Streamlit in here.

Reading all decisions anew takes longer the more there are; a person who decides twice a second must not wait for it.
So a stroke of this server is added to what is known, and all is read anew only when somebody else wrote, or after an
undo.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from app.run_view import DecisionView, RunView, decision_view
from maskdistill.review import decisions
from maskdistill.review.audit.agreement import ACCEPTED, NO_WORD, REJECTED, differing, words
from maskdistill.review.decisions import Action, Mark, Scope, Step

_SAID = {Action.ACCEPT: ACCEPTED, Action.REJECT: REJECTED, Action.CLEAR: NO_WORD}


@dataclass(frozen=True, eq=False)
class ReviewerLabels:
    """What one person said last of each of N masks, or what anybody did."""

    words: np.ndarray  # (N,) int64, as maskdistill.auditing.words gives them
    skipped: np.ndarray  # (N,) bool
    step: np.ndarray  # (N,) int64, of the word; 0 for none
    times: list[float] = field(default_factory=list)  # seconds since 1970 of each step with a word, rising
    recent: list[int] = field(default_factory=list)  # rows that were judged one by one, the last one last

    @classmethod
    def silent(cls, num_masks: int) -> "ReviewerLabels":
        """Nothing said yet."""
        return cls(*(np.zeros(num_masks, kind) for kind in (np.int64, bool, np.int64)))

    def say(self, rows: np.ndarray, word: int | None, step: int) -> None:
        """Add a step; None skips."""
        self.skipped[rows] = word is None
        if word is not None:
            self.words[rows] = word
            self.step[rows] = step


class ReviewLabels:
    """Everyone's words on the masks of one state of a run's files. All sessions of the server share it."""

    def __init__(self, run_view: RunView) -> None:
        self._found = run_view
        self._lock = threading.RLock()
        self._places = {name: run_view.frame[name].to_numpy() for name in ("mask_id", "image_id", *"xywh")}
        self._read()

    @property
    def names(self) -> list[str]:
        """Who has said something."""
        return sorted(self._voices)

    @property
    def decided(self) -> DecisionView:
        """Everything as it was when all was read last: for clusters and their names."""
        return self._decided

    def voice(self, name: str) -> ReviewerLabels:
        """What a person said."""
        return self._voices.get(name) or ReviewerLabels.silent(len(self._found.frame))

    def differ(self, pair: Sequence[str] = ()) -> np.ndarray:
        """(N,) bool: masks of which these people, or any, last said different things."""
        voices = [self.voice(name).words for name in pair or self.names]
        return differing(np.stack(voices)) if voices else np.zeros(len(self._found.frame), bool)

    def has_said(self, name: str, row: int, action: Action, cluster: int | None) -> bool:
        """Whether this is what a person said last of a mask."""
        voice, word = self.voice(name), _word(action, cluster)
        return bool(voice.skipped[row]) if word is None else voice.words[row] == word and not voice.skipped[row]

    def others_of(self, row: int, name: str) -> list[tuple[str, int]]:
        """Who else said what of a mask."""
        said = ((other, int(voice.words[row])) for other, voice in self._voices.items() if other != name)
        return sorted((other, word) for other, word in said if word != NO_WORD)

    def rows_by_id(self, mask_ids: np.ndarray) -> np.ndarray:
        """Rows of masks, -1 for those that are no more."""
        ids = self._places["mask_id"]
        rows = np.minimum(np.searchsorted(ids, mask_ids), len(ids) - 1)
        return np.where(ids[rows] == mask_ids, rows, -1)

    def refresh(self) -> None:
        """Take in what others wrote.

        Raises:
            RunError: If the run's database cannot be read.
        """
        with self._lock:
            if decisions.version(self._found.run) != self.version:
                self._read()

    def decide(self, name: str, rows: Sequence[int], action: Action, cluster: int | None = None, note: str = "") -> int:
        """Write down what a person says of masks, as one step; it is on the disk when this returns.

        Raises:
            ConfigError: If that cannot be said.
            RunError: If the run's database cannot be written.
        """
        marks = [self._mark(int(row), action, cluster) for row in rows]
        with self._lock:
            step = decisions.decide(self._found.run, name, marks, scope=Scope.LABELS, note=note)
            if step != self.version + 1:  # somebody else was faster
                self._read()
            else:
                self._add(name, np.asarray(rows, np.int64), action, cluster, step)
            return step

    def undo(self, name: str) -> tuple[Step, np.ndarray] | None:
        """Undo a person's last step; what it was, and the rows of its masks. None if there is none.

        Raises:
            RunError: If the run's database cannot be written.
        """
        with self._lock:
            step = decisions.undo(self._found.run, name, scope=Scope.LABELS)
            if step is None:
                return None
            rows = self._rows_of(step.id)
            self._read_marks()
            return step, rows

    def redo(self, name: str) -> tuple[Step, np.ndarray] | None:
        """Do again what a person undid last, as ``undo`` tells it.

        Raises:
            RunError: If the run's database cannot be written.
        """
        with self._lock:
            step = decisions.redo(self._found.run, name, scope=Scope.LABELS)
            if step is None:
                return None
            self._read_marks()
            return step, self._rows_of(step.id)

    def _mark(self, row: int, action: Action, cluster: int | None) -> Mark:
        mask_id, image_id, *box = (column[row] for column in self._places.values())
        x, y, width, height = map(int, box)
        return Mark(int(mask_id), str(image_id), (x, y, width, height), action, cluster)

    def _add(self, name: str, rows: np.ndarray, action: Action, cluster: int | None, step: int) -> None:
        voice = self._voices.setdefault(name, ReviewerLabels.silent(len(self._found.frame)))
        word = _word(action, cluster)
        for each in (voice, self.everyone):
            each.say(rows, word, step)
        if word is not None:
            voice.times.append(time.time())
        if len(rows) == 1:
            voice.recent.append(int(rows[0]))
        self._added[step] = rows
        self.version = step

    def _read(self) -> None:
        self._decided = decision_view(self._found)
        self._hear(self._decided.marks, self._decided.effective, self._decided.version)

    def _read_marks(self) -> None:
        """After a step on single masks: clusters and their names are as they were."""
        version = decisions.version(self._found.run)
        marks = decisions.read_marks(self._found.run)
        self._hear(marks, decisions.effective(marks, self._found.frame), version)

    def _hear(self, marks: pd.DataFrame, latest: decisions.Effective, version: int) -> None:
        self._marks, self.version, self.everyone = marks, version, _voice_of(latest)
        self._added: dict[int, np.ndarray] = {}
        self._voices: dict[str, ReviewerLabels] = {}
        rows = self.rows_by_id(marks["mask_id"].to_numpy())
        for name, own in marks.groupby("reviewer", sort=False):
            heard = _voice_of(decisions.effective(own, self._found.frame))
            own = own.assign(row=rows[own.index])[own["scope"].eq(Scope.LABELS)]
            spoken = own[own["action"].ne(Action.SKIP)].drop_duplicates("step")
            single = own[~own["step"].duplicated(keep=False) & (own["row"] >= 0)]
            self._voices[str(name)] = replace(heard, times=spoken["time"].tolist(), recent=single["row"].tolist())

    def _rows_of(self, step: int) -> np.ndarray:
        if step in self._added:
            return self._added[step]
        rows = self.rows_by_id(self._marks["mask_id"].to_numpy()[self._marks["step"].to_numpy() == step])
        return rows[rows >= 0]


def _word(action: Action, cluster: int | None) -> int | None:
    """What an action says of a mask; None for nothing."""
    if action is Action.RELABEL:
        return cluster
    return None if action is Action.SKIP else _SAID[action]


def _voice_of(said: decisions.Effective) -> ReviewerLabels:
    """A copy: what is cached must not change, and this is added to."""
    return ReviewerLabels(words(said.decision, said.cluster), said.skipped.copy(), said.step.copy())
