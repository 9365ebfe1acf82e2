"""Photos in tar files: found by an index, read where they lie; and archives that somebody else made, or spoiled."""

import gzip
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskdistill.datasets import open_source, read_photo, scanning, seen_files, shards
from maskdistill.datasets.photo_table import PhotoTable
from maskdistill.datasets.scanning import digest_file
from maskdistill.datasets.shards import expand_braces, find_shards
from maskdistill.datasets.tar_index import list_members
from maskdistill.errors import DatasetError


def picture(value, kind="PNG", size=(20, 30)):
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def pack(path, files, format=tarfile.GNU_FORMAT):
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def settled(monkeypatch):
    """Files that were written just now count as old."""
    monkeypatch.setattr(seen_files, "_SETTLED_NS", -(10**12))
    monkeypatch.setattr(shards, "_SETTLED_NS", -(10**12))


@pytest.fixture
def folder(tmp_path):
    tars = tmp_path / "tars"
    tars.mkdir()
    pack(tars / "train-000000.tar", {"a/1.png": picture(10), "a/2.jpg": picture(20, "JPEG"), "a/1.json": b"{}"})
    pack(tars / "train-000001.tar", {"b/1.webp": picture(30, "WEBP"), "a/2.jpg": picture(40, "JPEG")})
    pack(tars / "val-000000.tar", {"c.d.png": picture(50)})
    return tars


def test_folder_of_tars(folder):
    source = open_source(folder)
    assert [photo.id for photo in source.photos] == ["a/1", "train-000000/a/2", "b/1", "train-000001/a/2", "c.d"]
    assert [photo.split for photo in source.photos] == ["train"] * 4 + ["val"]
    assert source.skipped == ()
    assert source.file_name(source.photos[0]) == "train-000000.tar/a/1.png"
    values = [np.asarray(read_photo(photo)).mean() for photo in source.photos]
    assert values == pytest.approx([10, 20, 30, 40, 50], abs=2)
    assert [digest_file(photo.path, photo.place) == photo.digest for photo in source.photos] == [True] * 5
    assert pickle.loads(pickle.dumps(source.photos)) == source.photos == tuple(PhotoTable(source.seen.photos))


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "WEBP", "PNG", "JPEG", "AVIF"])
def test_every_kind_of_picture_is_read_from_inside(tmp_path, kind):
    content = picture(77, kind)
    path = pack(tmp_path / "x.tar", {"0.txt": b"before", f"a.{kind.lower()}": content, "z.txt": b"behind"})
    (tmp_path / f"a.{kind.lower()}").write_bytes(content)
    (photo,) = open_source(path).photos
    assert np.array_equal(read_photo(photo), read_photo(tmp_path / f"a.{kind.lower()}"))


def test_content_counts_and_not_the_archive(folder, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "x.png").write_bytes(picture(10))
    plain, packed = open_source(tmp_path / "plain").photos[0], open_source(folder).photos[0]
    assert plain.digest == packed.digest


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("train-{000000..000001}.tar", 4),
        ("{train,val}-000000.tar", 3),
        ("train-*.tar", 4),
        ("val-000000.tar", 1),
        ("?al-*.tar", 1),
    ],
)
def test_ways_to_name_them(folder, given, number):
    assert len(open_source(folder / given).photos) == number


def test_shard_of_a_range_that_is_not_there_is_left_out_by_name(folder):
    source = open_source(folder / "train-{000000..000003}.tar")
    assert len(source.photos) == 4
    assert [item.path.name for item in source.skipped] == ["train-000002.tar", "train-000003.tar"]


def test_braces():
    assert list(expand_braces("a-{08..11}.tar")) == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert list(expand_braces("{a,b}-{0..1}.tar")) == ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]
    for text, said in (("{3..1}", "counts down"), ("{x}", "is no range"), ("{0..99999999}", "more than 100,000")):
        with pytest.raises(DatasetError, match=said):
            list(expand_braces(text))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("no-{0..3}.tar", "None of the 4 files"),
        ("no-*.tar", "is called like"),
        ("{0..9}{0..9}{0..9999}.tar", "more"),
    ],
)
def test_names_of_nothing(folder, given, said):
    with pytest.raises(DatasetError, match=said):
        open_source(folder / given)


