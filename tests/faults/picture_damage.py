"""What can happen to a picture: another size, another mode, labels that are none."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from file_damage import Kinds
from PIL import Image


def picture_kinds(_path: Path, _seed: int) -> Kinds:
    return {
        "of another size": lambda path: _picture(path, lambda image: image.resize((7, 5))),
        "of one pixel": lambda path: _picture(path, lambda image: image.resize((1, 1))),
        "of 16 bits": lambda path: Image.fromarray(np.full((32, 32), 40_000, np.uint16)).save(path, "PNG"),
        "in colors": lambda path: _picture(path, lambda image: image.convert("RGB")),
        "in grey": lambda path: _picture(path, lambda image: image.convert("L")),
        "a JPEG": lambda path: Image.new("RGB", (32, 32)).save(path, "JPEG"),
        "labels out of range": lambda path: _picture(path, _out_of_range),
        "said to be huge": _huge,
    }


def _picture(path: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    with Image.open(path) as image:
        changed = change(image)
    changed.save(path, "PNG" if path.suffix == ".png" else "JPEG")


def _out_of_range(image: Image.Image) -> Image.Image:
    changed = Image.fromarray(np.full((image.height, image.width), 200, np.uint8))
    if image.mode == "P":
        changed.putpalette(image.getpalette())
    return changed


def _huge(path: Path) -> None:
    Image.new("P", (32, 32)).save(path, "PNG")
    content = bytearray(path.read_bytes())
    content[16:24] = (60_000).to_bytes(4) + (60_000).to_bytes(4)
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    path.write_bytes(content)
