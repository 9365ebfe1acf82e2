"""One person's place in a queue: messages of the browser, and answers to them. No drawing in here.

The browser goes ahead: it shows the next mask at once, from those it was sent, and numbers its actions until the server
confirms that they are on the disk. So a message may repeat actions that were written already; those are passed over. An
action names its mask, whatever is shown meanwhile.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.audit.label_store import LabelStore, ReviewerLabels
from app.audit.mask_cards import Cards
from app.audit.pictures import Zoom
from app.audit.queue import QueueSettings
from app.run_view import stamp_of
from maskdistill.errors import MaskDistillError
from maskdistill.review import decisions
from maskdistill.review.audit import Order, next_open
from maskdistill.review.audit.agreement import NO_LABEL
from maskdistill.review.decisions import Action

NUM_UPCOMING = 12  # masks that the browser may go on to without asking
NUM_CARDS = 4  # pictures made for one answer, which must not take long
_NUM_BEFORE = 12  # masks judged before, to go back to
_NUM_CLAIMED = 24  # masks that are kept from others
_CLAIM_SECONDS = 180.0  # for which they are kept; renewed when half of it is over
_ON_MASKS = (Action.ACCEPT, Action.REJECT, Action.RELABEL, Action.SKIP)


@dataclass(eq=False)
class ReviewSession:
    """A session's place in a queue."""

    store: LabelStore
    settings: QueueSettings
    queue: np.ndarray  # (n,) rows of the table
    cards: Cards
    at: int | None = None  # row on show
    acked: dict[str, int] = field(default_factory=dict)  # by browser tab: number of the last action on the disk
    error: str = ""
    notice: str = ""
    name: str = field(default_factory=lambda: secrets.token_hex(4))  # another one after a restart
    _number: int = 0  # of the last message
    _zoom: Zoom = "crop"
    _cached: set[str] = field(default_factory=set)  # cards and thumbnails that the browser holds
    _shown: list[int] = field(default_factory=list)  # rows that the browser shows as thumbnails
    _goto: tuple[str, int] = ("", -1)  # number of an undo or redo, and the row that it was about
    _claimed: set[int] = field(default_factory=set)  # rows
    _claimed_at: float = 0.0

    def __post_init__(self) -> None:
        self._run_view = self.cards.run_view
        self._ids = self._run_view.frame["mask_id"].to_numpy()
        self._place = np.full(len(self._ids), -1)
        self._place[self.queue] = np.arange(len(self.queue))

    @property
    def _own(self) -> ReviewerLabels:
        return self.store.labels.of_reviewer(self.settings.reviewer)

    def done(self) -> np.ndarray:
        """(N,) bool: masks that need no review any more."""
        labels = self.store.labels
        own = labels.of_reviewer(self.settings.reviewer)
        if self.settings.second_opinion:
            return own.labels != NO_LABEL
        if self.settings.order is Order.DISAGREEMENTS:
            last = (own.step == labels.everyone.step) & (own.labels != NO_LABEL)
            return last | ~labels.differ(self.settings.pair)
        return labels.everyone.labels != NO_LABEL

    def start(self, mask_id: int | None) -> None:
        """Go to a mask if it is open in the queue, else to the first that is."""
        done, row = self.done(), self._row(mask_id)
        if row is not None and self._place[row] >= 0 and not done[row]:
            self.at = row
            return
        first = self._upcoming(done)
        self.at = int(first[0]) if len(first) else None

    def apply_message(self, message: Mapping[str, Any]) -> None:
        """Apply a message of the browser, its actions first; what goes wrong with them stands in ``error``."""
        actions, client = message.get("actions", ()), str(message["client"])
        self.error, self.notice = "", "" if actions else self.notice
        self._number, self._zoom = int(message["number"]), "whole" if message.get("zoom") == "whole" else "crop"
        self._cached = {str(name) for name in message.get("cached", ())}
        self.at = self._row(message.get("at"))
        self._shown = [row for mask_id in message.get("shown", ()) if (row := self._row(mask_id)) is not None]
        try:
            if not actions:  # an action brings what others wrote by itself
                self.store.refresh()
            for action in actions:
                if int(action["seq"]) > self.acked.get(client, 0):
                    self._do(action, f"{client} {action['seq']}", again=bool(action.get("again")))
                    self.acked[client] = int(action["seq"])
        except MaskDistillError as error:
            self.error = str(error)

    def may_see_others(self, mask_id: int) -> bool:
        """Whether a person may see the labels of others: not before their own second opinion."""
        row = self._row(mask_id)
        return row is not None and (not self.settings.second_opinion or self._own.labels[row] != NO_LABEL)

    def reject_rest(self, rows: np.ndarray, cluster: str) -> None:
        """Reject those of a cluster's masks that nobody has decided on yet."""
        try:
            note = f"all of {cluster} that was not decided"
            number = self.store.reject_undecided(self.settings.reviewer, rows.tolist(), note)
        except MaskDistillError as error:
            self.error = str(error)
            return
        self.notice = (
            f"Rejected masks of {cluster}: {number:,}. Undo reverts it." if number else "No mask was rejected."
        )
        if number < len(rows):
            self.notice += f" Decided by others meanwhile, and left as they are: {len(rows) - number:,}."
        self.at = None

    def take_over(self, before: "ReviewSession") -> None:
        """Follow the session before: actions on their way stay known, masks kept from others are released."""
        self.acked = before.acked
        if before._run_view.run.path == self._run_view.run.path:
            if before._run_view.stamp != self._run_view.stamp:
                self.notice = "A stage was made anew. All decisions stand."
            if before.settings.reviewer != self.settings.reviewer:
                before.release_claims()

    def release_claims(self) -> None:
        """Let others have the masks that were kept for this person; who comes back claims them again."""
        if not self._claimed:
            return
        self._claimed = set()
        try:
            decisions.release(self._run_view.run, self.settings.reviewer)
        except MaskDistillError as error:  # they are free in minutes anyway
            self.error = str(error)

    def is_current(self) -> bool:
        """Whether the run's files are still those that the queue was made of."""
        return stamp_of(self._run_view.run) == self._run_view.stamp

    def forget_cached(self) -> None:
        """A page drawn anew may have lost what it was sent."""
        self._cached = set()

    def answer(self) -> dict[str, Any]:
        """What the browser needs now: the last action on the disk, the next masks, and pictures it does not have."""
        done = self.done()
        if self.at is None:
            self.start(None)
        shown = [] if self.at is None else [self.at]
        upcoming = [row for row in self._upcoming(done) if row != self.at][:NUM_UPCOMING]
        before = list(dict.fromkeys(reversed(self._own.recent[-_NUM_BEFORE:])))[::-1]
        rows = list(dict.fromkeys([*before, *shown, *upcoming]))
        cards = self.cards.missing([*shown, *upcoming], self._zoom, self._cached, NUM_CARDS)
        thumbnails = self.cards.thumbnails(rows, self._cached)
        self._cached |= {card["key"] for card in cards} | {f"t{mask_id}" for mask_id in thumbnails}
        labelled = [row for row in {*rows, *self._shown, self._goto[1]} if row >= 0]
        return {
            "session": self.name,
            "queue": self.cards.key,
            "number": self._number,
            "acked": self.acked,
            "error": self.error,
            "notice": self.notice,
            "goto": [self._goto[0], self._id(self._goto[1])],
            "at": None if self.at is None else self._id(self.at),
            "upcoming": [self._id(row) for row in upcoming],
            "before": [self._id(row) for row in before],
            "labels": {self._id(row): self.cards.label_of(row) for row in labelled},
            "cards": cards,
            "thumbnails": thumbnails,
            "progress": self.cards.progress(self.queue, done),
            "finished": None if shown else self._finished(done),
        }

    def _finished(self, done: np.ndarray) -> dict[str, Any]:
        """What the page shows when there is no mask to go to."""
        left = int(np.count_nonzero(~done[self.queue]))
        if not left:
            return self.cards.finished(len(self.queue))
        masks = "mask is" if left == 1 else f"{left:,} masks are"
        return {"title": f"The last {masks} being reviewed by somebody else.", "lines": ["They come here if released."]}

    def _do(self, action: Mapping[str, Any], number: str, *, again: bool) -> None:
        if action["kind"] in ("undo", "redo"):
            if not again:  # sent twice it may have been done, and must not be done to the step before
                self._undo_or_redo(action["kind"], number)
            return
        row, kind = self._row(action["mask"]), Action(action["kind"])
        if row is None or kind not in _ON_MASKS:
            self.notice = f"There is no mask {action['mask']} any more. Nothing was saved for it."
            return
        cluster = int(action["cluster"]) if kind is Action.RELABEL else None
        if not (again and self.store.has_label(self.settings.reviewer, row, kind, cluster)):
            self.store.decide(self.settings.reviewer, [row], kind, cluster)

    def _undo_or_redo(self, kind: str, number: str) -> None:
        result = (self.store.undo if kind == "undo" else self.store.redo)(self.settings.reviewer)
        if result is None:
            self.notice = f"Nothing to {kind}."
            return
        step, rows = result
        self.notice = f"{'Undone' if kind == 'undo' else 'Redone'}: {step.text[0].lower()}{step.text[1:]}"
        if len(rows) == 1:
            self._goto = (number, int(rows[0]))

    def _upcoming(self, done: np.ndarray) -> list[int]:
        """Rows to go on to, that nobody else reviews now."""
        after = -1 if self.at is None else int(self._place[self.at])
        claimed = set() if self.settings.second_opinion else self._claimed_by_others()
        skipped = self._own.skipped & ~done
        rows = self.queue[next_open(self.queue, done, skipped, after=after, count=_NUM_CLAIMED, claimed=claimed)]
        return rows.tolist() if self.settings.second_opinion else self._claim(rows.tolist())

    def _claimed_by_others(self) -> set[int]:
        ids = sorted(decisions.claimed_by_others(self._run_view.run, self.settings.reviewer))
        return {int(row) for row in self.store.rows_by_id(np.array(ids, np.int64)) if row >= 0}

    def _claim(self, rows: Sequence[int]) -> list[int]:
        """Those of these rows that are this person's; claimed in advance, so that few actions have to wait for it."""
        near = {*rows[:NUM_UPCOMING], *([] if self.at is None else [self.at])}
        if near <= self._claimed and time.monotonic() - self._claimed_at < _CLAIM_SECONDS / 2:
            return [row for row in rows if row in self._claimed]
        ids = [self._id(row) for row in [*near, *rows[NUM_UPCOMING:]]]
        try:
            own = decisions.claim(self._run_view.run, self.settings.reviewer, ids, _CLAIM_SECONDS)
        except MaskDistillError as error:  # a full disk: one can still look
            self.error = self.error or str(error)
            return list(rows)
        self._claimed = {int(row) for row in self.store.rows_by_id(np.array(own, np.int64))}
        self._claimed_at = time.monotonic()
        return [row for row in rows if row in self._claimed]

    def _row(self, mask_id: Any) -> int | None:
        if mask_id is None or not self._run_view.table.has(int(mask_id)):
            return None
        return int(self._run_view.table.rows_of([int(mask_id)])[0])

    def _id(self, row: int) -> int:
        return int(self._ids[row]) if row >= 0 else -1
