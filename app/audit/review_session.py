"""One person's place in a queue: messages of the browser, and answers to them. No drawing in here.

The browser goes ahead: it shows the next mask at once, from those it was sent, and keeps its numbered actions until the
server confirms that they are on the disk. So a message may repeat actions that were written already, by this server or
one that was killed; those are written once. An action names its mask, whatever is shown meanwhile.

Masks are kept from others for a session, not for a person: one person may have two tabs open.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.audit.attendance import Attendance, Attendant
from app.audit.label_store import LabelStore, ReviewerLabels, ReviewLabels
from app.audit.mask_cards import Cards
from app.audit.pictures import Zoom
from app.audit.queue import QueueSettings
from app.run_view import repairs_of, stamp_of
from maskdistill.errors import ConfigError, MaskDistillError
from maskdistill.review import decisions
from maskdistill.review.audit import Order, next_open
from maskdistill.review.audit.agreement import NO_LABEL
from maskdistill.review.decisions import Action, Seen, Sent

NUM_UPCOMING = 12  # masks that the browser may go on to without asking
NUM_CARDS = 4  # pictures made for one answer, which must not take long
_NUM_BEFORE = 12  # masks judged before, to go back to
_NUM_CLAIMED = 24  # masks that are kept from others
_CLAIM_SECONDS = decisions.LONGEST  # for which they are kept; renewed when half of it is over
_GRACE = 10.0  # seconds for which the masks of a lost connection stay kept: it may come back
_CLOSING = 1.0  # seconds that the connection of a page that is loaded again may take to close; a copied tab's does not
_ON_MASKS = (Action.ACCEPT, Action.REJECT, Action.RELABEL, Action.SKIP)


@dataclass(eq=False)
class ReviewSession:
    """A session's place in a queue."""

    store: LabelStore
    settings: QueueSettings
    queue: np.ndarray  # (n,) rows of the table
    cards: Cards
    session: str = field(default_factory=lambda: secrets.token_hex(8))  # whose masks are kept from others
    connection: str = ""  # of this session, as the server names it
    attendance: Attendance = field(default_factory=Attendance)
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
    _taken: set[int] = field(default_factory=set)  # rows that others have open
    _claimed_at: float = 0.0
    _done: tuple[ReviewLabels, np.ndarray] | None = None  # what ``done`` found last, and in what
    _mended: dict[int, int] = field(default_factory=dict)  # mask -> the repair that its picture shows

    def __post_init__(self) -> None:
        self._run_view = self.cards.run_view
        self._seen = self.store.labels.cluster_view.seen
        self._ids = self._run_view.frame["mask_id"].to_numpy()
        self._place = np.full(len(self._ids), -1, np.int32)
        self._place[self.queue] = np.arange(len(self.queue))
        self.in_queue = self._place >= 0  # (N,) bool: what is counted in the table's order goes through memory once

    @property
    def _own(self) -> ReviewerLabels:
        return self.store.labels.of_reviewer(self.settings.reviewer)

    def done(self) -> np.ndarray:
        """(N,) bool, not to be changed: masks that need no review any more."""
        labels = self.store.labels
        if self._done is None or self._done[0] is not labels:
            self._done = labels, self._find_done(labels)
        return self._done[1]

    def _find_done(self, labels: ReviewLabels) -> np.ndarray:
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
            if row not in self._claimed_by_others():
                self.at = row
                return
            self._say(f"Mask {mask_id} is being reviewed by somebody else, or in another tab.")
        first = self._upcoming(done)
        self.at = int(first[0]) if len(first) else None

    @property
    def owner(self) -> str:
        """Whose actions these are, and on which run: the browser keeps those of others apart."""
        return f"{self._run_view.run.path.absolute()} {self.settings.reviewer}"

    def apply_message(self, message: Mapping[str, Any]) -> None:
        """Apply a message of the browser, its actions first; what goes wrong with them stands in ``error``."""
        actions = message.get("actions", ()) if message.get("owner", self.owner) == self.owner else ()
        self.error, self.notice = "", "" if actions else self.notice
        self._number, self._zoom = int(message["number"]), "whole" if message.get("zoom") == "whole" else "crop"
        self._cached = {str(name) for name in message.get("cached", ())}
        self.at = self._row(message.get("at"))
        self._shown = [row for mask_id in message.get("shown", ()) if (row := self._row(mask_id)) is not None]
        try:
            if message.get("before"):
                self._follow(str(message["before"]), fresh=bool(message.get("fresh")))
            if not actions:  # an action brings what others wrote by itself
                self.store.refresh()
            for action in actions:
                self._do_once(action, self._sent(action, message))
        except MaskDistillError as error:
            self.error = str(error)

    def may_see_others(self, mask_id: int) -> bool:
        """Whether a person may see the labels of others: not before their own second opinion."""
        row = self._row(mask_id)
        return row is not None and (not self.settings.second_opinion or self._own.labels[row] != NO_LABEL)

    def reject_rest(self, rows: np.ndarray, cluster: str, seen: Seen) -> None:
        """Reject those of a cluster's masks that nobody has decided on yet, nor moved since they were seen."""
        try:
            note = f"all of {cluster} that was not decided"
            number = self.store.reject_undecided(self.settings.reviewer, rows.tolist(), note, seen)
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
        same_run = before._run_view.run.path == self._run_view.run.path
        if same_run and before._run_view.stamp != self._run_view.stamp:
            self.notice = "A stage was made anew. All decisions stand."
        if not same_run or before.settings != self.settings:  # else this session goes on with them
            before.release_claims()

    def release_claims(self) -> None:
        """Let others have the masks that were kept for this session; who comes back claims them again."""
        self.attendance.leave(self.session)
        if not self._claimed:
            return
        self._claimed = set()
        try:
            decisions.release(self._run_view.run, self.session)
        except MaskDistillError as error:  # they are free in minutes anyway
            self.error = str(error)

    def is_current(self) -> bool:
        """Whether the run's files and clusters are still those that the queue was made of."""
        same_clusters = self.store.labels.cluster_view.seen.numbering == self._seen.numbering
        return same_clusters and stamp_of(self._run_view.run) == self._run_view.stamp

    def forget_cached(self) -> None:
        """A page drawn anew may have lost what it was sent."""
        self._cached = set()

    def answer(self) -> dict[str, Any]:
        """What the browser needs now: the last action on the disk, the next masks, and pictures it does not have."""
        done = self.done()
        if self.at is None:
            self.start(None)
        self._drop_old_pictures()
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
            "claims": self.session,
            "owner": self.owner,
            "queue": self.cards.key,
            "number": self._number,
            "acked": self.acked,
            "error": self.error,
            "notice": self.notice,
            "goto": [self._goto[0], self._id(self._goto[1])],
            "at": None if self.at is None else self._id(self.at),
            "upcoming": [self._id(row) for row in upcoming],
            "before": [self._id(row) for row in before],
            "taken": [self._id(row) for row in {*self._shown, *shown} if row in self._taken and not done[row]],
            "labels": {self._id(row): self.cards.label_of(row) for row in labelled},
            "cards": cards,
            "thumbnails": thumbnails,
            "progress": self.cards.progress(self.in_queue, done),
            "finished": None if shown else self._finished(done),
        }

    def _drop_old_pictures(self) -> None:
        """What people mended since it was sent is sent again."""
        try:
            self.cards.forms = repairs_of(self._run_view).by_shown
        except MaskDistillError as error:
            self.error = self.error or str(error)
            return
        now = {mask_id: form.step for mask_id, form in self.cards.forms.items()}
        for mask_id in {*now, *self._mended}:
            if now.get(mask_id) != self._mended.get(mask_id):
                self._cached -= {f"c{mask_id}", f"w{mask_id}"}
        self._mended = now

    def _finished(self, done: np.ndarray) -> dict[str, Any]:
        """What the page shows when there is no mask to go to."""
        left = int(np.count_nonzero(self.in_queue & ~done))
        if not left:
            return self.cards.finished(len(self.queue))
        masks = "mask is" if left == 1 else f"{left:,} masks are"
        title = f"The last {masks} being reviewed by somebody else, or in another tab."
        return {"title": title, "lines": ["They come here if released."], "waiting": True}

    def _do_once(self, action: Mapping[str, Any], sent: Sent) -> None:
        """Write an action unless that is done; one that can never be written is reported, and asked for no more."""
        if sent.seq <= self.acked.get(sent.client, 0):
            return
        try:
            self._do(action, sent)
        except ConfigError as error:
            self._say(f"Not saved: {error}")
            self.store.refresh()
        self.acked[sent.client] = sent.seq

    def _sent(self, action: Mapping[str, Any], message: Mapping[str, Any]) -> Sent:
        return Sent(str(action.get("client", message["client"])), int(action["seq"]), self.session)

    def _do(self, action: Mapping[str, Any], sent: Sent) -> None:
        if action["kind"] in ("undo", "redo"):
            self._undo_or_redo(action["kind"], sent)
            return
        row, kind = self._row(action["mask"]), Action(action["kind"])
        if row is None or kind not in _ON_MASKS:
            self._say(f"There is no mask {action['mask']} any more. Nothing was saved for it.")
            return
        cluster = int(action["cluster"]) if kind is Action.RELABEL else None
        before = self._decided_by_others(row)
        self.store.decide(self.settings.reviewer, [row], kind, cluster, sent=sent, seen=self._seen)
        self._claimed.discard(row)
        if before and kind is not Action.SKIP:
            self._say(f"Mask {self._id(row)} was decided on before: {before}. Both are kept; the last one counts.")

    def _decided_by_others(self, row: int) -> str:
        """What others decided on a mask that was not meant to be judged twice."""
        labels, own = self.store.labels, self._own
        if self.settings.second_opinion or self.settings.order is Order.DISAGREEMENTS:
            return ""
        last = labels.everyone.step_of(row) if labels.everyone.labels[row] != NO_LABEL else 0
        return self.cards.label_of(row)["text"] if last > own.step_of(row) else ""

    def _undo_or_redo(self, kind: str, sent: Sent) -> None:
        result = (self.store.undo if kind == "undo" else self.store.redo)(self.settings.reviewer, sent)
        if result is None:
            self._say(f"Nothing to {kind}.")
            return
        step, rows = result
        elsewhere = "" if step.client in {*self.acked, sent.client} else ", which was not made in this tab"
        done = "Undone" if kind == "undo" else "Redone"
        self._say(f"{done}{elsewhere}: {step.text[0].lower()}{step.text[1:]}")
        if len(rows) == 1 and int(rows[0]) in self._claimed_by_others():
            self._say(f"Mask {self._id(rows[0])} is being reviewed by somebody else, or in another tab.")
        elif len(rows) == 1:
            self._goto = (f"{sent.client} {sent.seq}", int(rows[0]))
            self._claimed.add(int(rows[0]))

    def _say(self, text: str) -> None:
        self.notice = f"{self.notice} {text}".strip()

    def _follow(self, before: str, *, fresh: bool) -> None:
        """Go on for the session that the tab had with a server that was killed, or before it was loaded again."""
        if before == self.session or self.attendance.stays(before, _CLOSING if fresh else 0):
            return
        if decisions.hand_over(self._run_view.run, before, self.session):
            self._claimed = set()
            if fresh:  # the tab shows a mask behind those
                self.at = None
                self.start(None)
                self._goto = (f"follows {before}", -1 if self.at is None else self.at)

    def _upcoming(self, done: np.ndarray) -> list[int]:
        """Rows to go on to, that nobody else reviews now."""
        after = -1 if self.at is None else int(self._place[self.at])
        while True:
            claimed = self._taken = self._claimed_by_others()
            skipped = self._own.skipped
            rows = self.queue[next_open(self.queue, done, skipped, after=after, count=_NUM_CLAIMED, claimed=claimed)]
            own, done = self._claim(rows.tolist()), self.done()
            rest = [row for row in own if not done[row]]  # without what was decided until it was claimed
            if rest or not own:
                return rest

    def _free_gone(self) -> None:
        """The masks of closed tabs: free at once for the same person, who loads the page again, soon for others."""
        for gone in self.attendance.take_gone():
            if gone.run.path == self._run_view.run.path and gone.reviewer == self.settings.reviewer:
                decisions.release(gone.run, gone.session)
            else:
                decisions.shorten(gone.run, [gone.session], _GRACE)

    def _claimed_by_others(self) -> set[int]:
        try:
            self._free_gone()
            found = decisions.claimed_by_others(self._run_view.run, self.session, **self._person)
        except MaskDistillError as error:  # a full disk: one can still look
            self.error = self.error or str(error)
            return set()
        return {int(row) for row in self.store.rows_by_id(np.array(sorted(found), np.int64)) if row >= 0}

    @property
    def _person(self) -> dict[str, Any]:
        return {"reviewer": self.settings.reviewer, "second_opinion": self.settings.second_opinion}

    def _claim(self, rows: Sequence[int]) -> list[int]:
        """Those of these rows that are this session's; claimed in advance, so that few actions have to wait for it."""
        run = self._run_view.run
        if not self.attendance.attend(Attendant(self.session, self.connection, run, self.settings.reviewer)):
            self._claimed = set()
        near = {*rows[:NUM_UPCOMING], *([] if self.at is None else [self.at])}
        if near <= self._claimed and time.monotonic() - self._claimed_at < _CLAIM_SECONDS / 2:
            return [row for row in rows if row in self._claimed]
        ids = [self._id(row) for row in [*near, *rows[NUM_UPCOMING:]]]
        try:
            own = decisions.claim(run, self.session, ids, _CLAIM_SECONDS, **self._person)
            self.store.refresh()  # from here on nobody else decides on these
        except MaskDistillError as error:
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
