"""Odd picture files: sound ones are used, others are named with what is wrong, and none is opened that would block."""

import io
import os
import socket
import stat
import struct
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from maskdistill.datasets import folder, open_source, read_photo
from maskdistill.datasets.images import inspect_image
from maskdistill.datasets.photo_files import UnreadablePhotoError
from maskdistill.datasets.picture_headers import orientation_of_exif
from maskdistill.datasets.picture_kinds import READS_HEIC
from maskdistill.errors import DatasetError

RED = (200, 10, 10)
SIZE = (60, 40)  # width, height


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def saved(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, RED).save(buffer, **options)
    return buffer.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_with(*segments: bytes) -> bytes:
    content = saved(format="JPEG", quality=95)
    return content[:2] + b"".join(segments) + content[2:]


def assert_red(path: Path, size: tuple[int, int] = SIZE) -> None:
    assert inspect_image(path) == size[::-1]
    image = read_photo(path)
    assert image.size == size
    assert np.abs(np.asarray(image).astype(int) - RED).max() <= 4


def test_png_with_more_text_than_pillow_takes(tmp_path):
    """Generators of pictures write their whole story into the file; the pixels are fine."""
    text = PngImagePlugin.PngInfo()
    text.add_text("story", "once upon a time " * 100_000, zip=True)
    text.add_itxt("XML:com.adobe.xmp", "history " * 200_000, zip=True)
    text.add(b"zTXt", b"late\0\0" + b"no zlib at all", after_idat=True)
    (tmp_path / "a.png").write_bytes(saved(format="PNG", pnginfo=text, icc_profile=bytes(3_000_000)))
    assert_red(tmp_path / "a.png")


def test_two_threads_read_pngs_with_much_text(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("story", "once upon a time " * 100_000, zip=True)
    (tmp_path / "a.png").write_bytes(saved(format="PNG", pnginfo=text))
    failed = []

    def read() -> None:
        for _ in range(20):
            try:
                assert_red(tmp_path / "a.png")
            except (DatasetError, AssertionError) as error:
                failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.parametrize(
    "segments",
    [
        [segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000))] * 60,
        [segment(0xFE, b"x" * 65_000)] * 30,
        [segment(0xED, b"Photoshop 3.0\0008BIM\4\4\0")],
        [segment(0xE0, b"JFIF")],
        [segment(0xEE, b"Adobe")],
        [segment(0xE1, b"Exif\0\0plain words, no tags")],
        [segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")],
        [b"\xff\xff\xff", segment(0xE5, b"")],
    ],
    ids=[
        "large profile",
        "comments",
        "cut resources",
        "short JFIF",
        "short Adobe",
        "EXIF as text",
        "EXIF astray",
        "fill",
    ],
)
def test_jpeg_with_odd_segments(tmp_path, segments):
    (tmp_path / "a.jpg").write_bytes(jpeg_with(*segments))
    assert_red(tmp_path / "a.jpg")


@pytest.mark.parametrize("orientation", [0, 1, 6, 9, 255, 65535])
def test_orientations_that_do_not_exist_turn_nothing(tmp_path, orientation):
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + bytes(4)
    (tmp_path / "a.jpg").write_bytes(jpeg_with(segment(0xE1, exif)))
    assert_red(tmp_path / "a.jpg", SIZE[::-1] if orientation == 6 else SIZE)


def test_orientation_as_text_or_cut_off_is_none():
    start = b"II*\0\x08\0\0\0\x01\0"
    assert orientation_of_exif(start + struct.pack("<HHI", 0x0112, 2, 2) + b"6\0\0\0") == 1
    assert orientation_of_exif(start + struct.pack("<HHI", 0x0112, 3, 1)) == 1
    assert orientation_of_exif(start + struct.pack("<HHIHH", 0x0112, 3, 1, 8, 0)) == 8


@pytest.mark.parametrize("where", ["JPEG", "PNG", "PNG raw profile"])
def test_orientation_that_stands_elsewhere(tmp_path, where):
    xmp, exif = '<x tiff:Orientation="6"/>', b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 6)
    text = PngImagePlugin.PngInfo()
    if where == "PNG":
        text.add_itxt("XML:com.adobe.xmp", xmp, zip=True)
    elif where == "PNG raw profile":
        text.add_text("Raw profile type exif", f"\nexif\n{len(exif)}\n{exif.hex()}\n", zip=True)
    content = jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp.encode()))
    (tmp_path / "a").write_bytes(content if where == "JPEG" else saved(format="PNG", pnginfo=text))
    assert_red(tmp_path / "a", SIZE[::-1])


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP", "MPO"])
def test_the_first_of_several_pictures_is_read(tmp_path, kind):
    more = [Image.new("RGB", SIZE, "blue")]
    (tmp_path / "a").write_bytes(saved(format=kind, save_all=True, append_images=more))
    assert_red(tmp_path / "a")


