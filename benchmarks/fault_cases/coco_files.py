"""COCO files of other tools and broken ones, from a sound file of three photos by one change each.

Ground truth must be right, or something must be said. A change that leaves a file sound (``is_sound``: another number
inside of the photo, say) may change it without a word.
"""

import copy
import json
import math
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from benchmarks.fault_cases.attempt import Attempt, Make
from benchmarks.fault_cases.ground_truth import labels_are_right

SIZES = {"a.png": (60, 40), "b.png": (48, 64), "c.png": (50, 50)}  # width, height
MARGIN = 1.5  # how far outside of its photo a coordinate may lie, in shares of the side

Document = dict[str, Any]


def sound_document() -> Document:
    """Three photos; polygon, both kinds of run-length code, and a crowd."""
    images = [
        {"id": number, "file_name": name, "width": size[0], "height": size[1]}
        for number, (name, size) in enumerate(SIZES.items(), 1)
    ]
    annotations = [
        _annotation(1, 1, 1, [[10, 8, 31, 8, 31, 29, 10, 29]]),
        _annotation(2, 1, 2, _counts(SIZES["a.png"], (40, 5, 50, 15))),
        _annotation(3, 2, 2, [[5, 5, 25, 5, 25, 40, 5, 40], [30, 50, 40, 50, 40, 60, 30, 60]]),
        _annotation(4, 3, 1, _compressed(SIZES["c.png"], (20, 20, 40, 30))),
        _annotation(5, 3, 2, _counts(SIZES["c.png"], (2, 2, 10, 12))) | {"iscrowd": 1},
    ]
    categories = [
        {"id": 1, "name": "box", "supercategory": "thing"},
        {"id": 2, "name": "disc", "supercategory": "thing"},
    ]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def expected_labels() -> dict[str, np.ndarray]:
    """(H, W) uint8 labels of the sound file, by file name."""
    found = {name: np.zeros((height, width), np.uint8) for name, (width, height) in SIZES.items()}
    found["a.png"][8:29, 10:31], found["a.png"][5:15, 40:50] = 1, 2
    found["b.png"][5:40, 5:25], found["b.png"][50:60, 30:40] = 2, 2
    found["c.png"][2:12, 2:10], found["c.png"][20:30, 20:40] = 255, 1
    return found


def is_sound(document: Any) -> bool:
    """Whether a reader may take every annotation at its word."""
    try:
        return _check_document(document)
    except (TypeError, KeyError, ValueError, AttributeError, IndexError, OverflowError):
        return False


def _check_document(document: Document) -> bool:
    images, categories = ({item["id"]: item for item in document[name]} for name in ("images", "categories"))
    if any(len(found) != len(document[name]) for found, name in ((images, "images"), (categories, "categories"))):
        return False
    if not all(_is_id(id) for id in (*images, *categories)) or not all(
        isinstance(item["name"], str) for item in categories.values()
    ):
        return False
    return all(
        item["image_id"] in images
        and _is_id(item["image_id"])
        and item["category_id"] in categories
        and _is_id(item["category_id"])
        and item.get("iscrowd", 0) in (0, 1)
        and _segmentation_is_sound(item["segmentation"], images[item["image_id"]])
        for item in document["annotations"]
    )


def _is_id(value: Any) -> bool:
    return type(value) is int


def _segmentation_is_sound(segmentation: Any, image: Document) -> bool:
    width, height = SIZES[image["file_name"]]
    if isinstance(segmentation, dict):
        if segmentation["size"] != [height, width]:
            return False
        counts = segmentation["counts"]
        if isinstance(counts, str):
            return counts == coco_mask.encode(np.asfortranarray(coco_mask.decode(segmentation)))["counts"].decode()
        return all(type(run) is int and run >= 0 for run in counts) and sum(counts) == width * height
    if not isinstance(segmentation, list) or not segmentation:
        return False
    return all(
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(type(value) in (int, float) and math.isfinite(value) for value in polygon)
        and all(-MARGIN * width <= value <= (1 + MARGIN) * width for value in polygon[::2])
        and all(-MARGIN * height <= value <= (1 + MARGIN) * height for value in polygon[1::2])
        for polygon in segmentation
    )


