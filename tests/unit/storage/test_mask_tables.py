"""Masks as a table: the same as the COCO file that it stands for, which is no more than a copy."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maskdistill.datasets import Photo, PhotoSource
from maskdistill.errors import RunError
from maskdistill.masks import describe_mask
from maskdistill.stages.merge import merge_results
from maskdistill.storage import mask_store, mask_tables
from maskdistill.storage.mask_store import MaskCodes, read_masks
from maskdistill.storage.mask_tables import coded_table, has_masks
from maskdistill.storage.read_files import DamagedFileError
from maskdistill.storage.run_folder import Run, write_table

SIZES = [(20, 30), (12, 16), (20, 30)]


def annotation(number, rank, **more):
    mask = np.zeros(SIZES[number], bool)
    mask[rank : rank + 4, 2 : 9 + number] = True
    parts = {"contrast": 0.25, "area": 1 / 3} if rank else {"contrast": 0.5}
    about = {"id": number * 10 + rank, "image_id": number, "category_id": 1, **describe_mask(mask)}
    return {**about, "score": 0.1 + 0.1 * rank, "parts": parts, **more}


RESULTS = [
    {"number": 0, "annotations": [annotation(0, 0, pool=3), annotation(0, 1, pool=-1)], "problem": None, "error": None},
    {"number": 1, "annotations": [], "problem": "No object.", "error": None},
    {
        "number": 2,
        "annotations": [annotation(2, 1, pool=7, mended=True, category="Käse"), annotation(2, 0)],
        "problem": "Odd.",
        "error": None,
    },
]


@pytest.fixture
def run(tmp_path):
    return write(tmp_path / "run")


def write(folder):
    run = Run(folder)
    folder.mkdir()
    photos = [Photo(f"p/{n}", folder / "d" / f"p/{n}.jpg", *size, f"{n}" * 4) for n, size in enumerate(SIZES)]
    merge_results(run, PhotoSource("folder", "d", folder / "d", tuple(photos)), RESULTS)
    return run


def test_table_gives_back_what_the_coco_file_holds(run):
    whole = json.loads(run.proposals_path.read_text())
    run.proposals_path.unlink()
    found = read_masks(run.proposals_path)
    assert found["annotations"] == whole["annotations"] == [item for r in RESULTS for item in r["annotations"]]
    assert found["images"] == whole["images"]
    assert found["categories"] == whole["categories"]
    assert has_masks(run.proposals_path)


def test_codes_by_table_and_by_coco_file_are_the_same(run, tmp_path):
    by_table = MaskCodes.open(run, "proposals")
    table = pd.read_parquet(run.cut_masks_path).drop(columns=["counts"])
    other = write(tmp_path / "other")
    write_table(other.cut_masks_path, table)  # as runs of earlier versions are
    assert coded_table(other.proposals_path) is None
    by_file = MaskCodes.open(other, "proposals")
    assert by_table.ids.tolist() == by_file.ids.tolist() == [0, 1, 20, 21]
    for mask_id in by_table.ids.tolist():
        assert (by_table.code(mask_id), by_table.box(mask_id)) == (by_file.code(mask_id), by_file.box(mask_id))
    assert (by_table.images == by_file.images).all()


def test_people_see_the_table_without_codes(run):
    assert not {"counts", "pixels"} & set(run.masks().columns)
    assert {"mask_id", "image_id", "rank", "score", "area", "bbox_x", "part_contrast", "pool"} <= set(run.masks())


def test_many_masks_are_not_written_as_coco(run, tmp_path, monkeypatch):
    monkeypatch.setattr(mask_tables, "MOST_IN_JSON", 3)
    other = write(tmp_path / "many")
    assert not other.proposals_path.exists()
    assert read_masks(other.proposals_path)["annotations"] == read_masks(run.proposals_path)["annotations"]
    monkeypatch.setattr(mask_tables, "MOST_IN_JSON", 4)
    merge_results(other, PhotoSource("folder", "d", None, run_photos(run)), RESULTS)
    assert other.proposals_path.exists()


def test_copy_of_more_masks_than_that_does_not_stay_behind(run, monkeypatch):
    monkeypatch.setattr(mask_tables, "MOST_IN_JSON", 3)
    merge_results(run, PhotoSource("folder", "d", None, run_photos(run)), RESULTS)
    assert not run.proposals_path.exists()


def run_photos(run):
    return tuple(Photo(f"p/{n}", run.path / f"{n}.jpg", *size, f"{n}" * 4) for n, size in enumerate(SIZES))


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("counts", ["", "0", "x", "y"], "masks.parquet is damaged \\(mask 0"),
        ("height", [20, 20, 21, 20], "mask 21: |has 21 x 30 pixels, its photo 20 x 30"),
        ("image", [0, 0, 9, 2], "mask 21 is of no photo"),
        ("mask_id", [0, 0, 20, 21], "two masks have one id"),
        ("counts", [None, "0", "x", "y"], "column 'counts'"),
        ("bbox_x", [0.5, 0, 0, 0], "damaged"),
    ],
)
def test_damaged_codes_are_refused(run, column, values, said):
    table = pd.read_parquet(run.cut_masks_path)
    write_table(run.cut_masks_path, table.assign(**{column: values}))
    with pytest.raises(DamagedFileError, match=said):
        MaskCodes.open(run, "proposals")


def test_cut_table_is_refused_though_the_copy_is_whole(run):
    run.cut_masks_path.write_bytes(run.cut_masks_path.read_bytes()[:-50])
    with pytest.raises(RunError, match="masks.parquet is damaged"):
        MaskCodes.open(run, "proposals")


def test_changed_table_makes_a_new_quick_copy(run, monkeypatch):
    MaskCodes.open(run, "proposals")
    monkeypatch.setattr(mask_store, "_check_codes", lambda *_: pytest.fail("the copy is there"))
    MaskCodes.open(run, "proposals")
    monkeypatch.undo()
    table = pd.read_parquet(run.cut_masks_path)
    write_table(run.cut_masks_path, table[table["mask_id"] != 20])
    assert MaskCodes.open(run, "proposals").ids.tolist() == [0, 1, 21]


def test_quick_copy_of_a_table_in_many_parts_is_found_again(run, monkeypatch):
    table = pa.Table.from_pandas(pd.read_parquet(run.cut_masks_path), preserve_index=False)
    pq.write_table(table, run.cut_masks_path, row_group_size=1)
    first = MaskCodes.open(run, "proposals")
    monkeypatch.setattr(mask_store, "_check_codes", lambda *_: pytest.fail("the copy is there"))
    again = MaskCodes.open(run, "proposals")
    assert [again.code(mask_id) for mask_id in again.ids] == [first.code(mask_id) for mask_id in first.ids]


def test_no_masks_at_all(tmp_path):
    run = Run(tmp_path)
    photos = tuple(Photo(f"{n}", tmp_path / f"{n}.jpg", 4, 5, "d") for n in range(2))
    results = [{"number": n, "annotations": [], "problem": None, "error": None} for n in range(2)]
    merge_results(run, PhotoSource("folder", "d", tmp_path, photos), results)
    assert (len(run.masks()), len(MaskCodes.open(run, "proposals"))) == (0, 0)
    assert read_masks(run.proposals_path)["annotations"] == []
