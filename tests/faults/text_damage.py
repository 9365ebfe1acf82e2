"""What can happen to a file of JSON, or of JSON a line: another value in any place, another version."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from file_damage import LATER, Kinds, seed_of

_MOST_KEYS = 60  # of a JSON file, drawn with the seed


def json_kinds(path: Path, seed: int) -> Kinds:
    value = json.loads(path.read_text(encoding="utf-8"))
    kinds: Kinds = {
        f"holds {text[:12]}": partial(Path.write_text, data=text)
        for text in ("null", "[]", "{}", "3", '"text"', "NaN", "[" * 50_000, '{"a":', "1" * 5000)
    }
    kinds["not in UTF-8"] = partial(Path.write_bytes, data=json.dumps(value).encode("utf-16"))
    kinds["with a mark of the byte order"] = partial(Path.write_bytes, data=b"\xef\xbb\xbf" + path.read_bytes())
    kinds["with a field of a later version"] = partial(_edit, keys=(), change=lambda old: {**old, "later": [1]})
    keys = list(_keys(value))
    drawn = np.random.default_rng(seed_of(path.name, seed)).permutation(len(keys))[:_MOST_KEYS]
    for place in sorted(drawn.tolist()):
        at = keys[place]
        label = ".".join(map(str, at))
        kinds[f"without {label}"] = partial(_edit, keys=at, change=None)
        for wrong in (None, -1, 10**30, 0.5, "text", [], {}, [None], {"a": 1}, float("nan")):
            kinds[f"{label} is {str(wrong)[:12]}"] = partial(_edit, keys=at, change=lambda _old, new=wrong: new)
    if isinstance(value, dict) and "format" in value:
        kinds["of a later version"] = partial(_edit, keys=("format",), change=lambda _old: LATER)
    return kinds


def _keys(value: Any, depth: int = 4) -> Iterator[tuple[str | int, ...]]:
    """Ways to every value inside; of a list the first item alone."""
    inside = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in inside:
        yield (key,)
        if depth > 1:
            yield from ((key, *rest) for rest in _keys(item, depth - 1))


def _edit(path: Path, *, keys: tuple[str | int, ...], change: Callable[[Any], Any] | None) -> None:
    """Change what stands at ``keys``, or take it out."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    if not keys:
        path.write_text(json.dumps(change(whole) if isinstance(whole, dict) else [whole]), encoding="utf-8")
        return
    inside = whole
    for key in keys[:-1]:
        inside = inside[key]
    if change is None:
        del inside[keys[-1]]
    else:
        inside[keys[-1]] = change(inside[keys[-1]])
    path.write_text(json.dumps(whole), encoding="utf-8")


def line_kinds(_path: Path, _seed: int) -> Kinds:
    return {
        "a line that is no JSON": lambda path: path.write_text(f"{{oh\n{path.read_text()}"),
        "a line of another kind": lambda path: path.write_text(f"[1]\n{path.read_text()}"),
        "a line that is null": lambda path: path.write_text(f"null\n{path.read_text()}"),
        "values of other types": lambda path: path.write_text(path.read_text().replace("0.", '"0.')),
        "not in UTF-8": lambda path: path.write_bytes(b"\xff\xfe" + path.read_bytes()),
    }
