"""Candidates as a table with their codes: the same as candidates.json, which is no more than a copy."""

import json
import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tiny_run import redone, run_chain

from maskdistill.errors import RunError
from maskdistill.exports.run import export_run
from maskdistill.stages.soundness import find_damage
from maskdistill.storage import mask_tables
from maskdistill.storage.mask_store import MaskCodes, read_masks
from maskdistill.storage.mask_tables import coded_table
from maskdistill.storage.read_files import DamagedFileError
from maskdistill.storage.run_folder import Run, write_table

CODES = ["bbox_x", "bbox_y", "bbox_w", "bbox_h", "height", "width", "pixels", "counts"]


@pytest.fixture
def run(finished, tmp_path):
    return Run(shutil.copytree(finished[0].path, tmp_path / "run"))


def as_before(run):
    """Runs of earlier versions have the codes in the COCO file alone."""
    write_table(run.candidates_path, pd.read_parquet(run.candidates_path).drop(columns=CODES))


def test_table_gives_back_what_the_coco_file_holds(run):
    whole = json.loads(run.candidate_masks_path.read_text())
    run.candidate_masks_path.unlink()
    assert read_masks(run.candidate_masks_path) == whole
    assert find_damage(run, "candidates") is None


def test_people_see_the_signals_without_codes(run):
    assert not set(CODES) & set(run.candidates())
    assert {"mask_id", "image", "label", "score"} <= set(run.candidates())


def test_many_candidates_are_not_written_as_coco_and_all_else_is_the_same(finished, run, scene, monkeypatch, tmp_path):
    monkeypatch.setattr(mask_tables, "MOST_IN_JSON", 1)
    run.stage_path("candidates").unlink()
    said = run_chain(run.path, *scene, wanted=("pseudo_labels",))
    assert "candidates" in redone(said)
    assert not run.candidate_masks_path.exists()
    for name in ("candidates.parquet", "kept.parquet", "pseudo_labels.json"):
        assert (run.path / name).read_bytes() == (finished[0].path / name).read_bytes()
    export_run(run, "coco", tmp_path / "candidates", what="candidates")
    copy = tmp_path / "candidates" / "candidates.json"
    assert copy.read_bytes() == finished[0].candidate_masks_path.read_bytes()
    for item, out in ((run, "many"), (finished[0], "few")):
        export_run(item, "coco", tmp_path / out)
    files = [tmp_path / out / "annotations" / "instances.json" for out in ("many", "few")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_photo_without_a_candidate_is_still_judged(run):
    whole = json.loads(run.candidate_masks_path.read_text())
    gone = whole["images"][1]["id"]
    table = pd.read_parquet(run.candidates_path)
    numbers, classes = ([item["id"] for item in whole[name]] for name in ("images", "categories"))
    mask_tables.write_masks(
        run.candidate_masks_path, table[table["image"] != gone], dict, classes=classes, photos=numbers
    )
    found = read_masks(run.candidate_masks_path)
    assert (found["images"], found["categories"]) == (whole["images"], whole["categories"])
    assert gone not in {item["image_id"] for item in found["annotations"]}


def test_runs_of_before_are_read_by_their_coco_file(finished, run):
    as_before(run)
    assert coded_table(run.candidate_masks_path) is None
    assert find_damage(run, "candidates") is None
    ours, theirs = (MaskCodes.open(item, "candidates") for item in (run, finished[0]))
    assert [ours.code(id) for id in ours.ids] == [theirs.code(id) for id in theirs.ids]
    assert (ours.boxes == theirs.boxes).all()
    assert read_masks(run.candidate_masks_path) == read_masks(finished[0].candidate_masks_path)
    run.candidate_masks_path.unlink()
    with pytest.raises(RunError, match="No candidates.json .*: maskdistill train-stage1"):
        MaskCodes.open(run, "candidates")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("counts", "x", "candidates.parquet is damaged .mask"),
        ("height", 3, "candidates.parquet is damaged .mask .*wanted"),
        ("image", 999, "is of no photo of images.parquet"),
    ],
)
def test_damaged_codes_are_refused(run, column, value, said):
    table = pd.read_parquet(run.candidates_path)
    write_table(run.candidates_path, table.assign(**{column: value}))
    with pytest.raises(DamagedFileError, match=f"{said}.*maskdistill train-stage1"):
        MaskCodes.open(run, "candidates")
    assert find_damage(run, "candidates") is not None


@pytest.mark.parametrize("about", [b"{", b"[]", b'{"classes": ["one"]}', b'{"photos": [999]}'])
def test_what_a_table_says_of_its_masks_must_be_sound(run, about):
    table = pq.read_table(run.candidates_path)
    told = {**table.schema.metadata, b"maskdistill": about}
    pq.write_table(table.replace_schema_metadata(told), run.candidates_path)
    with pytest.raises(DamagedFileError, match="candidates.parquet is damaged"):
        read_masks(run.candidate_masks_path)


def test_damaged_table_is_made_again_the_same(finished, run, scene):
    content = run.candidates_path.read_bytes()
    run.candidates_path.write_bytes(content[: len(content) // 2])
    assert redone(run_chain(run.path, *scene, wanted=("candidates",))) == ["candidates"]
    for path in (run.candidates_path, run.candidate_masks_path):
        assert path.read_bytes() == (finished[0].path / path.name).read_bytes()


def test_no_candidates_at_all(run):
    empty = pd.DataFrame({"mask_id": []}).assign(**mask_tables.code_columns([]))
    mask_tables.write_masks(run.candidate_masks_path, empty, dict, classes=[1], photos=[0, 2])
    found = read_masks(run.candidate_masks_path)
    assert (found["annotations"], [item["id"] for item in found["images"]]) == ([], [0, 2])
    assert len(MaskCodes.open(run, "candidates")) == len(run.candidates()) == 0
