"""What pages and estimates say of a source: found once, without making an object of each photo of a table."""

from pathlib import Path

import pyarrow as pa
import pytest

from maskdistill.datasets import Photo, PhotoSource, photo_table
from maskdistill.datasets.photo_table import PhotoTable
from maskdistill.datasets.seen_files import SCHEMA
from maskdistill.datasets.splits import num_training, training_numbers

CELLS = [("a", 20, 30, "val"), ("b", 20, 30, "train"), ("c", 8, 9, None), ("d", 30, 20, "train")]


def as_table(photos):
    columns = {name: [getattr(photo, name, None) for photo in photos] for name in SCHEMA.names}
    columns["path"] = [str(photo.path).encode() for photo in photos]
    return PhotoTable(pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA))


@pytest.fixture(params=[tuple, as_table], ids=["objects", "table"])
def source(request):
    photos = [Photo(id, Path(f"/p/{id}.jpg"), height, width, id, split) for id, height, width, split in CELLS]
    return PhotoSource("folder", "/p", Path("/p"), request.param(photos))


def test_counts_and_shapes(source):
    assert source.split_counts == {"train": 2, "val": 1}
    assert list(source.split_counts) == ["train", "val"] == list(source.splits)
    assert source.shapes == {(20, 30), (8, 9), (30, 20)}


def test_training_is_the_split_of_that_name_or_all_photos(source):
    assert training_numbers(source) == [1, 3]
    assert num_training(source) == 2
    few = source.limited(1)
    assert training_numbers(few) == [0]
    assert num_training(few) == 1


def test_they_are_found_once_and_no_photo_is_made(source, monkeypatch):
    monkeypatch.setattr(PhotoTable, "__iter__", lambda _: pytest.fail("photos were made"))
    first = source.split_counts, source.shapes
    monkeypatch.setattr(photo_table, "values_of", lambda *_: pytest.fail("they were looked through again"))
    assert (source.split_counts, source.shapes, num_training(source)) == (*first, 2)