def _annotation(id: int, image: int, category: int, segmentation: Any) -> Document:
    return {
        "id": id,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "area": 100,
        "iscrowd": 0,
    }


def _drawn(size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((size[1], size[0]), np.uint8, order="F")
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return mask


def _compressed(size: tuple[int, int], box: tuple[int, int, int, int]) -> Document:
    code = coco_mask.encode(_drawn(size, box))
    return {"size": list(code["size"]), "counts": code["counts"].decode()}


def _counts(size: tuple[int, int], box: tuple[int, int, int, int]) -> Document:
    flat = _drawn(size, box).ravel(order="F")
    ends = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), len(flat)]
    return {"size": [size[1], size[0]], "counts": np.diff(ends).tolist()}


def save(folder: Path, text: str | bytes, *, layout: str = "coco") -> Path:
    """The photos and a json beside them; returns what a user gives as the data."""
    data = folder / "data"
    (data / "images").mkdir(parents=True)
    for name, size in SIZES.items():
        Image.new("RGB", size, (90, 140, 90)).save(data / "images" / name)
    path = data / "annotations" / "instances.json" if layout == "coco" else data / "result.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return data if layout == "coco" else path


def _attempt(folder: Path, document: Any, what: str, text: str | bytes | None = None) -> Attempt:
    data = save(
        folder, json.dumps(document) if text is None else text, layout=random.Random(what).choice(("coco", "json"))
    )
    sound = text is None and is_sound(document)
    names = ("instances.json", "result.json", *SIZES)
    return Attempt(lambda: labels_are_right(data, expected_labels(), may_differ=sound), names, what)


