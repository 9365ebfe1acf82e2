"""Plain values and texts of the command line, checked and turned into settings."""

import dataclasses
import difflib
import functools
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from maskdistill.config.settings import check_values, split_word
from maskdistill.errors import ConfigError

_LARGEST = 10**300  # of whole numbers: beyond it they are no floats
_SHOWN = 80  # letters of a value that an error repeats


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """``section.name`` -> value, as ``--set`` names them, of ``RunConfig`` as plain values."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= {f"{name}.{leaf}": item for leaf, item in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def assign(values: dict[str, Any], assignment: str, words: Mapping[str, str]) -> None:
    """Carry out one ``section.name=value`` in a table of settings.

    Args:
        values: The table, by section.
        assignment: The change.
        words: Of the whole numbers that a word may stand for, by the setting's full name.

    Raises:
        ConfigError: If there is no ``=``, the name is unknown (the nearest is suggested) or the value does not parse.
    """
    name, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigError(f"--set wants section.name=value, got '{_short(assignment)}'.")
    names = list(flatten(values))
    if name.strip() not in names:
        raise ConfigError(unknown_name(name.strip(), names))
    *sections, leaf = name.strip().split(".")
    target = values[sections[0]] if sections else values
    target[leaf] = _parse(text.strip(), target[leaf], name, words.get(name.strip(), ""))


def build(cls: type, values: Mapping[str, Any], names: Sequence[str], prefix: str = "") -> Any:
    """A dataclass, nested ones too, from plain values; names that are missing keep their default.

    Args:
        cls: The dataclass.
        values: From JSON or TOML.
        names: All names there are, for the suggestion in the error.
        prefix: Section, with its dot.

    Raises:
        ConfigError: If a name is unknown, or a value has another type or lies outside of its range, naming it.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{prefix.removesuffix('.') or 'The configuration'} must be a table of settings, "
            f"got {_short(repr(values))}."
        )
    hints = _hints(cls)
    for name in values:
        if name not in hints:
            raise ConfigError(unknown_name(f"{prefix}{name}", names))
    known = {name: _coerce(hints[name], value, names, f"{prefix}{name}") for name, value in values.items()}
    check_values(cls, known, prefix)  # here with the section's name: two sections may share a dataclass
    return cls(**known)


def unknown_name(name: str, names: Sequence[str], what: str = "setting") -> str:
    """A sentence that names the nearest of the names there are, or all of them."""
    near = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else f" There are: {', '.join(names)}."
    return f"No {what} '{_short(name)}'.{hint}"


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _parse(text: str, current: Any, name: str, word: str) -> Any:
    """Text of the command line as a value of the current one's type; with a ``word``, that or a whole number."""
    if (text == word) if word else isinstance(current, str):
        return text
    is_list = isinstance(current, list)
    value = f"[{text}]" if is_list and not text.startswith("[") else text
    try:
        return json.loads(value.lower() if isinstance(current, bool) else value)
    except (ValueError, RecursionError) as error:  # no JSON, or more digits or brackets than Python reads
        wanted = "a list of whole numbers" if is_list else f"int or {word}" if word else type(current).__name__
        raise ConfigError(f"{name} wants {wanted}, got '{_short(text)}'.") from error


def _coerce(hint: Any, value: Any, names: Sequence[str], name: str) -> Any:
    """Check one value against its field's type; JSON's lists become tuples."""
    hint, word = split_word(hint)
    if word and value == word:
        return value
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return build(hint, value, names, prefix=f"{name}.")
    if any(type(item) is int and abs(item) > _LARGEST for item in (value if isinstance(value, list) else [value])):
        raise ConfigError(f"{name} must be at most {_LARGEST:.0e}, got a number of more than 300 digits.")
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ConfigError(f"{name} must be one of {', '.join(typing.get_args(hint))}, got '{_short(value)}'.")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or not all(type(item) is int for item in value):
            raise ConfigError(f"{name} must be a list of whole numbers, got {_short(repr(value))}.")
        return tuple(value)
    wanted = (int, float) if hint is float else hint
    if isinstance(wanted, types.UnionType) or (
        isinstance(value, wanted) and not (isinstance(value, bool) and hint is not bool)
    ):
        return float(value) if hint is float else value
    raise ConfigError(f"{name} must be {hint.__name__}{f' or {word}' if word else ''}, got {_short(repr(value))}.")


def _short(value: object) -> str:
    """The beginning of a value, for a sentence."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
