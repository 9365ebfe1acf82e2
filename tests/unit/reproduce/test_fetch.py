"""Files from a server of this machine."""

import hashlib
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from small_published import serving

from maskdistill.errors import DatasetError
from maskdistill.reproduce.artifacts import DATA, EXPERIMENTS, Artifact
from maskdistill.reproduce.fetch import fetch_all, missing_of

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.md5(CONTENT).hexdigest()
SIZE = len(CONTENT)


def artifact(server, *, md5=DIGEST, num_bytes=SIZE, name="a.bin"):
    return Artifact(
        name="some file",
        url=f"{server.address if server else 'http://127.0.0.1:9'}/{name}",
        place=f"downloads/{name}",
        megabytes=0.01,
        num_bytes=num_bytes,
        md5=md5,
        terms="",
        stated_by="",
    )


def test_file_is_fetched_once_and_checked_once(tmp_path, monkeypatch):
    with serving({"a.bin": CONTENT}) as server:
        item = artifact(server)
        assert missing_of([item], tmp_path) == [item]
        (told,) = fetch_all([item], tmp_path, quiet=True)
        assert DIGEST in told
        assert item.path(tmp_path).read_bytes() == CONTENT
        monkeypatch.setattr("maskdistill.reproduce.fetch._md5", lambda _path: pytest.fail("Checked again."))
        (told,) = fetch_all([item], tmp_path, quiet=True)
        assert "as checked before" in told
        assert len(server.asked) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_transfer_that_breaks_off_goes_on_where_it_was(tmp_path, ranges):
    with serving({"a.bin": CONTENT}, ranges=ranges, break_after=1000) as server:
        fetch_all([artifact(server)], tmp_path, quiet=True)
        assert [asked for _, asked in server.asked] == [None, "bytes=1000-"]
    assert (tmp_path / "downloads/a.bin").read_bytes() == CONTENT
    assert not list(tmp_path.rglob("*.part"))


def test_part_of_an_earlier_start_is_used(tmp_path):
    part = tmp_path / "downloads/a.bin.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT[:5000])
    with serving({"a.bin": CONTENT}) as server:
        fetch_all([artifact(server)], tmp_path, quiet=True)
        assert server.asked == [("/a.bin", "bytes=5000-")]
    assert (tmp_path / "downloads/a.bin").read_bytes() == CONTENT


def test_whole_part_is_taken(tmp_path):
    part = tmp_path / "downloads/a.bin.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT)
    with serving({"a.bin": CONTENT}) as server:
        fetch_all([artifact(server)], tmp_path, quiet=True)
    assert (tmp_path / "downloads/a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(("md5", "fits"), [(DIGEST[:8], True), ("00000000", False), (None, True)])
def test_digest_may_be_known_in_part_or_not_at_all(tmp_path, md5, fits):
    with serving({"a.bin": CONTENT}) as server:
        item = artifact(server, md5=md5)
        if fits:
            assert DIGEST in fetch_all([item], tmp_path, quiet=True)[0]
        else:
            with pytest.raises(DatasetError, match=f"its MD5 is {DIGEST}, wanted 00000000"):
                fetch_all([item], tmp_path, quiet=True)


def test_digest_of_the_first_fetch_holds_for_the_next(tmp_path):
    with serving({"a.bin": CONTENT}) as server:
        item = artifact(server, md5=None, num_bytes=None)
        fetch_all([item], tmp_path, quiet=True)
        item.path(tmp_path).write_bytes(b"another")
        with pytest.raises(DatasetError, match="is not the file that"):
            fetch_all([item], tmp_path, quiet=True)


def test_without_a_server_every_missing_file_and_its_place_is_named(tmp_path):
    items = [artifact(None, name=name) for name in ("a.bin", "b.bin")]
    with pytest.raises(DatasetError) as caught:
        fetch_all(items, tmp_path, quiet=True)
    for item in items:
        assert f"{item.url} (0 MB) as {item.path(tmp_path)}" in str(caught.value)


def test_server_without_the_file(tmp_path):
    with serving({}) as server, pytest.raises(DatasetError, match="the server answers 404"):
        fetch_all([artifact(server)], tmp_path, quiet=True)


def test_too_little_disk_is_said_before_anything_is_fetched(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(0, 0, 100_000))
    with serving({"a.bin": CONTENT}) as server:
        with pytest.raises(DatasetError, match=r"has 0 MB free.*--root"):
            fetch_all([artifact(server)], tmp_path, quiet=True)
        assert server.asked == []


def test_file_put_by_hand_is_enough(tmp_path):
    item = artifact(None)
    item.path(tmp_path).parent.mkdir()
    item.path(tmp_path).write_bytes(CONTENT)
    assert DIGEST in fetch_all([item], tmp_path, quiet=True)[0]


def test_digest_of_voc_is_that_of_torchvision():
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    stated = DATASET_YEAR_DICT["2012"]
    (voc,) = DATA["voc"]
    assert (voc.md5, Path(voc.url).name) == (stated["md5"], stated["filename"])  # the host has moved between versions


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_file_has_an_address_a_size_and_terms(experiment):
    for item in DATA[experiment]:
        assert item.url.startswith(("https://", "http://images.cocodataset.org/"))
        assert item.megabytes > 0
        assert item.terms
        assert item.num_bytes is None or round(item.num_bytes / 1e6, 1) == item.megabytes
