"""Sets of masks as short text, for a link and the way back: ``cluster:3``, ``ids:12,30``, a lasso on a map.

A text is one or more terms joined by ``~``, and stands for all masks of any of them:

    cluster:3,5          masks whose field "cluster" is 3 or 5; the same for every field of ``SelectionData``
    ids:12,30            these masks; of many the ids are packed: ids:*...
    lasso:umap.1f3a:...  masks inside a polygon on the map "umap", which must be the one it was drawn on
    box:umap.1f3a:10,20,300,400
    view:8c1d...         what is saved in the run under that name, since it is too long for a link
"""

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from maskdistill.errors import ConfigError
from maskdistill.review.point_map import SIDE, PointMap, inside, simplify

LONGEST = 6000  # characters that a link may spend on a selection; browsers and proxies take 8000 in all
MOST_CORNERS = 80  # of a lasso
_CLOSE = SIDE / 1000  # accuracy to which a lasso is stored
_PLAIN = 12  # this many ids are written as numbers, more are packed
_MOST_IDS = 1_000_000  # a longer packed list counts as damaged
_JOIN, _PACKED = "~", "*"


@dataclass(frozen=True, eq=False)
class SelectionData:
    """The data that texts refer to; arrays have one entry a row of the table."""

    ids: np.ndarray  # (N,) int64, rising
    fields: Mapping[str, np.ndarray] = field(default_factory=dict)  # (N,) whole numbers, by the field's name
    maps: Mapping[str, PointMap] = field(default_factory=dict)
    view: Callable[[str], str] | None = None  # text of a saved view by its name


@dataclass(frozen=True, eq=False)
class Resolved:
    """The masks that a text stands for."""

    rows: np.ndarray  # (n,) int64, rising, each once
    missing: int = 0  # ids that no mask has any more


def field_text(name: str, values: Sequence[int]) -> str:
    """Masks by a field's values, as ``cluster:3,5``; empty without a value."""
    return f"{name}:{','.join(map(str, sorted(set(values))))}" if len(values) else ""


def ids_text(mask_ids: np.ndarray | Sequence[int]) -> str:
    """Masks by their ids, some 1.6 characters each if they are many; empty for none."""
    ids = np.unique(np.asarray(mask_ids, np.int64))
    if len(ids) <= _PLAIN:
        return field_text("ids", ids.tolist())
    steps = np.diff(ids, prepend=0).astype("<u4")
    planes = steps.view(np.uint8).reshape(-1, 4).T  # low bytes together, then the others, which are nearly all 0
    return f"ids:{_PACKED}{_to_text(zlib.compress(planes.tobytes(), 9))}"


def lasso_text(found: PointMap, corners: np.ndarray | Sequence[Sequence[float]]) -> str:
    """Masks inside a polygon on a map, drawn by hand; long ones are simplified.

    Args:
        found: The map.
        corners: (C, 2) on the map's grid; what lies outside is moved to its border.

    Returns:
        The text; empty for less than a triangle.
    """
    polygon = _on_grid(corners)
    if len(polygon) < 3:
        return ""
    polygon = simplify(polygon, MOST_CORNERS, _CLOSE)
    return f"lasso:{found.title}:{_to_text(polygon.astype('<u2').tobytes())}"


def box_text(found: PointMap, corners: np.ndarray | Sequence[Sequence[float]]) -> str:
    """Masks inside a rectangle on a map, by two opposite corners on its grid."""
    (x0, y0), (x1, y1) = np.sort(_on_grid(corners), axis=0).tolist()
    return f"box:{found.title}:{x0},{y0},{x1},{y1}"


def view_text(name: str) -> str:
    """What is saved in the run under a name."""
    return f"view:{name}"


def join(*texts: str) -> str:
    """All masks of any of these texts."""
    return _JOIN.join(dict.fromkeys(term for text in texts for term in text.split(_JOIN) if term))


def terms(text: str) -> list[tuple[str, str]]:
    """Kind and rest of each term.

    Raises:
        ConfigError: If one has no kind.
    """
    found = []
    for term in filter(None, text.split(_JOIN)):
        kind, colon, rest = term.partition(":")
        if not (colon and kind and rest):
            raise _damaged(term, "it should look like cluster:3 or ids:12,30")
        found.append((kind, rest))
    return found


