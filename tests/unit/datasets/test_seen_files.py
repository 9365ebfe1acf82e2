"""What is remembered of a list of photos: used while nothing changed, and never once something did."""

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from maskdistill.datasets import open_source, photo_table, seen_files
from maskdistill.datasets.photo_table import PhotoTable
from maskdistill.datasets.seen_files import ListState, read_seen, stamp_files

OLD = time.time() - 3600  # when files were changed last: long enough ago to be believed


def draw(path, value=0, size=(40, 50)):
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    os.utime(path, (OLD, OLD))


@pytest.fixture
def listed(tmp_path):
    for number in range(4):
        draw(tmp_path / f"{number}.bmp", number)
    path = tmp_path / "photos.csv"
    path.write_text("path,split\n" + "".join(f"{number}.bmp,train\n" for number in (2, 0, 1)) + "gone.bmp,\n")
    return path


def keep(listed):
    source = open_source(listed)
    source.seen.write(listed.with_name("seen.parquet"), source.fingerprint)
    return source, listed.with_name("seen.parquet")


@pytest.mark.usefixtures("settled")
def test_what_did_not_change_is_not_read_again_and_comes_out_the_same(listed, read):
    before, seen = keep(listed)
    read.clear()
    after = open_source(listed, seen=seen)
    assert read == []
    assert (after, after.fingerprint) == (before, before.fingerprint)
    assert not after.seen.is_new
    assert after.skipped == before.skipped
    assert [photo.split for photo in after.photos] == ["train"] * 3


@pytest.mark.usefixtures("settled")
def test_fingerprint_is_kept_for_the_very_same_photos_alone(listed, monkeypatch):
    before, seen = keep(listed)
    fingerprint = before.fingerprint
    again = open_source(listed, seen=seen)
    limited = again.limited(2)
    with monkeypatch.context() as patch:
        patch.setattr(photo_table, "keys_of", lambda _: pytest.fail("it was made again"))
        assert again.fingerprint == fingerprint
    assert limited.fingerprint == before.limited(2).fingerprint != fingerprint
    draw(listed.with_name("0.bmp"), 99)
    changed = open_source(listed, seen=seen)
    assert changed.fingerprint == open_source(listed).fingerprint != fingerprint
    draw(listed.with_name("0.bmp"))
    listed.write_text(listed.read_text().replace("2.bmp,train\n", ""))
    assert open_source(listed, seen=seen).fingerprint == open_source(listed).fingerprint != fingerprint


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("same_times", [False, True])
def test_changed_photo_is_read_even_where_size_and_time_of_change_are_the_same(listed, read, same_times):
    before, seen = keep(listed)
    fingerprint = before.fingerprint
    path = listed.with_name("0.bmp")
    size = path.stat().st_size
    draw(path, 200)
    assert path.stat().st_size == size, "the test wants a file of the same size"
    if not same_times:
        os.utime(path)
    read.clear()
    after = open_source(listed, seen=seen)
    assert read == ["0.bmp"]
    assert after.seen.is_new
    assert after.fingerprint == open_source(listed).fingerprint != fingerprint


@pytest.mark.usefixtures("settled")
def test_photo_that_is_replaced_comes_back_or_goes(listed, read):
    _, seen = keep(listed)
    draw(listed.with_name("new.bmp"), 9, (30, 20))
    listed.with_name("new.bmp").replace(listed.with_name("1.bmp"))
    listed.with_name("2.bmp").unlink()
    draw(listed.with_name("gone.bmp"), 5)
    read.clear()
    after = open_source(listed, seen=seen)
    assert sorted(read) == ["1.bmp", "2.bmp", "gone.bmp"]
    assert [(photo.id, photo.height) for photo in after.photos] == [("0", 40), ("1", 30), ("gone", 40)]
    assert [item.path.name for item in after.skipped] == ["2.bmp"]
    assert after == open_source(listed)


@pytest.mark.usefixtures("settled")
def test_changed_list_is_read_and_only_photos_that_are_new_to_it(listed, read):
    _, seen = keep(listed)
    listed.write_text("path,split\n3.bmp,val\n2.bmp,val\n")
    read.clear()
    after = open_source(listed, seen=seen)
    assert read == ["3.bmp"]
    assert [(photo.id, photo.split) for photo in after.photos] == [("3", "val"), ("2", "val")]
    assert (after, after.fingerprint) == (open_source(listed), open_source(listed).fingerprint)


