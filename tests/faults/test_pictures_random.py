"""Whatever bytes a file holds, it is a picture of the promised size or refused by name: nothing else happens."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from maskdistill.datasets.images import inspect_image, read_photo
from maskdistill.datasets.photo_files import UnreadablePhotoError

STARTS = (
    b"\xff\xd8\xff\xe1\0\x20Exif\0\0II*\0\x08\0\0\0",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x08\0\0\0\x08\x08\x02\0\0\0",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"RIFF\x40\0\0\0WEBPVP8X\n\0\0\0\x10\0\0\0",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08\0\x09",
    b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0",
    b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
    b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf",
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
)


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a text"
    return exif.tobytes()


def _text() -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", "a long tale " * 40, zip=True)
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="3"/>', zip=True)
    return text


def _noise(mode: str, size: tuple[int, int] = (13, 9)) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    if mode == "I;16":
        return Image.fromarray(values[..., 0].astype(np.uint16) * 16)
    if mode == "F":
        return Image.fromarray(values[..., 0].astype(np.float32))
    image = Image.fromarray(values, "RGBA")
    return image.quantize(16) if mode == "P" else image.convert("RGB").convert(mode) if mode != "RGBA" else image


def _saved(mode: str, **options: object) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        _noise(mode).save(buffer, **options)
        return buffer.getvalue()

    return make


SOUND = {
    "jpeg": _saved("RGB", format="JPEG", exif=_exif()),
    "jpeg progressive": _saved("RGB", format="JPEG", progressive=True),
    "jpeg cmyk": _saved("CMYK", format="JPEG"),
    "png": _saved("RGBA", format="PNG", pnginfo=_text(), exif=_exif()),
    "png palette": _saved("P", format="PNG"),
    "png 1": _saved("1", format="PNG"),
    "png 16": _saved("I;16", format="PNG"),
    "webp": _saved("RGB", format="WEBP", exif=_exif()),
    "webp lossless": _saved("RGBA", format="WEBP", lossless=True),
    "tiff": _saved("RGB", format="TIFF", exif=_exif()),
    "tiff lzw": _saved("RGB", format="TIFF", compression="tiff_lzw"),
    "tiff jpeg": _saved("RGB", format="TIFF", compression="jpeg"),
    "tiff big": _saved("L", format="TIFF", big_tiff=True),
    "tiff 16": _saved("I;16", format="TIFF"),
    "tiff float": _saved("F", format="TIFF"),
    "tiff group 4": _saved("1", format="TIFF", compression="group4"),
    "bmp": _saved("RGB", format="BMP"),
    "bmp palette": _saved("P", format="BMP"),
    "avif": _saved("RGB", format="AVIF"),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd") / "a.jpg"


def check(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            size = inspect_image(path)
        except UnreadablePhotoError as error:
            assert error.reason
            return
        if size[0] * size[1] > 4_000_000:  # sound for the header's sake, slow to decode
            return
        try:
            image = read_photo(path)
        except UnreadablePhotoError as error:
            assert error.reason
            return
    assert (image.mode, (image.height, image.width)) == ("RGB", size)


@given(start=st.sampled_from((b"", *STARTS)), rest=st.binary(max_size=400))
@example(start=b"", rest=b"")
def test_random_bytes(path: Path, start: bytes, rest: bytes) -> None:
    check(path, start + rest)


@pytest.mark.parametrize("name", SOUND)
@given(data=st.data())
def test_changed_and_cut_pictures(path: Path, name: str, data: st.DataObject) -> None:
    content = bytearray(SOUND[name]())
    # Most of what can go wrong stands in the first bytes.
    places = st.one_of(st.integers(0, min(300, len(content) - 1)), st.integers(0, len(content) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        content[place] = value
    if data.draw(st.booleans()):
        del content[data.draw(places) :]
    check(path, bytes(content))


@pytest.mark.parametrize("name", SOUND)
def test_the_pictures_are_sound_to_begin_with(path: Path, name: str) -> None:
    path.write_bytes(SOUND[name]())
    assert sorted(inspect_image(path)) == [9, 13]
    assert sorted(read_photo(path).size) == [9, 13]