def other_value(rng: random.Random) -> Any:
    """Any JSON value, those that readers stumble over more often than others."""
    odd = (
        None, True, False, 0, -1, 1, 2, 3, 1e9, -1e9, 1e300, -1e300, 2**31, 2**63, 2**70, -(2**31), 0.5, float("nan"),
        float("inf"), -float("inf"), "", "1", "a.png", "x" * 1000, "\ud800", "\0", "../../etc/passwd", [], {}, [[]],
        [None],
        {"a": 1}, [1, 2, 3], [[1, 2], [3, 4]], ["a"], [float("nan")] * 6, [1e9] * 8, {"size": [40, 60], "counts": []},
        {"size": [40, 60], "counts": "zz"}, {"size": None, "counts": None}, [[[[[]]]]],
        [10, 8, 31, 8, 31, 29, 10, 29], {"id": 1},
    )  # fmt: skip
    return (
        copy.deepcopy(rng.choice(odd))
        if rng.random() < 0.8
        else rng.choice((rng.randrange(-99, 99), rng.random() * 100))
    )


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """Paths to every value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in inner for place in places(item, (*at, key)))]


def _parent(document: Any, place: tuple) -> Any:
    for key in place[:-1]:
        document = document[key]
    return document


def value_replaced(rng: random.Random, folder: Path) -> Attempt:
    """Any value of the file replaced by any other."""
    document, value = sound_document(), other_value(rng)
    place = rng.choice(places(document))
    if not place:
        document = value
    else:
        _parent(document, place)[place[-1]] = value
    return _attempt(folder, document, f"{'.'.join(map(str, place))} = {json.dumps(value)[:40]}")


def value_gone(rng: random.Random, folder: Path) -> Attempt:
    """Any value of the file taken out."""
    document = sound_document()
    place = rng.choice([place for place in places(document) if place])
    del _parent(document, place)[place[-1]]
    return _attempt(folder, document, f"no {'.'.join(map(str, place))}")


def value_doubled(rng: random.Random, folder: Path) -> Attempt:
    """An image, annotation or category that stands twice, perhaps with another id."""
    document = sound_document()
    name = rng.choice(("images", "annotations", "categories"))
    item = copy.deepcopy(rng.choice(document[name]))
    if rng.random() < 0.5:
        item["id"] = rng.choice((99, "1", 1.0, item["id"], None))
    document[name].insert(rng.randrange(len(document[name]) + 1), item)
    return _attempt(folder, document, f"{name} twice, id {item['id']!r}")


def ids_do_not_meet(rng: random.Random, folder: Path) -> Attempt:
    """Ids of another type, of nobody, or one for all."""
    document = sound_document()
    name, key = rng.choice(
        (("annotations", "image_id"), ("annotations", "category_id"), ("images", "id"), ("categories", "id"))
    )
    change: Callable[[Any], Any] = rng.choice(
        (str, float, lambda id: id + 100, lambda _: 1, lambda _: None, lambda id: [id], bool, lambda id: f"{id:04d}")
    )
    items = document[name] if rng.random() < 0.5 else document[name][:1]
    for item in items:
        item[key] = change(item[key])
    return _attempt(folder, document, f"{name} {key} {[item[key] for item in items]}")


def run_lengths(rng: random.Random, folder: Path) -> Attempt:
    """Run-length codes that do not add up, of another size, or damaged."""
    document = sound_document()
    annotation = document["annotations"][rng.choice((1, 3, 4))]
    code, counts = annotation["segmentation"], annotation["segmentation"]["counts"]
    kind = rng.choice(
        (
            "more",
            "less",
            "negative",
            "turned",
            "text",
            "cut",
            "empty",
            "floats",
            "bytes",
            "swapped size",
            "no size",
            "huge",
        )
    )
    if kind in ("turned", "swapped size"):
        code["size"] = code["size"][::-1] if code["size"][0] != code["size"][1] else [25, 100]
    elif kind == "no size":
        code["size"] = rng.choice((None, [], [40], [0, 0], [40, 60, 3], "40x60", [-40, -60], [40.0, 60.0]))
    elif kind == "text":
        code["counts"] = rng.choice(("ZZZZ~~~zz0", "", " ", "é", "0" * 10_000, "\0", str(counts), "P" * 100))
    elif kind == "cut":
        code["counts"] = counts[: rng.randrange(len(counts))]
    elif kind == "empty":
        code["counts"] = rng.choice(([], "", [0], [[]], None, {}))
    else:
        counts = list(counts) if isinstance(counts, list) else [100, 200, 300]
        place = rng.randrange(len(counts))
        counts[place] = {
            "more": counts[place] + rng.randrange(1, 10**6), "less": max(0, counts[place] - rng.randrange(1, 500)),
            "negative": -rng.randrange(1, 500), "floats": float(counts[place]), "bytes": str(counts[place]),
            "huge": 2 ** rng.choice((31, 32, 63, 64)) + counts[place],
        }[kind]  # fmt: skip
        code["counts"] = counts
    return _attempt(folder, document, f"RLE {kind}: {json.dumps(code)[:50]}")


def polygons(rng: random.Random, folder: Path) -> Attempt:
    """Points in another form, far away, too few, or no numbers."""
    document = sound_document()
    annotation = document["annotations"][0]
    flat = annotation["segmentation"][0]
    pairs = [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
    far = rng.choice((1e9, -1e9, 1e300, 1e5, -3000, float("nan"), float("inf"), 2**40))
    place = rng.randrange(len(flat))
    forms = {
        "pairs": pairs, "pairs in a list": [pairs], "flat": flat, "deeper": [[flat]],
        "dicts": [{"x": x, "y": y} for x, y in pairs],
        "far": [[*flat[:place], far, *flat[place + 1 :]]], "all far": [[value + far for value in flat]],
        "texts": [list(map(str, flat))],
        "odd count": [flat[:-1]], "too few": [flat[:4]], "one too few": [flat, flat[:4]], "empty inner": [flat, []],
        "one point": [flat[:2] * 4],
        "of shares": [[value / 60 for value in flat]], "closed": [flat + flat[:2]], "many": [flat * 3000],
        "with none": [[None, *flat[1:]]],
        "text": "POLYGON((10 8, 31 8, 31 29))", "mixed": [flat, {"size": [40, 60], "counts": [2400]}],
        "bool": [[True, *flat[1:]]],
        "huge integer": [[10**400, *flat[1:]]],
    }  # fmt: skip
    kind = rng.choice(list(forms))
    annotation["segmentation"] = forms[kind]
    return _attempt(folder, document, f"polygon {kind} {far if 'far' in kind else ''}")


def names(rng: random.Random, folder: Path) -> Attempt:
    """File names as other systems write them, and such as lead elsewhere."""
    document = sound_document()
    item = rng.choice(document["images"])
    name = item["file_name"]
    item["file_name"] = rng.choice(
        (
            f"images\\{name}", f"images/{name}", f"./images/{name}", f"C:\\photos\\{name}", f"/data/photos/{name}",
            name.upper(),
            name.replace(".png", ".PNG"), f"../{name}", f"../../{name}", f"a b {name}", f"file:///x/{name}",
            f"http://host/{name}",
            f"{name}?raw=1", name.removesuffix(".png"), "", None, 5, [name], {"name": name}, "\0.png", "x" * 300,
            "/etc/passwd",
            f"upload/1/1a2b-{name}", unicodedata.normalize("NFD", f"é{name}"), "\ud800.png", ".", "..", "/",
            f"{name}\n", f" {name}",
        )
    )  # fmt: skip
    return _attempt(folder, document, f"file_name {item['file_name']!r}")


def sizes(rng: random.Random, folder: Path) -> Attempt:
    """Width and height that are not the file's."""
    document = sound_document()
    item = rng.choice(document["images"])
    width, height = item["width"], item["height"]
    change = rng.choice(({"width": height, "height": width}, {"width": 2 * width, "height": 2 * height}, {"width": 0},
    {"width": None},
                         {"height": -5}, {"width": "60"}, {"width": 1e9}, {"height": [40]},
                         {"width": float(width)}))  # fmt: skip
    item.update(change)
    return _attempt(folder, document, f"{item['file_name']} {change}")