def test_files_written_just_now_are_read_again_next_time(listed, read):
    _, seen = keep(listed)  # their entries are of now, whatever their times say
    read.clear()
    open_source(listed, seen=seen)
    assert sorted(read) == ["0.bmp", "1.bmp", "2.bmp"]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", ["cut", "foreign", "later"])
def test_damaged_or_foreign_memory_is_no_memory(listed, read, damage, monkeypatch):
    before, seen = keep(listed)
    if damage == "cut":
        seen.write_bytes(seen.read_bytes()[:-100])
    elif damage == "foreign":
        pd.DataFrame({"path": ["a"]}).to_parquet(seen)
    else:
        monkeypatch.setattr(seen_files, "VERSION", seen_files.VERSION + 1)
    assert read_seen(seen) is None
    assert open_source(listed, seen=seen) == before


@pytest.mark.usefixtures("settled")
def change(seen, **columns):
    table = pq.read_table(seen)
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))
    pq.write_table(table, seen)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "columns",
    [
        {"height": [None] * 4},
        {"width": [0] * 4},
        {"path": [None] * 4},
        {"size": [None] * 4},
        {"reason": [None] * 4},
        {"digest": [None] * 4},
    ],
)
def test_memory_without_what_makes_a_photo_is_none(listed, columns):
    before, seen = keep(listed)
    change(seen, **columns)
    assert read_seen(seen) is None
    assert open_source(listed, seen=seen) == before


def test_pipe_or_folder_in_its_place_is_none(listed):
    before, seen = keep(listed)
    seen.unlink()
    os.mkfifo(seen)
    assert open_source(listed, seen=seen) == before
    seen.unlink()
    seen.mkdir()
    assert open_source(listed, seen=seen) == before


@pytest.mark.usefixtures("settled")
def test_random_bytes_in_the_memory_never_change_what_is_found(listed):
    before, seen = keep(listed)
    fingerprint = before.fingerprint
    whole, generator = np.frombuffer(seen.read_bytes(), np.uint8), np.random.default_rng(0)
    for _ in range(200):
        spoiled = whole.copy()
        places = generator.integers(0, len(spoiled), 3)
        spoiled[places] = generator.integers(0, 256, 3)
        seen.write_bytes(spoiled.tobytes())
        found = open_source(listed, seen=seen)
        assert (found, found.fingerprint) == (before, fingerprint)


def test_memory_of_another_list_or_of_other_roots_names_no_photo(listed, tmp_path, monkeypatch):
    _, seen = keep(listed)
    other = tmp_path / "other.csv"
    other.write_text("path\n3.bmp\n")
    assert [photo.id for photo in open_source(other, seen=seen).photos] == ["3"]
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.setenv("MASKDISTILL_ROOTS", str(inside))
    state = read_seen(seen).state
    moved = inside / "photos.csv"
    moved.write_bytes(listed.read_bytes())
    assert ListState.of(moved).digest == state.digest
    assert ListState.of(moved) != state


def test_stamps_are_the_same_by_one_thread_and_by_many(tmp_path, monkeypatch):
    paths = [tmp_path / f"{number}" for number in range(30)]
    for path in paths[:-1]:
        path.write_text(path.name)
    names = [os.fsencode(path) for path in paths]
    monkeypatch.setattr(seen_files, "_FEW", 3)
    monkeypatch.setattr(seen_files, "_AT_ONCE", 4)
    one = stamp_files(names)
    monkeypatch.setattr(seen_files, "_SLOW", -1.0)
    done = []
    many = stamp_files(names, lambda number, total: done.append((number, total)))
    assert (one == many).all()
    assert (one[-1] == -1).all()
    assert one[2, 0] == 1
    assert done[-1] == (30, 30)


def test_many_photos_are_a_table_which_is_a_sequence(listed, monkeypatch):
    whole = open_source(listed).photos
    assert isinstance(whole, tuple)
    monkeypatch.setattr(photo_table, "FEW", 2)
    photos = open_source(listed).photos
    assert isinstance(photos, PhotoTable)
    assert photos == whole
    assert (photos[1], photos[-1], photos[1:]) == (whole[1], whole[-1], whole[1:])
    assert photos[1] in photos
    assert pickle.loads(pickle.dumps(photos)) == photos
    assert photos[0].path == Path(listed.with_name("2.bmp"))
    with pytest.raises(IndexError):
        photos[3]