def test_tiff_with_tags_that_cannot_be_true(tmp_path):
    pixels = bytes(RED) * (SIZE[0] * SIZE[1])
    tags = [(256, 3, 1, SIZE[0]), (257, 3, 1, SIZE[1]), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8 + 2 + 11 * 12 + 4), (277, 3, 1, 3), (279, 4, 1, len(pixels))]
    tags += [(305, 2, 2**32 - 1, 100), (700, 1, 2**31, 5), (274, 2, 9, 2**31)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + pixels)
    assert_red(tmp_path / "a.tif")


def test_bmp_from_top_to_bottom(tmp_path):
    content = saved(format="BMP")
    (tmp_path / "a.bmp").write_bytes(content[:22] + struct.pack("<i", -SIZE[1]) + content[26:])
    assert_red(tmp_path / "a.bmp")


def test_large_header_is_refused_before_memory_is_asked_for(tmp_path):
    content = saved(format="BMP")
    (tmp_path / "a.bmp").write_bytes(content[:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + content[26:])
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xfe\x3f\0" * 2  # 16,383 pixels on each side
    (tmp_path / "a.webp").write_bytes(b"RIFF" + struct.pack("<I", 22) + b"WEBP" + canvas)
    for name in ("a.bmp", "a.webp"):
        with pytest.raises(UnreadablePhotoError, match="limit of 179 megapixels"):
            inspect_image(tmp_path / name)


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_extreme_shapes_are_read(tmp_path, size, kind):
    Image.new("RGB", size, RED).save(tmp_path / "a", format=kind)
    assert read_photo(tmp_path / "a", min_short_side=1).size == size


def test_what_is_no_plain_file_is_named_and_never_opened(tmp_path):
    """A pipe blocks for ever when it is opened, and some devices act."""
    for name in ("good", "pipe", "folder", "socket", "device", "circle"):
        path = tmp_path / f"{name}.jpg"
        if name == "good":
            path.write_bytes(saved(format="JPEG"))
        elif name == "pipe":
            os.mkfifo(path)
        elif name == "folder":
            path.mkdir()
        elif name == "device":
            path.symlink_to("/dev/zero")
        elif name == "circle":
            path.symlink_to(path)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket.jpg"))
        os.mkfifo(tmp_path / "no suffix")
        source = open_source(tmp_path)
    assert [photo.id for photo in source.photos] == ["good"]
    reasons = {item.path.stem: item.reason for item in source.skipped}
    assert {name for name in reasons if name in reasons[name] or name in ("pipe", "circle")} == reasons.keys()
    assert reasons.keys() == {"pipe", "folder", "socket", "device", "circle"}
    for name in reasons:
        with pytest.raises(UnreadablePhotoError, match=f"{name}.jpg"):
            inspect_image(tmp_path / f"{name}.jpg")


def test_file_without_permission_and_one_that_vanishes(tmp_path, monkeypatch):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(saved(format="JPEG"))
    real = os.open

    def refuse(path: os.PathLike, *flags: int) -> int:
        if Path(path).name == "b.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        if Path(path).name == "c.jpg":
            os.unlink(path)
        return real(path, *flags)

    monkeypatch.setattr(os, "open", refuse)
    source = open_source(tmp_path)
    assert [photo.id for photo in source.photos] == ["a"]
    reasons = {item.path.name: item.reason for item in source.skipped}
    assert "Permission denied" in reasons["b.jpg"]
    assert "no such file" in reasons["c.jpg"]
    assert stat.S_ISREG((tmp_path / "a.jpg").stat().st_mode)


def test_photo_that_vanishes_after_the_search_is_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(saved(format="JPEG"))
    (photo,) = open_source(tmp_path).photos
    photo.path.unlink()
    with pytest.raises(DatasetError, match=r"a\.jpg.*no such file"):
        read_photo(photo)


def test_folder_of_a_phone(tmp_path):
    """What is not read is counted by kind with its first file, text is passed over, JPEG by any name is used."""
    jpeg = saved(format="JPEG")
    for name in ("IMG_1.JPG", "web.jfif", "b/plain", "b/2024.05.01 12.30"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jpeg)
    others = [
        "a.GIF",
        "x.dng",
        "y.DNG",
        "v.mov",
        "v2.mov",
        "v3.MOV",
        "d.svg",
        "p.psd",
        "IMG_1.AAE",
        "Thumbs.db",
        "c.jp2",
    ]
    for name in (*others, "notes.txt", "t.json", "t.csv", "t.xml", "README", "run.py"):
        (tmp_path / name).write_bytes(b"BM what else")
    source = open_source(tmp_path)
    assert {photo.path.name for photo in source.photos} == {"IMG_1.JPG", "web.jfif", "plain", "2024.05.01 12.30"}
    counts = {item.path.name: item.count for item in source.skipped}
    assert counts == {
        "a.GIF": 1, "x.dng": 2, "v.mov": 3, "d.svg": 1, "p.psd": 1, "IMG_1.AAE": 1, "Thumbs.db": 1, "c.jp2": 1
    }  # fmt: skip
    assert all("3" in item.reason for item in source.skipped if item.path.name == "v.mov")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (bytes(4096), "zeros"),
        (b"GIF89a", "GIF"),
        (b"8BPS\0\1", "layers"),
        (b"\0\0\0\x20ftypmp42", "video"),
    ],
)
def test_what_is_inside_is_named_whatever_the_suffix(tmp_path, content, word):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadablePhotoError, match=word):
        inspect_image(tmp_path / "a.jpg")