def resolve(text: str, data: SelectionData) -> Resolved:
    """The masks that a text stands for.

    Raises:
        ConfigError: If it cannot be read, names a map or field that there is not, or one that was made anew since.
        Whatever ``data.view`` raises.
    """
    chosen, missing = np.zeros(len(data.ids), bool), 0
    for kind, rest in terms(text):
        if kind == "view":
            saved = _saved(rest, data)
            chosen[saved.rows] = True
            missing += saved.missing
        elif kind == "ids":
            ids = _read_ids(rest)
            rows = np.searchsorted(data.ids, ids)
            there = rows < len(data.ids)
            there[there] = data.ids[rows[there]] == ids[there]
            chosen[rows[there]] = True
            missing += int((~there).sum())
        elif kind in ("lasso", "box"):
            found, corners = _read_shape(kind, rest, data.maps)
            chosen[found.rows[inside(found.places, corners)]] = True
        elif kind in data.fields:
            chosen |= np.isin(data.fields[kind], _numbers(rest, f"{kind}:{rest}"))
        else:
            raise _damaged(f"{kind}:{rest}", f"there is {', '.join((*data.fields, 'ids', 'lasso', 'box', 'view'))}")
    return Resolved(np.flatnonzero(chosen), missing)


def outlines(text: str, found: PointMap) -> list[np.ndarray]:
    """(C, 2) corners of the lassos and boxes of a text that were drawn on this map; what cannot be read has none."""
    shapes = []
    for term in text.split(_JOIN):
        kind, _, rest = term.partition(":")
        if kind in ("lasso", "box") and rest.startswith(f"{found.title}:"):
            shapes.append(_read_shape(kind, rest, {found.name: found})[1])
    return shapes


def _saved(name: str, data: SelectionData) -> Resolved:
    if data.view is None:
        raise _damaged(view_text(name), "nothing is saved here")
    text = data.view(name)
    if any(kind == "view" for kind, _ in terms(text)):
        raise _damaged(view_text(name), "what is saved names another saved one")
    return resolve(text, data)


def _read_ids(rest: str) -> np.ndarray:
    if not rest.startswith(_PACKED):
        return np.array(_numbers(rest, f"ids:{rest}"), np.int64)
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(_to_bytes(rest[1:]), 4 * _MOST_IDS)
    except (zlib.error, binascii.Error, ValueError) as error:
        raise _damaged(f"ids:{rest}", str(error)) from error
    if len(raw) % 4 or not unpacker.eof:
        raise _damaged(f"ids:{rest}", "it is cut off")
    steps = np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(4, -1).T).view("<u4")[:, 0]
    return np.cumsum(steps, dtype=np.int64)


def _read_shape(kind: str, rest: str, maps: Mapping[str, PointMap]) -> tuple[PointMap, np.ndarray]:
    title, _, body = rest.partition(":")
    name, _, stamp = title.partition(".")
    if name not in maps:
        raise ConfigError(f"This run has no map '{name[:40]}', on which the selection was drawn. Select again.")
    if stamp != maps[name].stamp:
        raise ConfigError(f"The map '{name}' has changed since the selection was drawn on it. Select again.")
    if kind == "box":
        values = _numbers(body, f"box:{rest}")
        if len(values) != 4 or max(values) > SIDE:
            raise _damaged(f"box:{rest}", f"a box has four numbers up to {SIDE}")
        x0, y0, x1, y1 = values
        # Half a step beyond the corners, so that points on the border are inside, as drawn.
        return maps[name], np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float) + 0.5 * np.array(
            [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        )
    try:
        raw = _to_bytes(body)
    except (binascii.Error, ValueError) as error:
        raise _damaged(f"lasso:{rest}", str(error)) from error
    if len(raw) % 4 or len(raw) < 12:
        raise _damaged(f"lasso:{rest}", "it is cut off")
    return maps[name], np.frombuffer(raw, "<u2").reshape(-1, 2).astype(float)


def _on_grid(corners: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
    values = np.asarray(corners, float).reshape(-1, 2)
    return np.rint(np.clip(np.nan_to_num(values), 0, SIDE)).astype(np.int64)


def _numbers(text: str, whole: str) -> list[int]:
    if not re.fullmatch(r"\d{1,15}(,\d{1,15})*", text):
        raise _damaged(whole, "it should be whole numbers with commas between them")
    return [int(part) for part in text.split(",")]


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _to_bytes(text: str) -> bytes:
    if not re.fullmatch(r"[\w-]+", text, re.ASCII):
        raise ValueError("a character does not belong there")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _damaged(term: str, why: str) -> ConfigError:
    short = term if len(term) <= 40 else f"{term[:37]}..."
    return ConfigError(f"The selection '{short}' cannot be read: {why}. Select the masks again.")
