"""The whole method on folders with something odd in them: everything else is made, and the odd one is named."""

import contextlib
import io
import os
import random
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from benchmarks.fault_cases.attempt import Attempt, Make, WrongError
from benchmarks.fault_cases.pictures import sound_file
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run


def _try(folder: Path, data: Path, what: str, names: tuple[str, ...], num_photos: int, sound: bool = True) -> Attempt:
    """The whole method; a report must come of it, and at least so many photos be used."""
    from tiny_run import run_chain, tiny_config

    def act() -> Literal["read", "noted"]:
        run = Run(folder / "run")
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            run_chain(run.path, data, tiny_config(folder))
        if "Traceback" in said.getvalue():
            raise WrongError("a traceback on standard error")
        images = run.images()
        if (count := int(images["readable"].sum())) < num_photos:
            raise WrongError(f"{count} of {num_photos} photos are used")
        read_json(run.path / "metrics.json")
        return "noted" if count < len(images) else "read"

    return Attempt(act, names, what, must_be_read=sound)


def one_picture(rng: random.Random, folder: Path) -> Attempt:
    """One picture that is damaged, or becomes so behind its header."""
    from tiny_run import draw_voc

    data = draw_voc(folder / "voc")
    path = data / "JPEGImages" / f"{rng.randrange(8):02d}.png"
    kind = rng.choice(("cut", "middle", "empty", "other format", "pipe", "folder", "name", "twice", "huge"))
    content = path.read_bytes()
    if kind == "middle":
        path.write_bytes(content[:60] + bytes(len(content) - 120) + content[-60:])
    elif kind == "cut":
        path.write_bytes(content[: rng.randrange(len(content))])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "other format":
        path.write_bytes(sound_file(rng, "TIFF")[0])
    elif kind == "huge":
        path.write_bytes(content[:16] + (60000).to_bytes(4, "big") * 2 + content[24:])
    elif kind == "twice":
        path.with_suffix(".jpg").write_bytes(content)
    elif kind == "name":
        new = (
            os.fsencode(path.parent)
            + b"/"
            + rng.choice((b"latin\xe9.png", b"two\nlines.png", b"\xff.png", b"x" * 240 + b".png"))
        )
        Path(os.fsdecode(new)).write_bytes(content)
    else:
        path.unlink()
        os.mkfifo(path) if kind == "pipe" else path.mkdir()
    # a bright half is no object of ours: of this one photo masks may or may not come
    return _try(folder, data, f"one picture: {kind}", ("voc",), 11)


def one_label(rng: random.Random, folder: Path) -> Attempt:
    """One label map that cannot be used: all masks, models and the rest of the report are made."""
    from tiny_run import draw_voc

    data = draw_voc(folder / "voc")
    path = data / "SegmentationClass" / f"{rng.randrange(12):02d}.png"
    kind = rng.choice(("turned", "colours", "beyond", "cut", "empty", "pipe", "noise", "folder"))
    with Image.open(path) as image:
        values = np.asarray(image)
    if kind == "turned":
        Image.fromarray(np.ascontiguousarray(values[:, : values.shape[0] // 2].T)).save(path)
    elif kind == "colours":
        Image.fromarray(values).convert("RGB").save(path)
    elif kind == "beyond":
        Image.fromarray(values * np.uint8(77)).save(path)
    elif kind in ("pipe", "folder"):
        path.unlink()
        os.mkfifo(path) if kind == "pipe" else path.mkdir()
    else:
        path.write_bytes({"cut": path.read_bytes()[:40], "empty": b"", "noise": rng.randbytes(99)}[kind])
    return _try(folder, data, f"one label: {kind}", ("voc", path.name), 12)


def few_photos(rng: random.Random, folder: Path) -> Attempt:
    """One photo, two, or photos that all look alike."""
    data = folder / "photos"
    data.mkdir()
    kind = rng.choice(("one", "two", "alike", "grey", "black", "lines", "tiny"))
    size = {"lines": (300, 2), "tiny": (3, 3)}.get(kind, (40, 30))
    for number in range({"one": 1, "two": 2}.get(kind, 5)):
        image = Image.new("RGB", size, {"grey": (90, 90, 90), "black": (0, 0, 0)}.get(kind, (60, 120, 60)))
        if kind not in ("grey", "black"):
            image.paste((220, 30, 60), (5, 5, 20, 20))
        image.save(data / f"{number}.png")
    return _try(folder, data, f"{kind} photos", ("mask", "photo", "class"), 1, sound=False)


VARIETIES: dict[str, Make] = {"one odd picture": one_picture, "one odd label": one_label, "few photos": few_photos}
