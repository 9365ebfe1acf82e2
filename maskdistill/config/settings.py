"""One setting: its value, what it means and what it may be. Checks, forms and help texts are all read off that."""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from maskdistill.errors import ConfigError

_KEY = "setting"  # of a dataclass field's metadata
_WORDS = {
    "num": "number of",
    "min": "minimum",
    "max": "maximum",
    "dist": "distance",
    "topk": "top k",
    "iou": "IoU",
    "crf": "CRF",
    "ema": "EMA",
    "rgb": "RGB",
}


@dataclass(frozen=True)
class Interval:
    """Numbers from ``low`` to ``high``; an open end is not part of it."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """``"[0, 1]"``, ``"(0, 1]"``, ``"[1, inf)"``: a round bracket is an open end."""
        match = re.fullmatch(r"([\[(])(\S+), (\S+)([\])])", text)
        if match is None:
            raise ValueError(f"An interval is written as [0, 1] or (0, 1], got '{text}'.")
        return cls(float(match[2]), float(match[3]), match[1] == "(", match[4] == ")")

    def __contains__(self, value: float) -> bool:
        above = self.low < value if self.open_low else self.low <= value
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"{'above' if self.open_low else 'at least'} {self.low:.10g}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"in {left}{self.low:.10g}, {self.high:.10g}{right}"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known of one setting. ``describe`` fills in what stands in the dataclass rather than in its metadata."""

    help: str  # one line
    within: Interval | None = None  # of a number, or of each number of a list
    unit: str = ""  # pixels, photos, seconds; empty for shares, counts and texts
    zero: str = ""  # what 0 stands for, where it lies outside of ``within`` and is allowed nevertheless
    step: float = 0.01  # a difference worth trying, of a fraction; 1 for whole numbers
    advanced: bool = True  # False for the few that people change
    section: str = ""  # of RunConfig; empty for a setting that is in none
    name: str = ""
    type: type = str  # int, float, bool, str, or tuple for a list of whole numbers
    default: Any = None
    choices: tuple[str, ...] = ()  # all texts that it may be; empty if any text, or if it is none

    @property
    def full_name(self) -> str:
        """As ``--set`` takes it."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def words(self) -> str:
        """The name in words, with the unit: "Image side (pixels)"."""
        words = " ".join(_WORDS.get(word, word) for word in self.name.split("_"))
        words = words[0].upper() + words[1:]
        return f"{words} ({self.unit})" if self.unit and self.unit not in words else words

    @property
    def low(self) -> float | None:
        """Least value, itself allowed unless ``within.open_low``; 0 where that is allowed too; None without one."""
        if self.within is None:
            return None
        return 0 if self.zero else self.within.low

    @property
    def high(self) -> float | None:
        """Largest value, itself allowed unless ``within.open_high``; None without one."""
        return None if self.within is None or math.isinf(self.within.high) else self.within.high

    @property
    def allowed(self) -> str:
        """What it may be, in words that follow "must be"; empty if anything of its type."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.within is None:
            return ""
        words = f"{self.within} {self.unit}".rstrip()
        return f"0 ({self.zero}) or {words}" if self.zero else words

    def check(self, value: Any, name: str) -> None:
        """Raise ``ConfigError``, naming the setting, if a number lies outside of what it may be."""
        if self.within is None:
            return
        for number in value if isinstance(value, tuple) else (value,):
            if number not in self.within and not (self.zero and number == 0):
                raise ConfigError(f"{name} must be {self.allowed}, got {number:.10g}.")


def setting(
    default: Any,
    help: str,
    within: str = "",
    *,
    unit: str = "",
    zero: str = "",
    step: float = 0.01,
    basic: bool = False,
) -> Any:
    """A field of a settings dataclass. ``within`` is an interval such as "(0, 1]"; ``Setting`` explains the rest."""
    interval = Interval.parse(within) if within else None
    known = Setting(help=help, within=interval, unit=unit, zero=zero, step=step, advanced=not basic)
    return dataclasses.field(default=default, metadata={_KEY: known})


def check_values(cls: type, values: Mapping[str, Any], prefix: str = "") -> None:
    """Check values of a settings dataclass against what its fields allow.

    Args:
        cls: The dataclass.
        values: By name; all or some.
        prefix: Section with its dot, for the message.

    Raises:
        ConfigError: If a number lies outside of its range, naming the setting, the range and the number.
    """
    for field in dataclasses.fields(cls):
        if _KEY in field.metadata and field.name in values:
            field.metadata[_KEY].check(values[field.name], f"{prefix}{field.name}")


def describe(config: Any, section: str) -> list[Setting]:
    """The settings of one dataclass, its values as defaults, in their order; dataclasses inside it are left out."""
    hints = typing.get_type_hints(type(config))
    return [
        replace(
            field.metadata[_KEY],
            section=section,
            name=field.name,
            default=getattr(config, field.name),
            **_kind(hints[field.name]),
        )
        for field in dataclasses.fields(config)
        if _KEY in field.metadata
    ]


def _kind(hint: Any) -> dict[str, Any]:
    if typing.get_origin(hint) is Literal:
        return {"type": str, "choices": typing.get_args(hint)}
    return {"type": tuple if isinstance(hint, types.GenericAlias) else hint}