def texts(rng: random.Random, folder: Path) -> Attempt:
    """Text that is no JSON, or JSON of another encoding."""
    text = json.dumps(sound_document())
    kinds: dict[str, Callable[[], bytes]] = {
        "cut": lambda: text[: rng.randrange(len(text))].encode(),
        "mark": lambda: b"\xef\xbb\xbf" + text.encode(),
        "utf-16": lambda: text.encode("utf-16"),
        "latin-1": lambda: text.replace("box", "bêche").encode("latin-1"),
        "deep": lambda: b"[" * 100_000,
        "deep images": lambda: b'{"images": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        "list": lambda: b"[" + text.encode() + b"]",
        "lines": lambda: b"\n".join(json.dumps(item).encode() for item in sound_document()["images"]),
        "digits": lambda: text.replace('"id": 1,', f'"id": {"9" * 5000},', 1).encode(),
        "byte": lambda: bytes(value if rng.random() > 0.002 else rng.randrange(256) for value in text.encode()),
        "empty": lambda: b"",
        "zeros": lambda: bytes(1000),
        "comma": lambda: text.replace("]", ",]").encode(),
        "quotes": lambda: text.replace('"', "'").encode(),
        "keys twice": lambda: text.replace('"images"', '"images": [], "images"', 1).encode(),
        "html": lambda: b"<!DOCTYPE html><html><body>404</body></html>",
        "pointer": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    }
    kind = rng.choice(list(kinds))
    return _attempt(folder, None, f"text: {kind}", kinds[kind]())


def categories(rng: random.Random, folder: Path) -> Attempt:
    """More classes than a label map holds, names twice, no names, or the background's."""
    document = sound_document()
    kind = rng.choice(("many", "twice", "no name", "background", "long", "empty", "zero", "none"))
    more = [{"id": number, "name": f"class {number}"} for number in range(3, 400)]
    if kind == "many":
        document["categories"] = rng.sample(document["categories"] + more, len(more) + 2)
    elif kind == "none":
        document["categories"] = rng.choice(([], None, {}, "box"))
    else:
        first = document["categories"][0]
        first["name"] = {
            "twice": "disc",
            "no name": None,
            "background": "Background",
            "long": "x" * 10_000,
            "empty": "",
            "zero": "box",
        }[kind]
        if kind == "zero":
            for item in [first, *document["annotations"]]:
                key = "id" if item is first else "category_id"
                item[key] = 0 if item[key] == 1 else item[key]
    return _attempt(folder, document, f"categories: {kind}")


VARIETIES: dict[str, Make] = {
    "a value replaced by any other": value_replaced,
    "a value taken out": value_gone,
    "an entry twice": value_doubled,
    "ids that do not meet": ids_do_not_meet,
    "run-length codes": run_lengths,
    "polygons": polygons,
    "file names": names,
    "sizes": sizes,
    "text that is no json": texts,
    "categories": categories,
}
