"""Odd pictures: modes, headers, damage, names, files that are none."""

import contextlib
import io
import os
import random
import socket
import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, PngImagePlugin

from benchmarks.fault_cases.attempt import Attempt, Make, WrongError
from maskdistill.datasets import open_source, read_photo
from maskdistill.errors import DatasetError

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
    "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
    "WEBP": ("RGB", "RGBA", "L"),
    "BMP": ("1", "L", "P", "RGB"),
}
COMPRESSIONS = (None, "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg")
ORIENTATIONS = range(1, 9)


def sound_file(rng: random.Random, format: str = "", mode: str = "") -> tuple[bytes, str, tuple[int, int]]:
    """Bytes of a picture whose left half is dark and whose right half is bright; its format and (width, height)."""
    format = format or rng.choice(list(MODES))
    mode = mode or rng.choice(MODES[format])
    size = rng.randrange(8, 80), rng.randrange(8, 80)
    image = two_halves(size, mode)
    options = {"TIFF": {"compression": rng.choice(COMPRESSIONS)}, "WEBP": {"lossless": rng.random() < 0.5}}
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **options.get(format, {}))
    except OSError:  # not every mode goes with every compression
        buffer = io.BytesIO()
        image.save(buffer, format)
    return buffer.getvalue(), format, size


def two_halves(size: tuple[int, int], mode: str) -> Image.Image:
    """Left half dark, right half bright."""
    width, height = size
    bright = np.zeros((height, width), bool)
    bright[:, width // 2 :] = True
    if mode == "F":
        return Image.fromarray(np.where(bright, 3.5, -1.0).astype(np.float32))
    if mode == "I":
        return Image.fromarray(np.where(bright, 60000, 500).astype(np.int32))
    if mode == "I;16":
        return Image.fromarray(np.where(bright, 60000, 500).astype(np.uint16))
    grey = Image.fromarray(np.where(bright, 235, 20).astype(np.uint8))
    if mode in ("LAB", "YCbCr", "RGBX", "CMYK", "RGBA", "P"):
        colour = grey.convert("RGB")
        return Image.merge("LAB", (grey, *[Image.new("L", size, 128)] * 2)) if mode == "LAB" else colour.convert(mode)
    return grey.convert(mode)


def look_at(folder: Path, odd: Path, check: Callable[[np.ndarray], str] | None = None) -> Literal["read", "noted"]:
    """Open the folder as a user does; the good picture in it must be there whatever the odd one is."""
    source = open_source(folder)
    photos = {photo.path.name: photo for photo in source.photos}
    if "good.png" not in photos:
        raise WrongError("the good picture beside it is left out")
    if odd.name not in photos:
        if any(item.path.name == odd.name or _counts(item.reason, odd) for item in source.skipped):
            return "noted"
        raise WrongError("it is neither a photo nor named as left out")
    try:
        image = read_photo(photos[odd.name])
    except DatasetError as error:
        if odd.name not in str(error):
            raise WrongError(f"the error does not name the file: {error}") from error
        return "noted"
    if image.mode != "RGB" or image.size != (photos[odd.name].width, photos[odd.name].height):
        raise WrongError(f"read as {image.mode} of {image.size}")
    problem = check(np.asarray(image)) if check else ""
    if problem:
        raise WrongError(problem)
    return "read"


def _counts(reason: str, odd: Path) -> bool:
    """Whether a sentence counts the files of this suffix."""
    suffix = odd.suffix.lower().lstrip(".")
    return (suffix or "suffix") in reason.lower()


def _folder(folder: Path) -> Path:
    data = folder / "data"
    data.mkdir()
    Image.new("RGB", (20, 20), (10, 200, 30)).save(data / "good.png")
    return data


def _put(folder: Path, name: str | bytes, content: bytes) -> Path:
    path = Path(os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(name))))
    path.write_bytes(content)
    return path


def _attempt(data: Path, odd: Path, what: str, check: Callable[[np.ndarray], str] | None = None) -> Attempt:
    return Attempt(lambda: look_at(data, odd, check), (odd.name,), what)


