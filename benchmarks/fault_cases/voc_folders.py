"""VOC folders: lists, label maps and class lists as other tools write them, and broken ones."""

import io
import os
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.fault_cases.attempt import Attempt, Make
from benchmarks.fault_cases.ground_truth import labels_are_right

SIZES = {"one": (60, 40), "two": (48, 64), "three": (50, 50)}  # width, height
SPLITS = {"one": "train", "two": "train", "three": "val"}
CLASSES = ("box", "disc")
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


class Voc:
    """A sound folder, whose parts a case then changes."""

    def __init__(self, folder: Path, suffix: str = ".png") -> None:
        self.path = folder / "data"
        self.suffix = suffix
        for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (self.path / name).mkdir(parents=True)
        self.labels = {}
        for number, (stem, size) in enumerate(SIZES.items()):
            label = Image.new("P", size)
            label.putpalette(PALETTE)
            ImageDraw.Draw(label).rectangle((5, 5, 20, 25), fill=1 + number % 2)
            ImageDraw.Draw(label).rectangle((25, 10, 40, 30), fill=2)
            self.labels[stem] = label
            Image.new("RGB", size, (90, 140, 90)).save(self.photo(stem))
            label.save(self.label(stem))
        for split in ("train", "val"):
            self.list(split).write_text("".join(f"{stem}\n" for stem in SIZES if SPLITS[stem] == split))
        self.classes.write_text("\n".join(CLASSES))

    @property
    def classes(self) -> Path:
        return self.path / "classes.txt"

    def photo(self, stem: str) -> Path:
        return self.path / "JPEGImages" / f"{stem}{self.suffix}"

    def label(self, stem: str) -> Path:
        return self.path / "SegmentationClass" / f"{stem}.png"

    def list(self, split: str) -> Path:
        return self.path / "ImageSets" / "Segmentation" / f"{split}.txt"

    def attempt(
        self,
        what: str,
        names: tuple[str, ...],
        *,
        renamed: dict[str, str] | None = None,
        splits: bool = True,
        may_differ: bool = False,
    ) -> Attempt:
        """What a user does with it; labels and splits must be right or something must be said."""
        new = renamed or {}
        expected = {f"{new.get(stem, stem)}{self.suffix}": np.asarray(label) for stem, label in self.labels.items()}
        wanted = {f"{new.get(stem, stem)}{self.suffix}": split for stem, split in SPLITS.items()} if splits else None
        return Attempt(
            lambda: labels_are_right(self.path, expected, splits=wanted, may_differ=may_differ), (*names, "data"), what
        )


def _some(rng: random.Random) -> str:
    return rng.choice(list(SIZES))


def label_of_another_form(rng: random.Random, folder: Path) -> Attempt:
    """One or all label maps in another form: size, mode, values."""
    voc = Voc(folder)
    forms: dict[str, Callable[[Image.Image], Image.Image]] = {
        "turned": lambda label: label.transpose(Image.Transpose.ROTATE_90),
        "twice the size": lambda label: label.resize((label.width * 2, label.height * 2), Image.Resampling.NEAREST),
        "colours": lambda label: label.convert("RGB"),
        "black and white": lambda label: Image.fromarray(np.where(np.asarray(label) > 0, 255, 0).astype(np.uint8)),
        "one bit": lambda label: Image.fromarray(np.asarray(label) > 0),
        "16 bits": lambda label: Image.fromarray(np.asarray(label).astype(np.uint16)),
        "16 bits, large": lambda label: Image.fromarray(np.asarray(label).astype(np.uint16) * 1000),
        "32 bits, negative": lambda label: Image.fromarray(-np.asarray(label).astype(np.int32)),
        "floats": lambda label: Image.fromarray(np.asarray(label).astype(np.float32)),
        "with alpha": lambda label: label.convert("RGBA"),
        "grey with alpha": lambda label: Image.merge(
            "LA", (Image.fromarray(np.asarray(label)), Image.new("L", label.size, 255))
        ),
        "beyond the classes": lambda label: Image.fromarray(
            np.asarray(label) + np.uint8(rng.randrange(1, 200)) * (np.asarray(label) > 0)
        ),
        "one pixel": lambda label: label.crop((0, 0, 1, 1)),
        "ids times 100": lambda label: Image.fromarray(np.asarray(label) * np.uint8(100)),
    }
    kind = rng.choice(list(forms))
    stems = list(SIZES) if rng.random() < 0.4 else [_some(rng)]
    for stem in stems:
        changed = forms[kind](voc.labels[stem])
        options = {"format": "TIFF"} if changed.mode in ("F", "I") else {}
        changed.save(voc.label(stem), **options)
    square = any(width == height for width, height in map(SIZES.get, stems))
    # of a square one nobody can say that it was turned
    return voc.attempt(f"label {kind}", tuple(SIZES), may_differ=kind == "turned" and square)