def test_folder_with_pictures_beside_tars_is_a_folder_of_pictures(folder):
    (folder / "x.png").write_bytes(picture(1))
    assert find_shards(folder) == ()
    assert [photo.id for photo in open_source(folder).photos] == ["x"]


def test_labels_beside_photos_are_not_photos(tmp_path):
    files = {"1.png": picture(1), "1.jpg": picture(2, "JPEG"), "1.seg.png": picture(3), "2.cls": b"7"}
    source = open_source(pack(tmp_path / "x.tar", files | {"v1.2.jpg": picture(4, "JPEG")}))
    assert [photo.id for photo in source.photos] == ["1", "v1.2"]
    assert read_photo(source.photos[0]).getpixel((0, 0))[0] == pytest.approx(2, abs=2)
    assert [item.what for item in source.skipped] == ["label"]
    assert "2 pictures" in source.skipped[0].reason


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_places_are_those_that_tarfile_finds(tmp_path, format):
    names = ["short.png", "d/" * 40 + "long.png", "ümlaut/käse.png"]
    if format != tarfile.USTAR_FORMAT:
        names.append("x" * 240 + ".png")
    path = pack(tmp_path / "x.tar", {name: picture(n) for n, name in enumerate(names)}, format)
    with path.open("rb") as file:
        found = {member.name: (member.start, member.size) for member in list_members(file)}
    with tarfile.open(path) as tar:
        assert found == {info.name: (info.offset_data, info.size) for info in tar.getmembers()}
    assert len(open_source(path).photos) == len(names)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_compressed_archive_is_refused_with_the_remedy(tmp_path, kind):
    path = tmp_path / f"x.tar.{kind}"
    with tarfile.open(path, f"w:{kind}") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
    with pytest.raises(DatasetError, match="is compressed .*unzip|unxz|bunzip2"):
        open_source(path)


def test_broken_members_are_skipped_with_their_reason(tmp_path):
    whole = picture(5)
    files = {"cut.png": whole[:-20], "text.jpg": b"no picture", "empty.png": b"", "good.png": whole, "._x.png": b"mac"}
    source = open_source(pack(tmp_path / "x.tar", files))
    assert [photo.id for photo in source.photos] == ["good"]
    assert {item.path.name: item.reason.split(".")[0] for item in source.skipped} == {
        "cut.png": "The file is cut off before the end of the picture; copy it again",
        "text.jpg": "It is not a JPEG, PNG, WebP, BMP or TIFF picture, whatever its name says; save it as JPEG or PNG",
        "empty.png": "The file is empty (0 bytes); copy it again",
    }


def test_names_that_lead_out_and_links_are_never_photos(tmp_path):
    (tmp_path / "secret.png").write_bytes(picture(99))
    files = {"../secret.png": picture(1), "/etc/x.png": picture(2), "a/../../y.png": picture(3), "good.png": picture(4)}
    files |= {"link.png": "../secret.png", "./deep/./z.png": picture(5)}
    path = pack(tmp_path / "x.tar", files)
    source = open_source(path)
    assert [photo.id for photo in source.photos] == ["good", "deep/z"]
    assert len(source.skipped) == 4
    for item in (*source.skipped, *source.photos):
        assert item.path.is_relative_to(path)
        assert ".." not in item.path.parts
        assert not item.path.exists()


