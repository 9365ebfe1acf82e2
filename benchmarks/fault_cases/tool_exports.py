"""Folders as annotation tools export them, given as they are: read with their splits, or a word about the json."""

import json
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.fault_cases.attempt import Attempt, Make
from benchmarks.fault_cases.ground_truth import labels_are_right

SIZE = (60, 40)  # width, height
SQUARE = [10, 8, 31, 8, 31, 29, 10, 29]
STEMS = ("a", "IMG 12 (1)", "Kühe", "über-1_jpg.rf.0a1b", "DSC_1", "b.c", "日本", "x" * 100)


def label() -> np.ndarray:
    """(H, W) the square's label."""
    found = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    found[8:29, 10:31] = 1
    return found


def coco(names: list[str], *, first: int = 0, supercategory: bool = False) -> str:
    """One square of the class "box" in each photo; ids from ``first``."""
    images = [
        {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
        for number, name in enumerate(names, first)
    ]
    annotations = [
        {
            "id": item["id"],
            "image_id": item["id"],
            "category_id": 1,
            "segmentation": [SQUARE],
            "area": 441,
            "iscrowd": 0,
            "bbox": [10, 8, 21, 21],
        }
        for item in images
    ]
    above = [{"id": 0, "name": "things", "supercategory": "none"}] if supercategory else []
    return json.dumps({"images": images, "annotations": annotations, "categories": [*above, {"id": 1, "name": "box"}]})


def put(path: Path) -> str:
    """A photo; returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (90, 140, 90)).save(path, format="PNG" if path.suffix.lower() == ".png" else "JPEG")
    return path.name


def _photos(rng: random.Random) -> list[str]:
    stems = rng.sample(STEMS, rng.randrange(1, 4))
    return [f"{stem}{rng.choice(('.jpg', '.png', '.JPG'))}" for stem in stems]


def _attempt(root: Path, names: list[str], what: str, splits: dict[str, str] | None = None) -> Attempt:
    # the classes that a tool puts above the others come before "box"
    expected = {name: label() for name in names}
    return Attempt(
        lambda: labels_are_right(root, expected, may_differ=True, splits=splits), (root.name, "json", *names), what
    )


def roboflow(rng: random.Random, folder: Path) -> Attempt:
    """A folder a split, the json beside the photos."""
    root, splits = folder / "export", {}
    for split in rng.sample(("train", "valid", "test"), rng.randrange(1, 4)):
        names = [put(root / split / f"{split}-{name}") for name in _photos(rng)]
        splits |= dict.fromkeys(names, "val" if split == "valid" else split)
        (root / split / "_annotations.coco.json").write_text(coco(names, supercategory=rng.random() < 0.7))
    for extra in ("README.dataset.txt", "README.roboflow.txt"):
        (root / extra).write_text("https://universe.roboflow.com")
    return _attempt(root, list(splits), f"{len(splits)} photos in {sorted(set(splits.values()))}", splits)


def fiftyone(rng: random.Random, folder: Path) -> Attempt:
    """data/ and labels.json; with splits a folder of both for each."""
    root = folder / "export"
    if rng.random() < 0.5:
        names = [put(root / "data" / name) for name in _photos(rng)]
        (root / "labels.json").write_text(coco(names, first=1))
        return _attempt(root, names, "no splits")
    splits = {}
    for split in rng.sample(("train", "val", "validation", "test"), 2):
        names = [put(root / split / "data" / f"{split}-{name}") for name in _photos(rng)]
        (root / split / "labels.json").write_text(coco(names, first=1))
        splits |= dict.fromkeys(names, split.removesuffix("idation"))
    return _attempt(root, list(splits), f"splits {sorted(set(splits.values()))}", splits)


def label_studio(rng: random.Random, folder: Path) -> Attempt:
    """result.json and images/, with the names that it writes."""
    root = folder / "export"
    names = [put(root / "images" / f"{rng.randrange(16**8):08x}-{name}") for name in _photos(rng)]
    prefix = rng.choice(
        (
            "images/",
            "images\\",
            "",
            "../images/",
            "/label-studio/data/media/upload/1/",
            "http://localhost:8080/data/upload/1/",
        )
    )
    (root / "result.json").write_text(coco([prefix + name for name in names]))
    return _attempt(root, names, f"names with {prefix!r}")


def cvat(rng: random.Random, folder: Path) -> Attempt:
    """annotations/instances_default.json and images/, perhaps in subfolders."""
    root, sub = folder / "export", rng.choice(("", "default/", "lot 1/", "Straße/"))
    names = [f"{sub}{put(root / 'images' / sub / name)}" for name in _photos(rng)]
    (root / "annotations").mkdir()
    (root / "annotations" / rng.choice(("instances_default.json", "instances_Train.json"))).write_text(
        coco(names, first=1)
    )
    return _attempt(root, [Path(name).name for name in names], f"subfolder {sub!r}")


def cvat_masks(rng: random.Random, folder: Path) -> Attempt:
    """CVAT's segmentation masks: VOC's folders, colours, and a label map file."""
    root = folder / "export"
    names = [put(root / "JPEGImages" / name) for name in _photos(rng)]
    colour = rng.choice(((250, 50, 83), (128, 0, 0), (51, 221, 255)))
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", f"box:{','.join(map(str, colour))}::"]
    (root / "labelmap.txt").write_text("\n".join(lines))
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/default.txt").write_text(
        "".join(f"{Path(name).stem}\n" for name in names), encoding="utf-8"
    )
    (root / "SegmentationClass").mkdir()
    (root / "SegmentationObject").mkdir()
    painted = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    painted[label() > 0] = colour
    for name in names:
        Image.fromarray(painted).save(root / "SegmentationClass" / f"{Path(name).stem}.png")
    expected = {name: label() for name in names}
    return Attempt(lambda: labels_are_right(root, expected), (root.name, "labelmap.txt", *names), f"colour {colour}")


def plain(rng: random.Random, folder: Path) -> Attempt:
    """A json of any name beside the photos, above them or below."""
    root = folder / "export"
    where = rng.choice(("", "images/", "train/images/", "img/"))
    names = [put(root / where / name) for name in _photos(rng)]
    path = root / rng.choice(
        (
            "annotations.json",
            "coco.json",
            "_annotations.coco.json",
            "labels/coco.json",
            "annotations/person.json",
            "result.json",
            "COCO.JSON",
        )
    )
    path.parent.mkdir(exist_ok=True)
    path.write_text(coco(names), encoding=rng.choice(("utf-8", "utf-8-sig")))
    return _attempt(root, names, f"{path.relative_to(root)}, photos in {where!r}")


def renamed(rng: random.Random, folder: Path) -> Attempt:
    """Names in the json that went over another system than the files."""
    root = folder / "export"
    names = [put(root / "images" / name) for name in _photos(rng)]
    changes: dict[str, Callable[[str], str]] = {
        "composed": lambda name: unicodedata.normalize("NFC", name),
        "decomposed": lambda name: unicodedata.normalize("NFD", name),
        "capitals": str.upper, "small": str.lower, "windows": lambda name: f"C:\\data\\{name}",
        "other folder": lambda name: f"old/{name}",
        "absolute": lambda name: f"/home/ann/photos/{name}",
    }  # fmt: skip
    kind = rng.choice(list(changes))
    (root / "annotations").mkdir()
    (root / "annotations/instances.json").write_text(coco([changes[kind](name) for name in names]))
    return _attempt(root, names, f"names {kind}")


def not_ours(rng: random.Random, folder: Path) -> Attempt:
    """A json that is no COCO file beside photos, and labels of other tools: the photos are read."""
    root = folder / "export"
    names = [put(root / name) for name in _photos(rng)]
    contents = {
        "labelme": {"version": "5.0", "shapes": [{"label": "box", "points": [[10, 8], [31, 29]]}],
        "imagePath": names[0]},
        "via": {"_via_settings": {}, "_via_img_metadata": {names[0]: {"regions": []}}},
        "createml": [{"image": names[0], "annotations": []}], "settings": {"a": 1}, "list": [], "text": "none",
        "null": None,
        "supervisely": {"size": {"height": 40, "width": 60}, "objects": []},
        "no images": {"images": [], "annotations": [], "categories": []},
    }  # fmt: skip
    kind = rng.choice(list(contents))
    (root / rng.choice((f"{Path(names[0]).stem}.json", "labels.json", "result.json"))).write_text(
        json.dumps(contents[kind])
    )
    return Attempt(lambda: _photos_are_read(root, names), (root.name, "json", *names), kind)


def _photos_are_read(root: Path, names: list[str]) -> str:
    from benchmarks.fault_cases.attempt import WrongError
    from maskdistill.datasets import open_source

    source = open_source(root)
    if missing := set(names) - {photo.path.name for photo in source.photos}:
        raise WrongError(f"{missing} are no photos")
    return "noted" if source.skipped else "read"


VARIETIES: dict[str, Make] = {
    "Roboflow": roboflow,
    "FiftyOne": fiftyone,
    "Label Studio": label_studio,
    "CVAT, COCO": cvat,
    "CVAT, masks": cvat_masks,
    "a json somewhere": plain,
    "names of another system": renamed,
    "json of other tools": not_ours,
}
