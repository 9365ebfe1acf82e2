"""One person's way through a queue: what the browser is told, and what it says. No drawing in here.

The browser goes ahead: it shows the next mask at once, from those it was sent, and numbers its strokes until the server
says how far they are on the disk. So a message may hold strokes that were written already; those are passed over. A
stroke names its mask, whatever is shown meanwhile.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.audit.label_store import ReviewLabels
from app.audit.mask_cards import Cards
from app.audit.queue import QueueSettings
from app.run_view import stamp_of
from maskdistill.errors import MaskDistillError
from maskdistill.review import decisions
from maskdistill.review.audit import Order, next_open
from maskdistill.review.audit.agreement import NO_WORD
from maskdistill.review.decisions import Action, Step

AHEAD = 12  # masks that the browser may go on to without asking
AT_ONCE = 4  # pictures made for one answer, which must not take long
BEHIND = 12  # masks judged before, to go back to
HOLD = 180.0  # seconds that masks are kept from others, renewed when half of it is over
_HELD = 24  # masks that are kept from others
_BY_MASK = (Action.ACCEPT, Action.REJECT, Action.RELABEL, Action.SKIP)


@dataclass(eq=False)
class ReviewSession:
    """A session's place in a queue."""

    ledger: ReviewLabels
    way: QueueSettings
    queue: np.ndarray  # (n,) rows of the table
    cards: Cards
    at: int | None = None  # row on show
    acked: dict[str, int] = field(default_factory=dict)  # by browser tab: number of the last stroke on the disk
    error: str = ""
    notice: str = ""
    name: str = field(default_factory=lambda: secrets.token_hex(4))  # another one after a restart
    _turn: int = 0
    _look: str = "crop"
    _have: set[str] = field(default_factory=set)  # cards and thumbnails that the browser holds
    _strip: list[int] = field(default_factory=list)  # rows that the browser shows small
    _goto: tuple[str, int] = ("", -1)  # number of an undo or redo, and the row that it was about
    _held: set[int] = field(default_factory=set)  # rows
    _held_at: float = 0.0

    def __post_init__(self) -> None:
        self._found = self.cards.found
        self._ids = self._found.frame["mask_id"].to_numpy()
        self._place = np.full(len(self._ids), -1)
        self._place[self.queue] = np.arange(len(self.queue))

    def done(self) -> np.ndarray:
        """(N,) bool: masks that need no look any more."""
        own = self.ledger.voice(self.way.reviewer)
        if self.way.second:
            return own.words != NO_WORD
        if self.way.order is Order.DISAGREEMENTS:
            last_word = (own.step == self.ledger.everyone.step) & (own.words != NO_WORD)
            return last_word | ~self.ledger.differ(self.way.pair)
        return self.ledger.everyone.words != NO_WORD

    def start(self, mask_id: int | None) -> None:
        """Go to a mask if it waits in the queue, else to the first that does."""
        done = self.done()
        if mask_id is not None and self._found.table.has(mask_id):
            row = int(self._found.table.rows_of([mask_id])[0])
            if self._place[row] >= 0 and not done[row]:
                self.at = row
                return
        first = self._coming(done)
        self.at = int(first[0]) if len(first) else None

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take in what the browser says, strokes first; what goes wrong with them stands in ``error``."""
        self.error, self.notice = "", "" if message.get("strokes") else self.notice
        self._turn, self._look = int(message["turn"]), "whole" if message.get("look") == "whole" else "crop"
        self._have = {str(name) for name in message.get("have", ())}
        self.at = self._row(message.get("at"))
        self._strip = [row for mask_id in message.get("strip", ()) if (row := self._row(mask_id)) is not None]
        client = str(message["client"])
        try:
            if not message.get("strokes"):  # a stroke brings what others wrote by itself
                self.ledger.refresh()
            for stroke in message.get("strokes", ()):
                if int(stroke["seq"]) > self.acked.get(client, 0):
                    self._do(stroke, f"{client} {stroke['seq']}", again=bool(stroke.get("again")))
                    self.acked[client] = int(stroke["seq"])
        except MaskDistillError as error:
            self.error = str(error)

    def may_see_others(self, mask_id: int) -> bool:
        """Whether a person may know what others said of a mask: not before their own second opinion."""
        row = self._row(mask_id)
        return row is not None and (not self.way.second or self.ledger.voice(self.way.reviewer).words[row] != NO_WORD)

    def follow(self, before: "ReviewSession") -> None:
        """Take over from the sitting before: strokes on their way stay known, masks kept from others are let go."""
        self.acked = before.acked
        if before.cards.found.run.path == self._found.run.path:
            if before.cards.found.stamp != self._found.stamp:
                self.notice = "A stage was made anew. All decisions stand."
            if before.way.reviewer != self.way.reviewer:
                before.leave()

    def leave(self) -> None:
        """Let others have the masks that were kept for this person; who comes back takes them again."""
        if not self._held:
            return
        self._held = set()
        try:
            decisions.release(self._found.run, self.way.reviewer)
        except MaskDistillError as error:  # they are free in minutes anyway
            self.error = str(error)

    def is_current(self) -> bool:
        """Whether the run's files are still those that the queue was made of."""
        return stamp_of(self._found.run) == self._found.stamp

    def forget(self) -> None:
        """The browser may have lost what it was sent: a page drawn anew begins with nothing."""
        self._have = set()

    def answer(self) -> dict[str, Any]:
        """What the browser needs now: how far its strokes are, which masks come, and pictures it does not have."""
        done = self.done()
        if self.at is None:
            self.start(None)
        shown = [] if self.at is None else [self.at]
        coming = [row for row in self._coming(done) if row != self.at][:AHEAD]
        trail = list(dict.fromkeys(reversed(self.ledger.voice(self.way.reviewer).recent[-BEHIND:])))[::-1]
        rows = list(dict.fromkeys([*trail, *shown, *coming]))
        cards = self.cards.missing([*shown, *coming], self._look, self._have, AT_ONCE)
        thumbs = self.cards.thumbs(rows, self._have)
        self._have |= {card["key"] for card in cards} | {f"t{mask_id}" for mask_id in thumbs}
        return {
            "sitting": self.name,
            "way": self.cards.key,
            "turn": self._turn,
            "acked": self.acked,
            "error": self.error,
            "notice": self.notice,
            "goto": [self._goto[0], self._id(self._goto[1])],
            "at": None if self.at is None else self._id(self.at),
            "ahead": [self._id(row) for row in coming],
            "trail": [self._id(row) for row in trail],
            "said": {self._id(row): self.cards.said(row) for row in {*rows, *self._strip, self._goto[1]} if row >= 0},
            "cards": cards,
            "thumbs": thumbs,
            "progress": self.cards.progress(self.queue, done),
            "over": None if shown else self._over(done),
        }

    def _over(self, done: np.ndarray) -> dict[str, Any]:
        """What is said when nothing comes any more."""
        left = int(np.count_nonzero(~done[self.queue]))
        if left:
            masks = "mask is" if left == 1 else f"{left:,} masks are"
            return {"title": f"The last {masks} before somebody else.", "lines": ["They come here if they are let go."]}
        return self.cards.all_done(len(self.queue))

    def _do(self, stroke: Mapping[str, Any], number: str, *, again: bool) -> None:
        if stroke["kind"] in ("undo", "redo"):
            if not again:  # sent twice it may have been done, and must not be done to the step before
                self._turn_back(stroke["kind"], number)
            return
        row, action = self._row(stroke["mask"]), Action(stroke["kind"])
        if row is None or action not in _BY_MASK:
            self.notice = f"There is no mask {stroke['mask']} any more. Nothing was written down for it."
            return
        cluster = int(stroke["cluster"]) if action is Action.RELABEL else None
        if not (again and self.ledger.has_said(self.way.reviewer, row, action, cluster)):
            self.ledger.decide(self.way.reviewer, [row], action, cluster)

    def _turn_back(self, kind: str, number: str) -> None:
        act = self.ledger.undo if kind == "undo" else self.ledger.redo
        found = act(self.way.reviewer)
        if found is None:
            self.notice = f"There is nothing to {kind}."
            return
        step, rows = found
        self.notice = f"{'Undone' if kind == 'undo' else 'Done again'}: {_lower_first(step)}"
        if len(rows) == 1:
            self._goto = (number, int(rows[0]))

    def _coming(self, done: np.ndarray) -> list[int]:
        """Rows to go on to, that nobody else has before them."""
        later = self.ledger.voice(self.way.reviewer).skipped & ~done
        after = -1 if self.at is None else int(self._place[self.at])
        taken = set() if self.way.second else self._taken()
        places = next_open(self.queue, done, later, after=after, count=_HELD, taken=taken)
        rows = self.queue[places].tolist()
        return rows if self.way.second else self._hold(rows)

    def _taken(self) -> set[int]:
        ids = sorted(decisions.claimed_by_others(self._found.run, self.way.reviewer))
        return {int(row) for row in self.ledger.rows_by_id(np.array(ids, np.int64)) if row >= 0}

    def _hold(self, rows: Sequence[int]) -> list[int]:
        """Those of these rows that are this person's; asked for in advance, so that few strokes have to wait for it."""
        near = {*rows[:AHEAD], *([] if self.at is None else [self.at])}
        if near <= self._held and time.monotonic() - self._held_at < HOLD / 2:
            return [row for row in rows if row in self._held]
        wanted = [*near, *rows[AHEAD:]]
        try:
            mine = decisions.claim(self._found.run, self.way.reviewer, [self._id(row) for row in wanted], HOLD)
        except MaskDistillError as error:  # a full disk: one can still look
            self.error = self.error or str(error)
            return list(rows)
        self._held = {int(row) for row in self.ledger.rows_by_id(np.array(mine, np.int64))}
        self._held_at = time.monotonic()
        return [row for row in rows if row in self._held]

    def _row(self, mask_id: Any) -> int | None:
        if mask_id is None or not self._found.table.has(int(mask_id)):
            return None
        return int(self._found.table.rows_of([int(mask_id)])[0])

    def _id(self, row: int) -> int:
        return int(self._ids[row]) if row >= 0 else -1


def _lower_first(step: Step) -> str:
    return step.text[0].lower() + step.text[1:]