def header(name, size, kind=b"0"):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (header("big.png", 10**12), "ends in the middle"),
        (header("big.png", 10**12) + b"x" * 700, "ends in the middle"),
        (header("long", 2**40, b"L"), "larger than any name"),
        (header("pax", 2**30, b"x"), "larger than any name"),
        (header("pax", 512, b"x") + b"9999999999 path=x\n".ljust(512, b"\0"), "pax header"),
        (header("pax", 14, b"x") + b"14 size=-5555\n".ljust(512, b"\0") + header("x.png", 3), "no number"),
        (b"\1" * 512, "no header"),
        (b"".join(header("l", 10, b"L") + b"name".ljust(512, b"\0") for _ in range(40)), "larger than any name"),
    ],
)
def test_archive_that_lies_gives_what_stands_before_the_lie(tmp_path, more, said):
    path = pack(tmp_path / "x.tar", {"good.png": picture(4)})
    sound = path.read_bytes().rstrip(b"\0")
    path.write_bytes(sound.ljust(-(-len(sound) // 512) * 512, b"\0") + more)
    source = open_source(path)
    assert [photo.id for photo in source.photos] == ["good"]
    assert any(said in item.reason for item in source.skipped)


def test_every_shortened_archive_is_read_or_refused(tmp_path):
    path = pack(tmp_path / "x.tar", {f"{n}.png": picture(n) for n in range(3)}, tarfile.PAX_FORMAT)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        try:
            source = open_source(path)
        except DatasetError:
            continue
        assert {photo.id for photo in source.photos} <= {"0", "1", "2"}
        for photo in source.photos:
            read_photo(photo)


def test_random_bytes_in_headers_raise_nothing_else(tmp_path):
    path = pack(tmp_path / "x.tar", {f"{n}.png": picture(n) for n in range(3)}, tarfile.PAX_FORMAT)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    for _ in range(150):
        spoiled = whole.copy()
        places = generator.integers(0, len(spoiled), 6)
        spoiled[places] = generator.integers(0, 256, 6)
        path.write_bytes(spoiled.tobytes())
        try:
            for photo in open_source(path).photos:
                read_photo(photo)
        except DatasetError:
            continue


@pytest.mark.usefixtures("settled")
def test_index_is_kept_until_a_shard_changes(folder, tmp_path, monkeypatch):
    first = open_source(folder)
    seen = tmp_path / "seen.parquet"
    first.seen.write(seen)
    with monkeypatch.context() as patch:
        patch.setattr(shards, "list_members", lambda _: pytest.fail("it was indexed again"))
        patch.setattr(scanning, "inspect_image", lambda *_: pytest.fail("it was read again"))
        assert open_source(folder, seen=seen) == first
    pack(folder / "val-000000.tar", {"new.png": picture(7), "c.d.png": picture(50)})
    read = []
    monkeypatch.setattr(scanning, "inspect_image", lambda path, place: read.append(path.name) or (20, 30))
    again = open_source(folder, seen=seen)
    assert sorted(read) == ["c.d.png", "new.png"]
    assert [photo.id for photo in again.photos][-2:] == ["new", "c.d"]
    monkeypatch.undo()
    assert again == open_source(folder)


def test_shard_that_got_shorter_says_so_when_a_photo_is_read(folder):
    photo = open_source(folder).photos[1]
    path = Path(photo.place.file)
    path.write_bytes(path.read_bytes()[: photo.place.start + 10])
    with pytest.raises(DatasetError, match="shorter than it was"):
        read_photo(photo)


def test_gzipped_under_a_plain_name(tmp_path):
    (tmp_path / "x.tar").write_bytes(gzip.compress(pack(tmp_path / "y.tar", {"a.png": picture(1)}).read_bytes()))
    with pytest.raises(DatasetError, match="gunzip"):
        open_source(tmp_path / "x.tar")


def test_archives_outside_of_the_roots_are_not_opened(folder, tmp_path, monkeypatch):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "x-0.tar").symlink_to(folder / "val-000000.tar")
    pack(inside / "x-1.tar", {"a.png": picture(1)})
    monkeypatch.setenv("MASKDISTILL_ROOTS", str(inside))
    source = open_source(inside / "x-{0..1}.tar")
    assert [photo.id for photo in source.photos] == ["a"]
    assert "leads out" in source.skipped[0].reason
