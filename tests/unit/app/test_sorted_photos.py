"""The photos of the Proposals page in their orders, whether they are few or a table of many."""

import os
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from app.run_context import RunContext, sorted_photos
from maskdistill.datasets import Photo
from maskdistill.datasets.photo_table import COLUMNS, PhotoTable, number_of

PHOTOS = tuple(Photo(id, Path(f"{id}.png"), 20, 30, f"digest {id}") for id in "abcde")
SCORES = {"a": 0.5, "b": 0.9, "d": 0.5, "e": 0.1}  # of c there is no mask
ORDERS = {"order": "abcde", "worst": "ceadb", "best": "badec"}


def as_table(photos):
    cells = {name: [getattr(photo, name, None) for photo in photos] for name in COLUMNS}
    cells["path"] = [os.fsencode(photo.path) for photo in photos]
    return PhotoTable(pa.table(cells))


def context_of(photos, scores=SCORES):
    return RunContext(None, SimpleNamespace(photos=photos), None, scores)


@pytest.mark.parametrize("kind", [tuple, as_table])
@pytest.mark.parametrize("sort", ORDERS)
def test_photos_come_by_score_and_equal_ones_as_they_were(kind, sort):
    found = sorted_photos(context_of(kind(PHOTOS)), sort)
    assert "".join(photo.id for photo in found) == ORDERS[sort]
    assert found[1:3] == tuple(PHOTOS["abcde".index(id)] for id in ORDERS[sort][1:3])
    assert number_of(found, "d") == ORDERS[sort].index("d")


def test_without_scores_the_order_stays():
    assert sorted_photos(context_of(PHOTOS, {}), "best") == PHOTOS


@pytest.mark.parametrize("sort", ORDERS)
def test_of_many_photos_none_is_made_before_it_is_asked_for(sort, monkeypatch):
    made, make = [], PhotoTable._made
    monkeypatch.setattr(PhotoTable, "_made", staticmethod(lambda rows: made.append(len(rows)) or make(rows)))
    found = sorted_photos(context_of(as_table(PHOTOS)), sort)
    assert (len(found), number_of(found, "c") is not None, made) == (5, True, [])
    assert found[0].id == ORDERS[sort][0]
    assert made == [1]
