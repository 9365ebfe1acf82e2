"""What the annotator shows of a mask: its name, why it is doubtful, its scores, the clusters under the keys.

No drawing in here; the browser does the layout.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from app.audit.label_store import LabelStore, ReviewLabels
from app.audit.pictures import Zoom, picture
from app.audit.queue import QueueSettings, audit_pool, centres_of, like_mended, nearest_to_centres
from app.images.crops import crop_url
from app.mask_detail.facts import SHARE, SIGNALS
from app.run_view import RunView
from maskdistill.pictures.colors import cluster_color
from maskdistill.pseudo_labels.filter import RULE_HELP
from maskdistill.review.audit import (
    ClusterCentres,
    Order,
    Reasons,
    count_labels,
    disagreement,
    measure_pace,
    suggest_clusters,
)
from maskdistill.review.audit.agreement import ACCEPTED, NO_LABEL, REJECTED
from maskdistill.review.decisions import Form
from maskdistill.storage.progress import format_duration

_RECENT = 400  # a person's last actions, from which the pace is measured
_PERCENT = ("area", "border")
_FACTS = {  # columns of the table: their names and what they mean
    **{name: SIGNALS[name] for name in ("score", "agreement", "iou")},
    "quality": ("Proposal", "score of the proposal, without any trained model"),
    "share": SHARE,
    **{name: SIGNALS[name] for name in _PERCENT},
}
_ALL_MASKS = (Order.DOUBTFUL, Order.CLUSTER, Order.RANDOM, Order.SOURCE)  # orders of all masks
_OTHER_ORDER = "Choose another order above."
_EMPTY = {
    Order.KEPT: "The filter keeps no mask.",
    Order.DROPPED: "The filter drops no mask.",
    Order.DISAGREEMENTS: "No disagreements.",
    Order.SKIPPED: "No skipped masks.",
    Order.LIKE_MENDED: "You have mended no mask yet: E mends the one on show.",
}
_NEXT = [
    "Export, below: make the label maps with these decisions, then train stage 2 on them.",
    "A colleague can review the same masks as a second opinion; Agreement, below, compares the two.",
]


@dataclass(eq=False)
class Cards:
    """Describes single masks for one queue."""

    run_view: RunView
    store: LabelStore
    settings: QueueSettings
    drawn: bool  # whether label maps are made of the masks as the first model draws them
    forms: Mapping[int, Form] = field(default_factory=dict)  # masks as people mended them, by what was shown

    @property
    def labels(self) -> ReviewLabels:
        """All labels at this moment."""
        return self.store.labels

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        """Columns of the table as arrays: to take one cell out of a frame takes long."""
        names = ("mask_id", "image_id", "cluster", "label", "vector", "kept", *_FACTS)
        columns, pool = {name: self.run_view.frame[name].to_numpy() for name in names}, audit_pool(self.run_view)
        columns["area"] = columns["area"].copy()
        columns["area"][pool.rows] = pool.frame["area"].to_numpy()
        return columns

    def missing(self, rows: Sequence[int], zoom: Zoom, cached: Collection[str], at_most: int) -> list[dict[str, Any]]:
        """The first cards of these masks that the browser does not hold."""
        wanted = [row for row in rows if f"{zoom[0]}{self._id(row)}" not in cached]
        return [self._card(row, zoom) for row in wanted[:at_most]]

    def thumbnails(self, rows: Sequence[int], cached: Collection[str]) -> dict[int, str]:
        """Small crops by mask id, those that the browser does not hold."""
        ids = [self._id(row) for row in rows]
        return {mask_id: crop_url(self.run_view, mask_id) for mask_id in ids if f"t{mask_id}" not in cached}

    def label_of(self, row: int) -> dict[str, str]:
        """The label of a mask, ``sign`` and ``text``. A second opinion sees the first only when it is given."""
        labels, settings = self.labels, self.settings
        own = labels.of_reviewer(settings.reviewer)
        label = int(own.labels[row])
        hidden = label == NO_LABEL and settings.second_opinion
        others = [] if hidden else labels.others_of(row, settings.reviewer)
        texts = [f"{name} {self._verb(other)}" for name, other in others]
        if label != NO_LABEL:
            texts.insert(0, f"you {self._verb(label)}")
        elif own.skipped[row]:
            texts.insert(0, "you skipped it")
        if settings.order is Order.DISAGREEMENTS:
            texts = []  # they stand in the reason
        shown = label if settings.second_opinion else int(labels.everyone.labels[row])
        sign = "skip" if shown == NO_LABEL and own.skipped[row] else _sign(shown)
        return {"sign": sign, "text": "; ".join(texts)}

    def progress(self, in_queue: np.ndarray, done: np.ndarray) -> dict[str, Any]:
        """How much of the queue is done, with which labels, by (N,) bool each; how long the rest will take."""
        labels = self.labels
        own = labels.of_reviewer(self.settings.reviewer)
        counted = (own if self.settings.second_opinion else labels.everyone).labels
        done = done & in_queue
        tally = count_labels(counted * done, own.skipped & in_queue)  # NO_LABEL is 0
        num_done, total = int(np.count_nonzero(done)), int(np.count_nonzero(in_queue))
        pace = measure_pace(np.array(own.times[-_RECENT:]))
        left = total - num_done
        return {
            "done": num_done,
            "total": total,
            "accepted": tally.accepted,
            "rejected": tally.rejected,
            "relabelled": tally.relabelled,
            "skipped": tally.skipped,
            "pace": f"{pace.per_minute:.0f} a minute" if pace else "",
            "left": f"{_roughly(pace.time_left(left))} left" if pace and left else "",
        }

    def examples(self, clusters: Sequence[int]) -> list[str]:
        """A crop of each cluster's mask nearest to its centre; "" for one without a mask."""
        nearest = nearest_to_centres(self.run_view, self.labels)
        return [crop_url(self.run_view, self._id(nearest[id])) if id in nearest else "" for id in clusters]

    def finished(self, total: int) -> dict[str, Any]:
        """What the page shows when the queue is done or empty."""
        if not total:
            title = _EMPTY.get(self.settings.order, "There is no mask in this queue.")
            return {"title": title, "lines": [_OTHER_ORDER], "empty": True}
        all_masks = self.settings.order in _ALL_MASKS and not self.settings.second_opinion
        return {
            "title": f"All masks of this queue are decided: {total:,}.",
            "lines": _NEXT if all_masks else [_OTHER_ORDER],
        }

    @property
    def key(self) -> str:
        """Another one for other settings, or after a stage has made the masks anew."""
        mended = f" {sorted(self._alike)}" if self.settings.order is Order.LIKE_MENDED else ""
        return f"{self.settings} {self.run_view.stamp} {self.labels.cluster_view.seen.numbering}{mended}"

    def cluster_of(self, row: int) -> int:
        """Where a mask is now; where the clustering put it if people rejected it."""
        labels = self.labels
        moved = 0 if self.settings.second_opinion else int(labels.everyone.labels[row])
        return max(moved, 0) or int(labels.cluster_view.cluster[row]) or int(self._columns["cluster"][row])

    def name_of(self, cluster: int) -> str:
        """The name of a cluster."""
        return self.labels.cluster_view.name_of(cluster) if cluster else "no cluster"

    @cached_property
    def _reasons(self) -> Reasons:
        pool = audit_pool(self.run_view)
        return Reasons(pool.frame, pool.doubts, self.name_of)

    @cached_property
    def _alike(self) -> dict[int, tuple[float, int]]:
        """Row -> how much the mask is like one that this person mended, and which."""
        return like_mended(self.run_view, self.settings.reviewer)

    @cached_property
    def _place(self) -> np.ndarray:
        """(N,) place of the table's rows among those that can be audited, -1 for none."""
        rows = audit_pool(self.run_view).rows
        place = np.full(len(self.run_view.frame), -1, np.int32)
        place[rows] = np.arange(len(rows))
        return place

    @cached_property
    def centres(self) -> ClusterCentres:
        """The centres of the clusters."""
        return centres_of(self.run_view, self.labels)

    def _card(self, row: int, zoom: Zoom) -> dict[str, Any]:
        columns, cluster = self._columns, self.cluster_of(row)
        kept, rule = bool(columns["kept"][row]), str(self.run_view.frame["rule"].iat[row])
        verdict = "" if not rule else "kept" if rule == "kept" else f"{'kept' if kept else 'dropped'} ({rule})"
        return {
            "key": f"{zoom[0]}{self._id(row)}",
            "id": self._id(row),
            "photo": str(columns["image_id"][row]),
            "cluster": cluster,
            "name": self.name_of(cluster),
            "color": cluster_color(cluster),
            "reason": self._reason(row),
            "verdict": {"text": verdict, "kept": kept, "help": RULE_HELP.get(rule, "")},
            "facts": list(self._facts(row)),
            "keys": self._keys(row, cluster),
            **picture(self.run_view, row, zoom, drawn=self.drawn, form=self.forms.get(self._id(row))),
        }

    def _reason(self, row: int) -> str:
        if self.settings.order is Order.LIKE_MENDED and row in self._alike:
            likeness, mask_id = self._alike[row]
            return f"Like mask {mask_id}, which you mended ({likeness:.2f})"
        if self.settings.order is not Order.DISAGREEMENTS:
            place = int(self._place[row])
            return self._reasons.why(place, self.settings.order) if place >= 0 else "Not judged by the filter"
        labels, name = self.labels, self.settings.reviewer
        own = int(labels.of_reviewer(name).labels[row])
        people = [("you", own)] if own != NO_LABEL else []
        people += labels.others_of(row, name)
        text = disagreement([who for who, _ in people], [label for _, label in people], self.name_of) if people else ""
        return f"{text[:1].upper()}{text[1:]}"

    def _facts(self, row: int) -> Iterator[dict[str, Any]]:
        for name, (label, text) in _FACTS.items():
            value = float(self._columns[name][row])
            if np.isfinite(value):
                shown = f"{value:.1%}" if name in _PERCENT else f"{value:.2f}"
                yield {"label": label, "value": shown, "share": min(max(value, 0.0), 1.0), "help": text}

    def _keys(self, row: int, cluster: int) -> list[dict[str, Any]]:
        columns, classes = self._columns, self.labels.cluster_view.classes
        vector = int(columns["vector"][row])
        own = None if vector < 0 or self.run_view.vectors is None else np.asarray(self.run_view.vectors[vector])
        excluded = () if classes is None else classes.excluded
        offered = suggest_clusters(cluster, int(columns["label"][row]), self.centres, own, excluded)
        return [{"cluster": id, "name": self.name_of(id), "color": cluster_color(id)} for id in offered]

    def _verb(self, label: int) -> str:
        return {ACCEPTED: "accepted", REJECTED: "rejected"}.get(label) or f"moved it to {self.name_of(label)}"

    def _id(self, row: int) -> int:
        return int(self._columns["mask_id"][row])


def _sign(label: int) -> str:
    return {NO_LABEL: "", ACCEPTED: "accept", REJECTED: "reject"}.get(label, "relabel")


def _roughly(seconds: float) -> str:
    """Minutes are enough for an estimate."""
    if seconds < 60:
        return "less than a minute"
    return f"about {format_duration(60 * round(seconds / 60)).removesuffix(' 00 s')}"