def _halves_differ(pixels: np.ndarray) -> str:
    third = max(1, pixels.shape[1] // 3)
    contrast = float(pixels[:, -third:].mean() - pixels[:, :third].mean())
    return "" if contrast > 60 else f"its halves differ by {contrast:.0f} of 255 only"


def mode(rng: random.Random, folder: Path) -> Attempt:
    """A sound picture in one of the modes that formats have: dark on the left, bright on the right."""
    content, format, size = sound_file(rng)
    data = _folder(folder)
    odd = _put(data, f"odd{SUFFIXES[format]}", content)
    return _attempt(data, odd, f"{format} {size}", _halves_differ)


def turned(rng: random.Random, folder: Path) -> Attempt:
    """A picture that EXIF turns, in formats that hold it; its bright half goes where it belongs."""
    data, way = _folder(folder), rng.choice(ORIENTATIONS)
    format = rng.choice(("JPEG", "PNG", "WEBP"))
    size = rng.randrange(24, 80), rng.randrange(24, 80)
    exif = Image.Exif()
    exif[0x0112] = way
    odd = data / f"odd{SUFFIXES[format]}"
    two_halves(size, "RGB").save(odd, exif=exif)

    def check(pixels: np.ndarray) -> str:
        height, width = pixels.shape[:2]
        if ((width, height) if way < 5 else (height, width)) != size:
            return f"orientation {way} of {size} came as {(width, height)}"
        side = {1: "right", 4: "right", 2: "left", 3: "left", 5: "bottom", 6: "bottom", 7: "top", 8: "top"}[way]
        parts = {
            "right": pixels[:, -width // 4 :], "left": pixels[:, : width // 4],
            "bottom": pixels[-height // 4 :], "top": pixels[: height // 4],
        }  # fmt: skip
        return "" if parts[side].mean() > 180 else f"orientation {way}: the {side} side is not the bright one"

    return _attempt(data, odd, f"{format} orientation {way}", check)


def cut(rng: random.Random, folder: Path) -> Attempt:
    """A picture whose file ends too early."""
    content, format, _ = sound_file(rng)
    data, share = _folder(folder), rng.random()
    return _attempt(data, _put(data, f"odd{SUFFIXES[format]}", content[: int(len(content) * share)]), f"{format} cut")


def flipped(rng: random.Random, folder: Path) -> Attempt:
    """A picture with some bytes changed, most of them in the header."""
    content, format, _ = sound_file(rng)
    damaged = bytearray(content)
    reach = len(content) if rng.random() < 0.3 else min(len(content), 120)
    for _ in range(rng.randrange(1, 12)):
        damaged[rng.randrange(reach)] = rng.randrange(256)
    data = _folder(folder)
    return _attempt(data, _put(data, f"odd{SUFFIXES[format]}", bytes(damaged)), f"{format}, bytes changed")


def noise(rng: random.Random, folder: Path) -> Attempt:
    """Random bytes behind the first bytes of a format."""
    heads = (
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x10\0\0\0WEBP",
        b"II*\0",
        b"MM\0*",
        b"BM",
        b"II+\0",
        b"GIF89a",
    )
    content = rng.choice(heads) + rng.randbytes(rng.choice((0, 1, 20, 4000)))
    data = _folder(folder)
    return _attempt(data, _put(data, f"odd{rng.choice(list(SUFFIXES.values()))}", content), f"noise {content[:4]!r}")


def long_chunks(rng: random.Random, folder: Path) -> Attempt:
    """A sound PNG with more text, or a larger colour profile, than readers like."""
    data, size = _folder(folder), rng.randrange(1_100_000, 6_000_000)
    info, odd = PngImagePlugin.PngInfo(), data / "odd.png"
    kind = rng.choice(("zTXt", "iTXt", "tEXt", "iCCP", "eXIf", "many"))
    text = rng.choice(("a long tale ", "0", "wörter ")) * (size // 10)
    if kind == "iTXt":
        info.add_itxt("prompt", text, zip=True)
    elif kind in ("zTXt", "tEXt"):
        info.add_text("prompt", text.encode("latin-1"), zip=kind == "zTXt")
    elif kind == "many":
        for number in range(200):
            info.add_text(f"key{number}", text[:100_000], zip=True)
    profile = {"icc_profile": bytes(size)} if kind == "iCCP" else {}
    exif = {"exif": b"Exif\0\0" + bytes(size)} if kind == "eXIf" else {}
    two_halves((40, 30), "RGB").save(odd, pnginfo=info, **profile, **exif)
    attempt = _attempt(data, odd, f"{kind} of {size} bytes", _halves_differ)
    return Attempt(lambda: _must_read(attempt.act), attempt.names, attempt.what, must_be_read=True)


def _must_read(act: Callable[[], Literal["read", "noted"]]) -> Literal["read", "noted"]:
    if act() == "noted":
        raise WrongError("it is left out, though its pixels are sound")
    return "read"


def wrong_suffix(rng: random.Random, folder: Path) -> Attempt:
    """A sound picture under another format's suffix, none, or one that few know."""
    content, format, _ = sound_file(rng)
    suffix = rng.choice(
        (*SUFFIXES.values(), ".JPG", ".Jpeg", ".PNG", ".TIFF", ".jfif", ".jpe", ".JFIF", "", ".jpg_large")
    )
    data = _folder(folder)
    return _attempt(data, _put(data, f"odd{suffix}", content), f"{format} named {suffix or 'without suffix'}")


def other_formats(rng: random.Random, folder: Path) -> Attempt:
    """What a phone's or a camera's folder holds besides."""
    heads = {
        ".HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ".heif": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
        ".avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", ".gif": b"GIF89a\x05\0\x05\0",
        ".dng": b"II*\0\x08\0\0\0", ".CR2": b"II*\0\x10\0\0\0CR", ".jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
        ".psd": b"8BPS\0\x01",
        ".jxl": b"\xff\x0a",
    }  # fmt: skip
    suffix = rng.choice(list(heads))
    name = rng.choice((suffix, ".jpg", ".png", suffix.swapcase()))
    data = _folder(folder)
    return _attempt(data, _put(data, f"odd{name}", heads[suffix] + rng.randbytes(300)), f"{suffix} named {name}")


def huge(rng: random.Random, folder: Path) -> Attempt:
    """A small file that says it has more pixels than memory holds."""
    width, height = rng.choice(
        ((60000, 60000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (1, 2**30), (0, 50), (400_000, 20_000))
    )
    if rng.random() < 0.5:
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        chunk = b"IHDR" + head
        content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
        body = zlib.compress(bytes(1000))
        content += struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
        content, suffix = content + b"\0\0\0\0IEND\xaeB`\x82", ".png"
    else:
        content = (
            b"BM"
            + struct.pack("<IHHIIiiHH", 100, 0, 0, 54, 40, min(width, 2**31 - 1), height % 2**31, 1, 24)
            + bytes(200)
        )
        suffix = ".bmp"
    data = _folder(folder)
    return _attempt(data, _put(data, f"odd{suffix}", content), f"{suffix} of {width} x {height}")


def extreme_sizes(rng: random.Random, folder: Path) -> Attempt:
    """Sound pictures of one pixel, and lines."""
    size = rng.choice(((1, 1), (1, 5000), (5000, 1), (2, 3), (1, 2)))
    data, odd = _folder(folder), f"odd{rng.choice(('.png', '.jpg', '.bmp', '.tif', '.webp'))}"
    Image.new("RGB", size, (200, 100, 50)).save(data / odd)
    return _attempt(data, data / odd, f"{odd} of {size}")


def no_plain_file(rng: random.Random, folder: Path) -> Attempt:
    """A pipe, a socket, a device, a link or a folder that has a picture's name."""
    data = _folder(folder)
    odd = data / "odd.jpg"
    kind = rng.choice(("pipe", "socket", "zero", "null", "nowhere", "itself", "folder", "folder above", "linked pipe"))
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "linked pipe":
        os.mkfifo(folder / "pipe")
        odd.symlink_to(folder / "pipe")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(data):
            server.bind("odd.jpg")
    elif kind == "folder":
        odd.mkdir()
        (odd / "inner.png").write_bytes((data / "good.png").read_bytes())
        odd = odd / "inner.png"
    else:
        target = {
            "zero": "/dev/zero",
            "null": "/dev/null",
            "nowhere": "gone.jpg",
            "itself": "odd.jpg",
            "folder above": "..",
        }
        odd.symlink_to(target[kind])
        if kind == "folder above":
            odd = data / "good.png"
    return _attempt(data, odd, kind)


def names(rng: random.Random, folder: Path) -> Attempt:
    """Names that other systems write."""
    composed = "Kühe_Straße_é"
    name = rng.choice(
        (
            composed, unicodedata.normalize("NFD", composed), "two\nlines", "tab\there", "-rf", "100% (1)", "a'b\"c",
            "$HOME",
            "back\\slash", "x" * 240, "日本語", "🐄", "nul", "con", "a.b.c", " blank ", "a..b", "#1", "é" * 100,
            "e\u0301" * 80,
            b"latin\xe9", b"\xff\xfe\xfd", b"sjis\x83\x5c", "\u202etxt", "a\u200bb", "%s%n", "{0}", "\x01\x02",
        )
    )  # fmt: skip
    data = _folder(folder)
    content, format, _ = sound_file(rng, "PNG", "RGB")
    odd = _put(data, os.fsencode(name) + SUFFIXES[format].encode(), content)
    attempt = _attempt(data, odd, repr(name), _halves_differ)
    return Attempt(lambda: _must_read(attempt.act), attempt.names, attempt.what, must_be_read=True)


def many_bits(rng: random.Random, folder: Path) -> Attempt:
    """10, 12 or 14 bits in a 16-bit grey picture: to be seen, or noted as nearly black."""
    bits, data = rng.choice((10, 11, 12, 14)), _folder(folder)
    values = np.tile(np.linspace(0, 2**bits - 1, 60), (40, 1)).astype(np.uint16)
    odd = data / rng.choice(("odd.tif", "odd.png"))
    Image.fromarray(values).save(odd)

    def act() -> Literal["read", "noted"]:
        return look_at(data, odd, lambda pixels: "" if pixels.max() > 100 else "nearly black")

    return Attempt(act, (odd.name,), f"{bits} bits in {odd.name}")


def odd_numbers(rng: random.Random, folder: Path) -> Attempt:
    """Floats that are no numbers, and integers beyond 16 bits."""
    values = np.random.default_rng(rng.randrange(2**32)).normal(size=(20, 30)).astype(np.float32)
    kind = rng.choice(("nan", "inf", "all nan", "huge", "tiny", "constant", "int"))
    if kind == "int":
        image = Image.fromarray((values * 2**28).astype(np.int32))
    else:
        fill = {"nan": np.nan, "inf": np.inf, "huge": 3e38, "tiny": 1e-42, "all nan": np.nan, "constant": 7}[kind]
        values[(slice(None) if kind in ("all nan", "constant") else slice(3))] = fill
        image = Image.fromarray(values)
    data = _folder(folder)
    image.save(data / "odd.tif")
    return _attempt(data, data / "odd.tif", kind)


def given_alone(rng: random.Random, folder: Path) -> Attempt:
    """What is no folder of photos, given as the data."""
    data = _folder(folder)
    (data / "a.txt").write_text("no picture")
    (data / "empty").mkdir()
    os.mkfifo(data / "pipe.jpg")
    (data / "loop").symlink_to("loop")
    (data / "broken.json").write_bytes(rng.randbytes(30))
    (data / "other.zip").write_bytes(b"PK\3\4" + bytes(30))
    given = rng.choice(
        (
            data / "a.txt", data / "empty", data / "pipe.jpg", data / "loop", data / "broken.json", data / "other.zip",
            data / "gone", Path("/dev/null"), Path("/dev/zero"), Path("/proc/self/mem"), data / "good.png" / "x",
            Path("/dev"),
            f"{data}/\0", "x" * 300, "~nobody-at-all/x", "", "   ", f"{data}/good.png/", "samples", "-",
            "http://localhost/a.jpg",
            "file:///nowhere/photos", f"{data}\n", "s3://bucket/x",
        )
    )  # fmt: skip
    name = str(given)

    def act() -> Literal["read", "noted"]:
        open_source(given)
        return "read"

    return Attempt(
        act, (Path(name).name[:60] or name, name, name.strip() or "No data", repr(name)[1:-1]), repr(name)[:60]
    )


VARIETIES: dict[str, Make] = {
    "modes of every format": mode,
    "turned by EXIF": turned,
    "cut": cut,
    "bytes changed": flipped,
    "noise behind a head": noise,
    "long text, large profile": long_chunks,
    "wrong suffix": wrong_suffix,
    "other formats": other_formats,
    "too many pixels by the header": huge,
    "one pixel, lines": extreme_sizes,
    "pipes, devices, links": no_plain_file,
    "names of other systems": names,
    "10 to 14 bits": many_bits,
    "floats, large integers": odd_numbers,
    "no folder of photos": given_alone,
}
