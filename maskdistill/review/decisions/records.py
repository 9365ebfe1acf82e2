"""What people decide, as records: marks on masks, and the steps they came in."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Action(StrEnum):
    """What a person decides on one mask."""

    ACCEPT = "accept"
    REJECT = "reject"
    RELABEL = "relabel"  # a good mask of another class
    SKIP = "skip"  # decides nothing: an earlier decision stands
    CLEAR = "clear"  # takes back earlier decisions


class Scope(StrEnum):
    """From where on a decision counts."""

    MASKS = "masks"  # from the masks on: their vectors, and all that follows
    CLUSTERS = "clusters"  # from the first model on, which is trained without what was rejected
    LABELS = "labels"  # from the filter on


class Kind(StrEnum):
    """What a step is."""

    MARK = "mark"
    MERGE = "merge"
    SPLIT = "split"
    GATHER = "gather"
    RENAME = "rename"
    EXCLUDE = "exclude"
    ADOPT = "adopt"
    REPAIR = "repair"  # of masks, in ``repairs``
    UNDO = "undo"
    REDO = "redo"


EDITS = (
    Kind.MERGE,
    Kind.SPLIT,
    Kind.GATHER,
    Kind.RENAME,
    Kind.EXCLUDE,
    Kind.ADOPT,
)  # of clusters
_DONE = {
    Action.ACCEPT: "Accepted",
    Action.REJECT: "Rejected",
    Action.RELABEL: "Relabelled",
    Action.SKIP: "Skipped",
    Action.CLEAR: "Took back the decision on",
}


class Tool(StrEnum):
    """What a mask was mended with."""

    CLICK = "click"
    COMPONENT = "component"  # one part kept or erased, holes filled, borders smoothed
    ALTERNATIVE = "alternative"
    SPLIT = "split"
    MERGE = "merge"
    NEW = "new"
    BRUSH = "brush"


@dataclass(frozen=True)
class Mark:
    """One decision on one mask."""

    mask_id: int
    image_id: str
    box: tuple[int, int, int, int]  # x, y, width, height in pixels
    action: Action
    cluster: int | None = None  # of a RELABEL


@dataclass(frozen=True)
class Step:
    """What one person did at once: it is undone as one."""

    id: int  # grows over all steps of the run
    time: float  # seconds since 1970
    reviewer: str
    scope: Scope
    kind: Kind
    text: str  # one sentence
    num_masks: int
    undone: bool
    client: str | None = None  # the browser tab that sent it by number

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Self:
        """A row of the table ``steps`` with a column ``undone``."""
        kind, value = Kind(row["kind"]), json.loads(row["value"])
        return cls(
            id=row["id"],
            time=row["time"],
            reviewer=row["reviewer"],
            scope=Scope(row["scope"]),
            kind=kind,
            text=describe(kind, value),
            num_masks=value.get("num_masks", 0),
            undone=bool(row["undone"]),
            client=row["client"],
        )


@dataclass(frozen=True)
class DecisionEvent:
    """Something in the history of one mask."""

    time: float  # seconds since 1970
    reviewer: str
    text: str
    undone: bool


def describe(kind: Kind, value: dict[str, Any]) -> str:
    """A step as a sentence.

    Args:
        kind: Of the step.
        value: The step's column ``value``.
    """
    note = f" ({value['note']})" if value.get("note") else ""
    return f"{_WORDS[kind](value)}{note}."


def describe_mark(action: Action, cluster: int | None) -> str:
    """A decision on one mask, as a sentence."""
    if action is Action.CLEAR:
        return "Decision taken back."
    return f"{_DONE[action]}{f' as cluster {cluster}' if action is Action.RELABEL else ''}."


def _marked(value: dict[str, Any]) -> str:
    masks = f"mask {value['mask_id']}" if value["num_masks"] == 1 else _count(value["num_masks"])
    if value["action"] is None:
        return f"Decided on {masks}"
    action = Action(value["action"])
    label = f" as cluster {value['cluster']}" if value.get("cluster") else ""
    return f"{_DONE[action]} {masks}{label}"


def _repaired(value: dict[str, Any]) -> str:
    tool, mask = Tool(value["tool"]), f"mask {value['mask_id']}"
    if tool is Tool.SPLIT:
        return f"Split {mask} in two"
    if tool is Tool.MERGE:
        return f"Joined {_listed(value['masks'])} into {mask}"
    if tool is Tool.NEW:
        return f"Drew a new {mask}"
    clicks = len(value["clicks"])
    return f"Mended {mask} with {clicks} click{'' if clicks == 1 else 's'}" if clicks else f"Mended {mask}"


def _gathered(value: dict[str, Any]) -> str:
    name = f" '{value['name']}'" if value["name"] else ""
    return f"Made cluster {value['cluster']}{name} of {_count(value['num_masks'])}"


def _renamed(value: dict[str, Any]) -> str:
    if value["name"]:
        return f"Named cluster {value['cluster']} '{value['name']}'"
    return f"Took the name of cluster {value['cluster']} away"


def _count(number: int) -> str:
    return f"{number:,} mask{'' if number == 1 else 's'}"


def _listed(numbers: Sequence[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last


_WORDS: dict[Kind, Callable[[Any], str]] = {
    Kind.MARK: _marked,
    Kind.MERGE: lambda value: f"Merged clusters {_listed(value['clusters'])} into cluster {value['clusters'][0]}",
    Kind.SPLIT: lambda value: f"Split cluster {value['cluster']} into clusters {_listed(value['numbers'])}",
    Kind.GATHER: _gathered,
    Kind.RENAME: _renamed,
    Kind.EXCLUDE: lambda value: (
        f"Excluded cluster {value['cluster']}" if value["excluded"] else f"Included cluster {value['cluster']} again"
    ),
    Kind.ADOPT: lambda value: f"Took over another clustering into {value['num_classes']} (seed {value['seed']})",
    Kind.REPAIR: _repaired,
    Kind.UNDO: lambda _value: "Undid a step",
    Kind.REDO: lambda _value: "Did a step again",
}