@pytest.mark.skipif(not READS_HEIC, reason="pillow-heif is an extra")
def test_heic_is_read_and_turned_where_the_extra_is_installed(tmp_path):
    import pillow_heif

    exif = Image.Exif()
    exif[0x0112] = 6
    heif = pillow_heif.from_pillow(Image.new("RGB", SIZE, RED))
    heif.save(tmp_path / "a.heic", quality=95)
    heif.save(tmp_path / "b.HEIC", quality=95, exif=exif.tobytes())
    content = (tmp_path / "a.heic").read_bytes()
    (tmp_path / "cut.heic").write_bytes(content[: len(content) // 2])
    source = open_source(tmp_path)
    assert [(photo.width, photo.height) for photo in source.photos] == [SIZE, SIZE[::-1]]
    assert_red(tmp_path / "a.heic")
    assert_red(tmp_path / "b.HEIC", SIZE[::-1])
    assert [item.path.name for item in source.skipped] == ["cut.heic"]


def test_heic_is_counted_with_the_remedy_without_the_extra(tmp_path, monkeypatch):
    for module in ("picture_kinds", "folder"):
        monkeypatch.setattr(f"maskdistill.datasets.{module}.PHOTO_SUFFIXES", frozenset({".jpg"}))
    monkeypatch.setattr("maskdistill.datasets.picture_kinds.READS_HEIC", False)
    (tmp_path / "a.jpg").write_bytes(saved(format="JPEG"))
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    for name in ("b.HEIC", "c.heic", "d.jpg"):
        (tmp_path / name).write_bytes(heic)
    source = open_source(tmp_path)
    assert {item.path.name: item.count for item in source.skipped} == {"b.HEIC": 2, "d.jpg": 1}
    assert all("maskdistill[heic]" in item.reason for item in source.skipped)


@pytest.mark.parametrize("spec", ["", "   ", "a\0b", "x" * 5000, "~no-such-user/x", "https://example.org/a.jpg"])
def test_what_cannot_be_a_path_is_said_in_a_sentence(spec):
    with pytest.raises(DatasetError) as caught:
        open_source(spec)
    assert len(str(caught.value)) < 700


def test_pasted_paths_are_understood(tmp_path):
    (tmp_path / "my photos").mkdir()
    (tmp_path / "my photos" / "a.jpg").write_bytes(saved(format="JPEG"))
    place = tmp_path / "my photos"
    for spec in (f" {place} ", f'"{place}"', f"'{place}'", place.as_uri()):
        assert [photo.id for photo in open_source(spec).photos] == ["a"]


@pytest.mark.parametrize("place", ["/proc", "/sys/class", "/dev"])
def test_folders_of_the_system_are_not_searched(place, tmp_path):
    with pytest.raises(DatasetError, match="system"):
        open_source(place)
    (tmp_path / "a.jpg").write_bytes(saved(format="JPEG"))
    (tmp_path / "link").symlink_to(place)
    assert [photo.id for photo in open_source(tmp_path).photos] == ["a"]


def test_a_search_has_a_bound_and_is_told_while_it_goes_on(tmp_path, monkeypatch):
    for number in range(40):
        (tmp_path / f"{number}.txt").touch()
    (tmp_path / "a.jpg").write_bytes(saved(format="JPEG"))
    monkeypatch.setattr(folder, "_PROGRESS_EVERY", 10)
    seen = []
    open_source(tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(10, 0), (20, 0), (30, 0), (40, 0), (1, 1)]
    monkeypatch.setattr(folder, "MAX_FILES", 30)
    with pytest.raises(DatasetError, match="more than 30 files"):
        open_source(tmp_path)


def test_depth_has_a_bound_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "MAX_DEPTH", 2)
    deep = tmp_path / "1" / "2" / "3"
    deep.mkdir(parents=True)
    (deep / "a.jpg").write_bytes(saved(format="JPEG"))
    (tmp_path / "1" / "2" / "b.jpg").write_bytes(saved(format="JPEG"))
    source = open_source(tmp_path)
    assert [photo.id for photo in source.photos] == ["1/2/b"]
    assert [item.path for item in source.skipped] == [deep]


def test_a_search_ends_at_once_when_it_is_stopped(tmp_path):
    class StopNow(BaseException):
        pass

    def stop(_done: int, _total: int) -> None:
        raise StopNow

    for number in range(300):
        (tmp_path / f"{number}.jpg").write_bytes(saved(format="JPEG"))
    with pytest.raises(StopNow):
        open_source(tmp_path, on_progress=stop)
