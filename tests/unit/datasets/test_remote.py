"""Photos on other machines: fetched with patience, kept within bounds, and no signature of theirs written anywhere."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from photo_server import SECRET, Handler, picture

from maskdistill.datasets import open_source, read_photo, remote
from maskdistill.datasets.photo_table import written_place
from maskdistill.datasets.remote import RemoteError, cache_folder, fetch
from maskdistill.errors import ConfigError, DatasetError
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import photos_of, write_images


def test_list_on_another_machine(served):
    folder, address, server = served
    (folder / "d").mkdir()
    for number in range(3):
        (folder / "d" / f"{number}.png").write_bytes(picture(number * 20))
    pd.DataFrame({"path": ["d/0.png", "d/1.png", f"{address}/d/2.png", "d/gone.png", "../up.png"]}).to_csv(
        folder / "photos.csv"
    )
    source = open_source(f"{address}/photos.csv")
    assert [photo.id for photo in source.photos] == ["d/0", "d/1", "d/2"]
    assert source.spec == f"{address}/photos.csv"
    assert [np.asarray(read_photo(photo)).mean() for photo in source.photos] == [0, 20, 40]
    reasons = [item.reason for item in source.skipped]
    assert "There is no such object (HTTP 404)." in reasons
    assert "no path that may be used" in reasons[0]
    assert len([path for _, path in server.asked if path.endswith("1.png")]) == 1, "it was kept"


def test_local_list_of_photos_here_and_there(served, tmp_path):
    folder, address, _ = served
    (folder / "a.png").write_bytes(picture(10))
    (tmp_path / "b.png").write_bytes(picture(20))
    listed = tmp_path / "photos.txt"
    listed.write_text(f"{address}/a.png\tval\nb.png\n")
    source = open_source(listed)
    assert [photo.split for photo in source.photos] == ["val", None]
    assert len({photo.id for photo in source.photos}) == 2
    assert [np.asarray(read_photo(photo)).mean() for photo in source.photos] == [10, 20]


def test_what_was_read_is_not_asked_for_again_and_what_failed_is(served, tmp_path):
    folder, address, server = served
    (folder / "a.png").write_bytes(picture(10))
    listed = tmp_path / "photos.txt"
    listed.write_text(f"{address}/a.png\n{address}/late.png\n")
    first = open_source(listed)
    first.seen.write(tmp_path / "seen.parquet")
    (folder / "late.png").write_bytes(picture(30))
    server.asked.clear()
    again = open_source(listed, seen=tmp_path / "seen.parquet")
    assert [photo.path.name for photo in again.photos] == ["a.png", "late.png"]
    assert [path for _, path in server.asked] == ["/late.png"]


@pytest.mark.parametrize("how", [503, 500, 429, "cut"])
def test_passing_trouble_is_waited_out(served, how):
    folder, address, server = served
    (folder / "a.png").write_bytes(picture(10))
    server.broken, server.how = 3, how
    assert fetch(f"{address}/a.png").read_bytes() == picture(10)
    server.broken = 4
    with pytest.raises(RemoteError, match="it was tried 4 times"):
        fetch(f"{address}/b.png")


@pytest.mark.parametrize("code", [401, 403, 404])
def test_final_answers_are_not_asked_for_again(served, code):
    _, address, server = served
    server.broken, server.how = 9, code
    with pytest.raises(RemoteError, match=f"HTTP {code}"):
        fetch(f"{address}/a.png?X-Amz-Signature={SECRET}")
    assert len(server.asked) == 1


def test_no_server(served):
    with pytest.raises(RemoteError, match="cannot be reached") as found:
        fetch(f"http://127.0.0.1:1/a.png?sig={SECRET}")
    assert SECRET not in str(found.value)


def test_web_page_in_place_of_a_photo_is_skipped(served, tmp_path):
    folder, address, _ = served
    (folder / "a.png").write_bytes(b"<html>please log in</html>")
    (folder / "b.png").write_bytes(picture(1))
    listed = tmp_path / "photos.txt"
    listed.write_text(f"{address}/a.png\n{address}/b.png\n")
    assert "web page" in open_source(listed).skipped[0].reason


@pytest.mark.parametrize("ranges", [True, False])
def test_tar_files_on_another_machine(served, monkeypatch, ranges):
    folder, address, server = served
    monkeypatch.setattr(Handler, "ranges", ranges)
    for shard in range(2):
        with tarfile.open(folder / f"train-{shard:03d}.tar", "w") as tar:
            for number in range(2):
                content = picture(shard * 100 + number * 30)
                info = tarfile.TarInfo(f"{shard}/{number}.png")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    source = open_source(f"{address}/train-{{000..002}}.tar")
    assert [photo.id for photo in source.photos] == ["0/0", "0/1", "1/0", "1/1"]
    assert [photo.split for photo in source.photos] == ["train"] * 4
    assert [item.path.name for item in source.skipped] == ["train-002.tar"]
    values = [0, 30, 100, 130]
    assert [np.asarray(read_photo(photo)).mean() for photo in source.photos] == values
    for path in cache_folder().glob("*/*"):
        path.unlink()
    server.asked.clear()
    assert [np.asarray(read_photo(photo)).mean() for photo in source.photos] == values
    assert len(server.asked) == 4
    kept = sum(path.stat().st_size for path in cache_folder().glob("*/*"))
    assert kept == sum(photo.place.size for photo in source.photos), "pieces, not whole archives"


@pytest.mark.parametrize("heads", [True, False])
def test_tar_that_changed_is_indexed_again(served, tmp_path, monkeypatch, heads):
    folder, address, _ = served
    monkeypatch.setattr(Handler, "heads", heads)
    seen = tmp_path / "seen.parquet"
    for value in (10, 20):
        with tarfile.open(folder / "x.tar", "w") as tar:
            for number in range(value // 10):
                info = tarfile.TarInfo(f"{number}.png")
                info.size = len(picture(value))
                tar.addfile(info, io.BytesIO(picture(value)))
        source = open_source(f"{address}/x.tar", seen=seen)
        source.seen.write(seen)
        assert [np.asarray(read_photo(photo)).mean() for photo in source.photos] == [value] * (value // 10)


def test_stamps_by_either_way_of_asking_are_the_same(served, monkeypatch):
    folder, address, _ = served
    (folder / "x.tar").write_bytes(b"x" * 700)
    os.utime(folder / "x.tar", (1e9, 1e9))
    first = remote.stamp(f"{address}/x.tar")
    monkeypatch.setattr(Handler, "heads", False)
    assert remote.stamp(f"{address}/x.tar") == first == ["700", first[1], "", ""]
    (folder / "x.tar").write_bytes(b"x" * 700)
    assert remote.stamp(f"{address}/x.tar") != remote.stamp(f"{address}/x.tar"), "it was changed just now"


def test_signatures_are_written_nowhere(served, tmp_path, monkeypatch, capsys):
    folder, address, server = served
    names = ["a.png", "b.png"]
    for number, name in enumerate(names):
        (folder / name).write_bytes(picture(number))
    query = f"X-Amz-Signature={SECRET}"
    signed = [f"{address}/{name}?{query}" for name in [*names, "gone.png"]]
    (folder / "photos.txt").write_text(
        "\n".join([*signed, f"{address.replace('//', f'//me:{SECRET}@')}/../x.png?{query}"])
    )
    run = Run(tmp_path / "run")
    source = open_source(f"{address}/photos.txt?{query}", seen=run.seen_path)
    assert f"/a.png?{query}" in [path for _, path in server.asked], "it is asked for with its signature"
    run.path.mkdir()
    source.seen.write(run.seen_path)
    write_images(run, source)
    run.write_info({"data": source.spec})
    for path in run.path.rglob("*"):
        assert SECRET.encode() not in path.read_bytes(), path
    for table in (run.images_path, run.seen_path):
        assert SECRET not in pd.read_parquet(table).to_string()
    assert SECRET not in json.dumps([source.spec, [item.reason for item in source.skipped], str(source.skipped)])
    assert [photo.place for photo in photos_of(run)] == [written_place(photo.place) for photo in source.photos]
    assert np.asarray(read_photo(photos_of(run)[1])).mean() == 1, "the cache has it, whatever the signature was"
    for path in cache_folder().glob("*/*"):
        path.unlink()
    again = open_source(f"{address}/photos.txt?{query}", seen=run.seen_path)
    assert again.fingerprint == source.fingerprint
    server.asked.clear()
    read_photo(again.photos[0])
    assert server.asked == [("GET", f"/a.png?{query}")], "the signature comes from the list"


def test_cache_keeps_its_bounds_and_drops_what_was_used_longest_ago(served, monkeypatch):
    folder, address, _ = served
    for number in range(10):
        (folder / f"{number}").write_bytes(b"x" * 1000)
    monkeypatch.setenv(remote.SIZE_VARIABLE, "0.0000045")  # 4,500 bytes
    monkeypatch.setattr(remote, "_shelf", remote._Shelf())
    monkeypatch.setattr(remote, "_TOUCH_AFTER", -1.0)
    for number in range(10):
        fetch(f"{address}/{number}")
        fetch(f"{address}/0")
        assert sum(path.stat().st_size for path in cache_folder().glob("*/*")) <= 4500
    assert remote.kept_path(f"{address}/0").exists()
    assert not remote.kept_path(f"{address}/1").exists()
    (folder / "large").write_bytes(b"x" * 9000)
    with pytest.raises(RemoteError, match="larger than the cache"):
        fetch(f"{address}/large")


@pytest.mark.parametrize("value", ["none", "0", "-1", "inf", "nan"])
def test_size_of_the_cache_that_is_no_size(monkeypatch, value):
    monkeypatch.setenv(remote.SIZE_VARIABLE, value)
    with pytest.raises(ConfigError, match=remote.SIZE_VARIABLE):
        remote.cache_bytes()


def test_server_for_some_folders_opens_no_address(served, tmp_path, monkeypatch):
    folder, address, server = served
    (folder / "a.png").write_bytes(picture(1))
    monkeypatch.setenv("MASKDISTILL_ROOTS", str(tmp_path))
    (tmp_path / "photos.txt").write_text(f"{address}/a.png\n")
    for spec in (f"{address}/photos.txt", str(tmp_path / "photos.txt")):
        with pytest.raises(DatasetError):
            open_source(spec)
    with pytest.raises(RemoteError, match="own folders only"):
        fetch(f"{address}/a.png")
    assert server.asked == []


def test_where_nothing_may_be_fetched_only_the_cache_is_read(served, tmp_path, monkeypatch):
    folder, address, server = served
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(picture(7))
    fetch(f"{address}/a.png")
    server.asked.clear()
    monkeypatch.setenv(remote.ALLOW_VARIABLE, "off")
    (tmp_path / "photos.txt").write_text(f"{address}/a.png\n{address}/b.png\n")
    source = open_source(tmp_path / "photos.txt")
    assert [photo.path.name for photo in source.photos] == ["a.png"]
    assert "fetch nothing from other machines" in source.skipped[0].reason
    for spec in ("photos.txt", "x.tar"):
        with pytest.raises(DatasetError, match="fetch nothing"):
            open_source(f"{address}/{spec}")
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "said"),
    [("a.png", "is one photo"), ("folder/", "cannot be searched"), ("no.txt", "404.*Check the address")],
)
def test_addresses_of_other_things(served, name, said):
    with pytest.raises(DatasetError, match=said):
        open_source(f"{served[1]}/{name}")


def test_nothing_else_imports_fsspec(served):
    root = Path(remote.__file__).parents[1]
    found = [path.name for path in root.rglob("*.py") if "import fsspec" in path.read_text(encoding="utf-8")]
    assert found == ["remote.py"]


def test_the_server_of_the_pages_forbids_it_for_itself_and_its_jobs():
    code = "import os\nfrom app import server\nserver.guard()\nprint(os.environ['MASKDISTILL_REMOTE'])"
    for given, wanted in ((None, "off"), ("on", "on")):
        environment = {name: value for name, value in os.environ.items() if name != remote.ALLOW_VARIABLE}
        if given is not None:
            environment[remote.ALLOW_VARIABLE] = given
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(remote.__file__).parents[2]), *sys.path])
        said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert said.stdout.split()[-1] == wanted
