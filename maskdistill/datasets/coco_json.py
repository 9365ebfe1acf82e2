"""A COCO file as it is: loaded, its lists, its ids, and what of it is left out, counted by kind."""

import json
from pathlib import Path
from typing import Any, Generic, TypeVar

from maskdistill.datasets.coco_masks import short_text
from maskdistill.datasets.records import LeftOut
from maskdistill.errors import DatasetError
from maskdistill.roots import open_inside

Value = TypeVar("Value")


def load_json(path: Path) -> dict[str, Any]:
    """A COCO file's content; NaN and Infinity come as None.

    Raises:
        DatasetError: If the file cannot be read or is not COCO's.
    """
    content = load_any_json(path, "Give a COCO file.")
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DatasetError(
            f"{path} is not a COCO file: it has no list 'images'. Give a COCO file or a folder of photos."
        )
    return content


def load_any_json(path: Path, remedy: str) -> Any:
    """The content of a json file; NaN and Infinity come as None.

    Raises:
        DatasetError: If the file cannot be read, or is no json; it ends with the remedy.
    """
    try:
        with open_inside(path) as file:
            text = file.read()
        return json.loads(text, parse_constant=lambda _: None)
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}. Check the file and its access rights.") from error
    except (ValueError, RecursionError) as error:
        reason = error if text.strip() else "the file is empty"
        raise DatasetError(f"Cannot read {path} as json: {reason}. {remedy}") from error


class Tally:
    """Problems of a file by kind, with their number and the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, example: str = "") -> None:
        """Count one; ``kind`` is a sentence with ``{n}`` where the number goes, ``example`` empty if it says all."""
        number, first = self._found.get(kind, (0, example))
        self._found[kind] = (number + 1, first)

    def notes(self) -> list[LeftOut]:
        """One for each kind."""
        return [
            LeftOut(self._path, f"{kind.replace('{n}', f'{number:,}')}{first and f' The first: {first}.'}", "label")
            for kind, (number, first) in self._found.items()
        ]


class Ids(Generic[Value]):
    """What the ids of a file stand for; text that spells a number is that number, where no other id is meant."""

    def __init__(self) -> None:
        self._found: dict[int | str, dict[Value, None]] = {}
        self._texts: dict[str, list[int | str]] = {}

    def add(self, key: int | str, value: Value) -> dict[Value, None]:
        """All that the id stands for by now, as keys."""
        if key not in self._found:
            self._found[key] = {}
            self._texts.setdefault(str(key), []).append(key)
        self._found[key][value] = None
        return self._found[key]

    def find(self, id: object) -> tuple[dict[Value, None], bool]:
        """All that the id stands for, as keys, and whether it is written as it was given."""
        key = id if type(id) is int else plain_id(id)
        if key is None:
            return {}, True
        found = self._found.get(key)
        if found is not None:
            return found, True
        same = self._texts.get(str(key), ())
        return (self._found[same[0]], False) if len(same) == 1 else ({}, True)


def plain_id(id: object) -> int | str | None:
    """An id as whole number or text; None if it is neither."""
    if type(id) is int or type(id) is str:
        return id
    return int(id) if type(id) is float and id.is_integer() else None


def objects_of(content: dict[str, Any], name: str, tally: Tally) -> list[dict[str, Any]]:
    """The objects in one of the file's lists; none, with a note, if it has no such list."""
    found = content.get(name)
    if type(found) is not list:
        given = "null or NaN" if found is None else short_text(found)
        tally.add(f"'{name}' is {given}, not a list, and is left out." if name in content else f"No list '{name}'.")
        return []
    objects = [item for item in found if type(item) is dict]
    for item in found if len(objects) < len(found) else ():
        if type(item) is not dict:
            tally.add(f"{{n}} entries of '{name}' are no objects and are left out.", short_text(item))
    return objects