def label_damaged(rng: random.Random, folder: Path) -> Attempt:
    """Label files that are cut, empty, noise, or no files."""
    voc, stem = Voc(folder), _some(rng)
    path = voc.label(stem)
    content = path.read_bytes()
    kind = rng.choice(
        ("cut", "empty", "noise", "bytes", "folder", "pipe", "link", "text", "html", "jpeg inside", "huge")
    )
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("gone.png")
    elif kind == "jpeg inside":
        buffer = io.BytesIO()
        voc.labels[stem].convert("L").save(buffer, "JPEG")
        path.write_bytes(buffer.getvalue())
    elif kind == "bytes":
        damaged = bytearray(content)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(bytes(damaged))
    else:
        path.write_bytes(
            {
                "cut": content[: rng.randrange(len(content))], "empty": b"", "noise": rng.randbytes(500),
                "text": b"none", "html": b"<html>",
                "huge": content[:16] + (60000).to_bytes(4, "big") * 2 + content[24:],
            }[kind]
        )  # fmt: skip
    return voc.attempt(f"label file: {kind}", tuple(SIZES), may_differ=kind == "jpeg inside")


def lists(rng: random.Random, folder: Path) -> Attempt:
    """Lists in other encodings, with paths, flags, blanks, or of photos that are not there."""
    voc = Voc(folder)
    path = voc.list("train")
    text = path.read_text()
    stems = text.split()
    kinds = {
        "mark": b"\xef\xbb\xbf" + text.encode(), "utf-16": text.encode("utf-16"),
        "returns": text.replace("\n", "\r\n").encode(),
        "old returns": text.replace("\n", "\r").encode(),
        "suffixes": "".join(f"{stem}.jpg\n" for stem in stems).encode(),
        "paths": "".join(f"/JPEGImages/{stem}.jpg /SegmentationClass/{stem}.png\n" for stem in stems).encode(),
        "windows paths": "".join(f"JPEGImages\\{stem}.jpg\n" for stem in stems).encode(),
        "flags": "".join(f"{stem}  1\n" for stem in stems).encode(),
        "minus": "".join(f"{stem} -1\n" for stem in stems).encode(),
        "blanks": "".join(f"  {stem}\t \n\n" for stem in stems).encode(),
        "more": text.encode() + b"gone\n", "twice": text.encode() * 2, "in both": text.encode() + b"three\n",
        "latin-1": text.encode() + b"caf\xe9\n",
        "noise": rng.randbytes(200), "zeros": bytes(100), "empty": b"", "commas": ",".join(stems).encode(),
        "quotes": "".join(f'"{stem}"\n' for stem in stems).encode(),
        "capitals": text.upper().encode(), "comment": b"# made by hand\n" + text.encode(),
        "header": b"image,label\n" + text.encode(),
        "long line": b"x" * 100_000, "zero byte": text.encode() + b"a\0b\n",
    }  # fmt: skip
    kind = rng.choice((*kinds, "folder", "gone", "other name", "capital name"))
    if kind in kinds:
        path.write_bytes(kinds[kind])
    else:
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind != "gone":
            path.with_name("TRAIN.txt" if kind == "capital name" else "train_ids.txt").write_text(text)
    loose = kind in ("gone", "empty", "other name", "folder")
    return voc.attempt(f"list: {kind}", ("train", *SIZES), splits=not loose)


def names(rng: random.Random, folder: Path) -> Attempt:
    """Photos with blanks, marks, other letters or other compositions in their names."""
    stem = _some(rng)
    new = rng.choice(
        (
            "IMG 12 (1)",
            "a  b",
            " lead",
            "Kühe",
            "日本",
            "100%",
            "a,b",
            "a;b",
            "a.b.c",
            "-1",
            "x y 1",
            "#3",
            "'q'",
            "e\u0301te\u0301",
            "trail ",
            "IMG_1.jpg",
            "🐄",
        )
    )
    voc = Voc(folder, rng.choice((".png", ".PNG")))
    forms = [unicodedata.normalize(rng.choice(("NFC", "NFD")), new) for _ in range(3)]
    voc.photo(stem).rename(voc.photo(forms[0]))
    voc.label(stem).rename(voc.label(forms[1]))
    for split in ("train", "val"):
        path = voc.list(split)
        path.write_text(
            "".join(f"{forms[2] if line == stem else line}\n" for line in path.read_text().split()), encoding="utf-8"
        )
    return voc.attempt(f"photo named {new!r}", tuple(SIZES), renamed={stem: forms[0]})


