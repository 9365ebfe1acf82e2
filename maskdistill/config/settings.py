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
    "ncut": "normalised cut",
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
    label: str = ""  # short name for forms, with the unit: "Image side (pixels)"; made from the name if none is given
    within: Interval | None = None  # of a number, or of each number of a list
    usual: Interval | None = None  # values worth trying, where ``within`` allows many more
    unit: str = ""  # pixels, photos, seconds; empty for shares, counts and texts
    zero: str = ""  # what 0 stands for, where it lies outside of ``within`` and is allowed nevertheless
    word: str = ""  # a text that stands for a number to be found, as "auto"; empty if there is none
    step: float = 0  # a difference worth trying; where none is given, 1 for whole numbers and 0.01 for others
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
    def sentence(self) -> str:
        """The help as a sentence."""
        return f"{self.help[0].upper()}{self.help[1:]}."

    @property
    def allowed(self) -> str:
        """What it may be, as text after "must be"; empty if anything of its type."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.within is None:
            return ""
        text = f"{self.within} {self.unit}".rstrip()
        return f"{f'0 ({self.zero})' if self.zero else self.word} or {text}" if self.zero or self.word else text

    def value_in(self, config: Any) -> Any:
        """The setting's value in a ``RunConfig``."""
        return getattr(getattr(config, self.section) if self.section else config, self.name)

    def as_text(self, value: Any) -> str:
        """A value as ``--set`` takes it. ``None``, as of a number that was deleted, is an empty text."""
        if value is None:
            return ""
        if isinstance(value, (tuple, list)):
            return ", ".join(map(str, value))
        if isinstance(value, float):
            return f"{value:.10g}"  # a slider's 0.29000000000000004 is 0.29
        return value.strip() if isinstance(value, str) else str(value).lower()

    def choice_label(self, choice: str) -> str:
        """One of ``choices`` for people: "Largest"."""
        return _in_words(choice)

    def slider_ends(self, value: float, *, usual: bool = False) -> tuple[float, float] | None:
        """Least and largest number of a slider that can show ``value``; None if the setting has no largest one.

        Args:
            value: It moves an end outwards where it lies beyond.
            usual: Whether the slider covers the values worth trying, rather than all that are allowed.
        """
        span = (usual and self.usual) or self.within
        if span is None or math.isinf(span.high):
            return None
        low = 0 if self.zero else span.low + self.step * span.open_low  # an open end is a step away
        high = span.high - self.step * span.open_high
        return self.type(min(low, value)), self.type(max(high, value))

    def numbers(self, value: int | str, *, usual: bool = False) -> list[int | str]:
        """``word`` and the whole numbers of a slider that can show ``value``; ``usual`` as ``slider_ends`` has it."""
        ends = None
        if self.within is not None:
            ends = self.slider_ends(self.within.low if isinstance(value, str) else value, usual=usual)
        if self.word is None or ends is None:
            raise ConfigError(f"{self.name} has no word beside its numbers, or no largest number.")
        return [self.word, *range(int(ends[0]), int(ends[1]) + 1)]

    def check(self, value: Any, name: str) -> None:
        """Raise ``ConfigError``, naming the setting, if a number lies outside of what it may be."""
        if self.within is None:
            return
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, str):
                if number == self.word:
                    continue
                raise ConfigError(f"{name} must be {self.allowed}, got '{number}'.")
            if number not in self.within and not (self.zero and number == 0):
                raise ConfigError(f"{name} must be {self.allowed}, got {number:.10g}.")


def setting(
    default: Any,
    help: str,
    within: str = "",
    *,
    label: str = "",
    usual: str = "",
    unit: str = "",
    zero: str = "",
    word: str = "",
    step: float = 0,
    basic: bool = False,
) -> Any:
    """A field of a settings dataclass. Intervals are written as "(0, 1]"; ``Setting`` explains the rest."""
    allowed, ordinary = (Interval.parse(text) if text else None for text in (within, usual))
    known = Setting(
        help=help,
        label=label,
        within=allowed,
        usual=ordinary,
        unit=unit,
        zero=zero,
        word=word,
        step=step,
        advanced=not basic,
    )
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
        _describe(field, getattr(config, field.name), section, hints[field.name])
        for field in dataclasses.fields(config)
        if _KEY in field.metadata
    ]


def _describe(field: dataclasses.Field[Any], default: Any, section: str, hint: Any) -> Setting:
    known: Setting = field.metadata[_KEY]
    hint = split_word(hint)[0]
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    kind = str if choices else tuple if isinstance(hint, types.GenericAlias) else hint
    label = known.label or _in_words(field.name)
    step = known.step or (1 if kind is int else 0.01)
    return replace(
        known,
        section=section,
        name=field.name,
        label=f"{label} ({known.unit})" if known.unit and known.unit not in label else label,
        step=kind(step) if kind in (int, float) else 0,
        type=kind,
        default=default,
        choices=choices,
    )


def split_word(hint: Any) -> tuple[Any, str]:
    """``int | Literal["auto"]`` as ``int`` and "auto"; any other type as itself and no word."""
    if typing.get_origin(hint) is not typing.Union:
        return hint, ""
    kind, word = typing.get_args(hint)
    return kind, typing.get_args(word)[0]


def _in_words(name: str) -> str:
    """``"num_rounds"`` as "Number of rounds"."""
    words = " ".join(_WORDS.get(word, word) for word in name.split("_"))
    return words[0].upper() + words[1:]
