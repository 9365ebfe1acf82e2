"""What stands beside a mask on the desk: its name, why it is doubted, its scores, the clusters under the keys.

No drawing in here; the browser lays it out.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from app.audit.label_store import ReviewLabels
from app.audit.pictures import Look, picture
from app.audit.queue import QueueSettings, audit_pool, centres_of
from app.images.colors import cluster_colour
from app.images.crops import crop_url
from app.mask_detail.facts import SIGNALS
from app.run_view import RunView
from maskdistill.pseudo_labels.filter import RULE_HELP
from maskdistill.review.audit import (
    ClusterCentres,
    Order,
    Reasons,
    count_words,
    disagreement,
    measure_pace,
    suggest_clusters,
)
from maskdistill.review.audit.agreement import ACCEPTED, NO_WORD, REJECTED
from maskdistill.storage.progress import format_duration

_STROKES = 400  # the last of a person, among which the pace is looked for
_PERCENT = ("area", "border")
_FACTS = {  # columns of the table: how they are called, and what they say
    **{name: SIGNALS[name] for name in ("score", "agreement", "iou")},
    "quality": ("Proposal", "how good the proposal was found, without any model"),
    **{name: SIGNALS[name] for name in _PERCENT},
}
_WHOLE = (Order.DOUBTFUL, Order.CLUSTER, Order.RANDOM, Order.SOURCE)  # orders of all masks
_OTHER_ORDER = "Choose another order above."
_NOTHING = {
    Order.KEPT: "The filter keeps no mask.",
    Order.DROPPED: "The filter drops no mask.",
    Order.DISAGREEMENTS: "No two people have said different things of a mask.",
    Order.SKIPPED: "You have put off no mask.",
}
_NEXT = [
    "Hand over, below: paint the label maps with these decisions, then train stage 2 on them.",
    "A colleague can judge the same masks as a second opinion; Agreement, below, compares the two.",
]


@dataclass(eq=False)
class Cards:
    """Tells all about single masks, for one way through them."""

    found: RunView
    ledger: ReviewLabels
    way: QueueSettings
    drawn: bool  # whether label maps are painted with the masks as the first model draws them

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        """Columns of the table as arrays: to take one cell out of a frame takes long."""
        names = ("mask_id", "image_id", "cluster", "label", "vector", "kept", "rule", *_FACTS)
        columns, ground = {name: self.found.frame[name].to_numpy() for name in names}, audit_pool(self.found)
        columns["area"] = columns["area"].copy()
        columns["area"][ground.rows] = ground.frame["area"].to_numpy()
        return columns

    def missing(self, rows: Sequence[int], look: Look, have: Collection[str], at_most: int) -> list[dict[str, Any]]:
        """The first cards of these masks that the browser does not hold."""
        wanted = [row for row in rows if f"{look[0]}{self._id(row)}" not in have]
        return [self._card(row, look) for row in wanted[:at_most]]

    def thumbs(self, rows: Sequence[int], have: Collection[str]) -> dict[int, str]:
        """Small crops by mask id, those that the browser does not hold."""
        ids = [self._id(row) for row in rows]
        return {mask_id: crop_url(self.found, mask_id) for mask_id in ids if f"t{mask_id}" not in have}

    def said(self, row: int) -> dict[str, str]:
        """What was said of a mask, ``sign`` and ``text``. A second opinion hears the first only when it is given."""
        own, others = self.ledger.voice(self.way.reviewer), self.ledger.others_of(row, self.way.reviewer)
        word = int(own.words[row])
        if word == NO_WORD and self.way.second:
            others = []
        told = [f"{name} {self._told(other)}" for name, other in others]
        if word == NO_WORD and own.skipped[row]:
            told.insert(0, "you put it off")
        if word != NO_WORD:
            told.insert(0, f"you {self._told(word)}")
        if self.way.order is Order.DISAGREEMENTS:
            told = []  # the reason tells it
        shown = word if self.way.second else int(self.ledger.everyone.words[row])
        sign = "skip" if shown == NO_WORD and own.skipped[row] else _sign(shown)
        return {"sign": sign, "text": "; ".join(told)}

    def progress(self, queue: np.ndarray, done: np.ndarray) -> dict[str, Any]:
        """How far the queue is, by whom it is, and how long the rest will take."""
        own = self.ledger.voice(self.way.reviewer)
        words = np.where(done, (own if self.way.second else self.ledger.everyone).words, NO_WORD)
        tally = count_words(words[queue], own.skipped[queue])
        num_done = int(np.count_nonzero(done[queue]))
        pace = measure_pace(np.array(own.times[-_STROKES:]))
        left = len(queue) - num_done
        return {
            "done": num_done,
            "total": len(queue),
            "accepted": tally.accepted,
            "rejected": tally.rejected,
            "relabelled": tally.relabelled,
            "skipped": tally.skipped,
            "pace": f"{pace.per_minute:.0f} a minute" if pace else "",
            "left": f"{_roughly(pace.time_left(left))} left" if pace and left else "",
        }

    def examples(self, clusters: Sequence[int]) -> dict[int, str]:
        """A crop of each cluster's mask nearest to its centre."""
        cluster, distance = self.ledger.decided.cluster, self.found.frame["distance"].to_numpy()
        near = np.lexsort((np.nan_to_num(distance, nan=np.inf), cluster))
        first = np.searchsorted(cluster[near], clusters)
        return {id: crop_url(self.found, self._id(int(near[place]))) for id, place in zip(clusters, first, strict=True)}

    def all_done(self, total: int) -> dict[str, Any]:
        """What is said when the queue is done: nothing was in it, or what to do next."""
        if not total:
            title = _NOTHING.get(self.way.order, "There is no mask in this queue.")
            return {"title": title, "lines": [_OTHER_ORDER], "empty": True}
        if self.way.order in _WHOLE and not self.way.second:
            return {"title": f"All {total:,} masks are decided.", "lines": _NEXT}
        return {"title": f"All {total:,} masks of this queue are decided.", "lines": [_OTHER_ORDER]}

    @property
    def key(self) -> str:
        """Another one for another way, or after a stage has made the masks anew."""
        return f"{self.way} {self.found.stamp}"

    def cluster_of(self, row: int) -> int:
        """Where a mask is now; where the clustering put it if people threw it out."""
        moved = int(self.ledger.everyone.words[row]) if not self.way.second else 0
        return max(moved, 0) or int(self.ledger.decided.cluster[row]) or int(self._columns["cluster"][row])

    def name_of(self, cluster: int) -> str:
        """What a cluster is called."""
        return self.ledger.decided.name_of(cluster) if cluster else "no cluster"

    @cached_property
    def _reasons(self) -> Reasons:
        pool = audit_pool(self.found)
        return Reasons(pool.frame, pool.doubts, self.name_of)

    @cached_property
    def _place(self) -> np.ndarray:
        """(N,) place of the table's rows among those that can be audited, -1 for none."""
        rows = audit_pool(self.found).rows
        place = np.full(len(self.found.frame), -1)
        place[rows] = np.arange(len(rows))
        return place

    @cached_property
    def centres(self) -> ClusterCentres:
        """Where the clusters lie."""
        return centres_of(self.found, self.ledger)

    def _card(self, row: int, look: Look) -> dict[str, Any]:
        columns, cluster = self._columns, self.cluster_of(row)
        kept, rule = bool(columns["kept"][row]), str(columns["rule"][row])
        verdict = "" if not rule else "kept" if rule == "kept" else f"{'kept' if kept else 'dropped'} ({rule})"
        return {
            "key": f"{look[0]}{self._id(row)}",
            "id": self._id(row),
            "photo": str(columns["image_id"][row]),
            "cluster": cluster,
            "name": self.name_of(cluster),
            "colour": cluster_colour(cluster),
            "reason": self._why(row),
            "verdict": {"text": verdict, "kept": kept, "help": RULE_HELP.get(rule, "")},
            "facts": list(self._facts(row)),
            "keys": self._keys(row, cluster),
            **picture(self.found, row, look, drawn=self.drawn),
        }

    def _why(self, row: int) -> str:
        place = int(self._place[row])
        doubts = self._reasons.why(place, self.way.order) if place >= 0 else "Not among what the filter judges"
        own = int(self.ledger.voice(self.way.reviewer).words[row])
        if self.way.order is Order.DISAGREEMENTS:
            people = [("you", own)] if own != NO_WORD else []
            people += self.ledger.others_of(row, self.way.reviewer)
            told = disagreement(*zip(*people, strict=True), self.name_of) if people else ""
            return f"{told[:1].upper()}{told[1:]}"
        return doubts

    def _facts(self, row: int) -> Iterator[dict[str, Any]]:
        for name, (label, text) in _FACTS.items():
            value = float(self._columns[name][row])
            if np.isfinite(value):
                shown = f"{value:.1%}" if name in _PERCENT else f"{value:.2f}"
                yield {"label": label, "value": shown, "share": min(max(value, 0.0), 1.0), "help": text}

    def _keys(self, row: int, cluster: int) -> list[dict[str, Any]]:
        columns, classes = self._columns, self.ledger.decided.classes
        vector = int(columns["vector"][row])
        seen = None if vector < 0 or self.found.vectors is None else np.asarray(self.found.vectors[vector])
        banned = () if classes is None else classes.excluded
        offered = suggest_clusters(cluster, int(columns["label"][row]), self.centres, seen, banned)
        return [{"cluster": id, "name": self.name_of(id), "colour": cluster_colour(id)} for id in offered]

    def _told(self, word: int) -> str:
        return {ACCEPTED: "accepted", REJECTED: "rejected"}.get(word) or f"moved it to {self.name_of(word)}"

    def _id(self, row: int) -> int:
        return int(self._columns["mask_id"][row])


def _sign(word: int) -> str:
    return {NO_WORD: "", ACCEPTED: "accept", REJECTED: "reject"}.get(word, "relabel")


def _roughly(seconds: float) -> str:
    """Minutes are enough: a pace is a guess."""
    if seconds < 60:
        return "less than a minute"
    return f"about {format_duration(60 * round(seconds / 60)).removesuffix(' 00 s')}"