def suffixes(rng: random.Random, folder: Path) -> Attempt:
    """Label files whose suffix or letters' case differs from their photos'."""
    voc, stem = Voc(folder), _some(rng)
    kind = rng.choice((".PNG", ".Png", ".bmp", ".tif", ".gif", "_label.png", ".png.png", "capitals", ".webp"))
    old = voc.label(stem)
    new = old.with_name(f"{stem.upper()}.png" if kind == "capitals" else f"{stem}{kind}")
    old.unlink()
    voc.labels[stem].convert("L" if kind == ".webp" else "P").save(
        new, **({"lossless": True} if kind == ".webp" else {})
    )
    return voc.attempt(f"label named {new.name}", tuple(SIZES))


def class_lists(rng: random.Random, folder: Path) -> Attempt:
    """classes.txt in other encodings, too short, too long, with numbers, or gone."""
    voc = Voc(folder)
    kinds = {
        "mark": "\ufeffbox\ndisc\n".encode(), "returns": b"box\r\ndisc\r\n", "background": b"background\nbox\ndisc\n",
        "short": b"box\n",
        "long": "\n".join(f"class {number}" for number in range(300)).encode(), "twice": b"box\nbox\n", "empty": b"",
        "blank": b"\n \n\t\n",
        "latin-1": b"b\xeache\ndisc\n", "utf-16": "box\ndisc".encode("utf-16"), "noise": rng.randbytes(100),
        "zeros": bytes(50),
        "numbered": b"0: background\n1: box\n2: disc\n", "commas": b"box,disc", "yaml": b"names:\n- box\n- disc\n",
        "long line": b"x" * 100_000,
    }  # fmt: skip
    kind = rng.choice((*kinds, "folder", "gone", "pipe"))
    if kind in kinds:
        voc.classes.write_bytes(kinds[kind])
    else:
        voc.classes.unlink()
        if kind == "folder":
            voc.classes.mkdir()
        elif kind == "pipe":
            os.mkfifo(voc.classes)
    return voc.attempt(f"classes.txt: {kind}", ("classes.txt", *SIZES))


def turned_photo(rng: random.Random, folder: Path) -> Attempt:
    """A photo that EXIF turns, its label made on the pixels as they are stored, or as they are seen."""
    voc, stem, way = Voc(folder), _some(rng), rng.choice((3, 5, 6, 7, 8))
    exif = Image.Exif()
    exif[0x0112] = way
    upright = np.asarray(voc.labels[stem])
    as_stored = rng.random() < 0.5
    back = {
        3: lambda a: a[::-1, ::-1],
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].T,
        8: lambda a: np.rot90(a, -1),
    }
    stored = np.ascontiguousarray(back[way](upright))
    Image.new("RGB", stored.shape[::-1], (90, 140, 90)).save(voc.photo(stem), exif=exif)
    if as_stored:
        Image.fromarray(stored).save(voc.label(stem))
    # of two of one size nobody can say which is meant
    same = as_stored and stored.shape == upright.shape
    return voc.attempt(
        f"{stem} turned by {way}, label {'as stored' if as_stored else 'as seen'}", tuple(SIZES), may_differ=same
    )


def layouts(rng: random.Random, folder: Path) -> Attempt:
    """Folders that are missing, empty, files, or named in other letters."""
    voc = Voc(folder)
    name = rng.choice(("JPEGImages", "SegmentationClass", "ImageSets", "ImageSets/Segmentation"))
    kind = rng.choice(("gone", "file", "small letters", "empty", "link to itself"))
    path = voc.path / name
    away = folder / "away"
    if kind == "small letters":
        path.rename(path.with_name(path.name.lower()))
    else:
        path.rename(away)
        if kind == "file":
            path.write_text("a file")
        elif kind == "empty":
            path.mkdir()
        elif kind == "link to itself":
            path.symlink_to(path.name)
    pictures = {path.name for path in voc.path.rglob("*.png")}
    attempt = voc.attempt(f"{name}: {kind}", ("JPEGImages", name), splits=False)
    if (name == "SegmentationClass" and kind in ("gone", "empty", "small letters")) or (
        name == "JPEGImages" and pictures
    ):
        # without a VOC layout it is a folder of pictures, or one without labels: nothing that could be wrong
        return Attempt(lambda: _opens(voc.path), attempt.names, attempt.what)
    return attempt


def _opens(path: Path) -> str:
    from maskdistill.datasets import open_source

    open_source(path)
    return "read"


VARIETIES: dict[str, Make] = {
    "labels of another form": label_of_another_form,
    "label files damaged": label_damaged,
    "lists": lists,
    "names": names,
    "suffixes of labels": suffixes,
    "class lists": class_lists,
    "photos turned by EXIF": turned_photo,
    "layouts": layouts,
}
