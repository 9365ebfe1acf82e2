import shutil

import numpy as np
import pytest
from PIL import Image

from maskdistill.datasets import open_source
from maskdistill.errors import RunError
from maskdistill.proposals.thumbnails import THUMB_SIDE
from maskdistill.review.mask_table import read_mask_table
from maskdistill.stages.candidates_worker import write_new_thumbnails
from maskdistill.storage.mask_store import MaskCodes, read_masks
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run
from maskdistill.storage.run_photos import photos_of


@pytest.fixture(scope="module")
def run(finished):
    return finished[0]


@pytest.fixture(scope="module")
def table(run):
    return read_mask_table(run)


def test_holds_every_proposal_and_every_object_that_the_model_saw(run, table):
    ids = set(run.masks()["mask_id"]) | set(run.candidates()["mask_id"])
    assert table.frame["mask_id"].tolist() == sorted(ids)
    assert table.num_masks == len(ids)


def test_what_the_stages_said_stands_in_its_row(run, table):
    frame = table.frame.set_index("mask_id")
    clusters, candidates, kept = run.clusters(), run.candidates().set_index("mask_id"), run.kept().set_index("mask_id")
    for place, row in clusters.iterrows():
        mine = frame.loc[row["mask_id"]]
        assert (mine["cluster"], mine["vector"]) == (row["cluster"], place)
        assert mine["distance"] == row["distance"]
    for mask_id, row in candidates.iterrows():
        mine = frame.loc[mask_id]
        assert tuple(mine[["candidate", "label", "score"]]) == (True, row["label"], row["score"])
        assert (mine["kept"], mine["rule"]) == tuple(kept.loc[mask_id, ["kept", "rule"]])
    judged = frame.index.isin(candidates.index)
    assert frame.loc[~judged, "rule"].eq("").all()
    assert not frame.loc[~judged, "candidate"].any()
    assert frame.loc[~judged, "score"].isna().all()


def test_boxes_are_those_of_the_masks(run, table):
    proposed = MaskCodes.open(run)
    drawn = MaskCodes.open(run, "candidates")
    for row in table.frame.itertuples():
        codes = proposed if row.origin == "proposal" else drawn
        assert (row.x, row.y, row.w, row.h) == codes.box(row.mask_id)


def test_objects_that_no_proposal_was_get_a_crop_too(run, scene, tmp_path):
    copy = Run(shutil.copytree(run.path, tmp_path / "run"))
    photos = open_source(str(scene[0])).photos
    annotations = read_masks(copy.candidate_masks_path)["annotations"]
    for item in annotations:
        copy.thumbnail(item["id"]).unlink()
    for rank, item in enumerate(annotations):
        origin = "stage1" if rank % 2 else "proposal"
        write_new_thumbnails(copy, photos[item["image_id"]], [{**item, "signals": {"origin": origin}}])
        assert copy.thumbnail(item["id"]).exists() == bool(rank % 2)
    with Image.open(copy.thumbnail(annotations[1]["id"])) as crop:
        assert max(crop.size) == THUMB_SIDE


def test_photos_are_those_of_the_ids(run, table):
    photos = photos_of(run)
    assert [photos[number].id for number in table.frame["image"]] == table.frame["image_id"].tolist()
    assert (table.frame["mask_id"] // MASKS_PER_PHOTO).tolist() == table.frame["image"].tolist()
    assert table.frame["split"].isin(["train", "val"]).all()


def test_a_mask_is_found_by_its_id(table):
    ids = table.frame["mask_id"].to_numpy()
    assert table.rows_of(ids[[3, 0]]).tolist() == [3, 0]
    assert [table.has(int(ids[-1]) + step) for step in (0, 1)] == [True, False]
    with pytest.raises(RunError, match=f"no mask {ids[-1] + 1}"):
        table.rows_of([ids[0], ids[-1] + 1])


def test_before_the_later_stages_their_columns_are_empty(run, tmp_path):
    for name in ("run.json", "images.parquet", "masks.parquet", "proposals.json"):
        shutil.copy(run.path / name, tmp_path / name)
    frame = read_mask_table(Run(tmp_path)).frame
    assert len(frame) == len(run.masks())
    for name, empty in {"cluster": 0, "vector": -1, "label": 0, "truth": -1}.items():
        assert frame[name].eq(empty).all(), name
    assert frame[["distance", "margin", "score", "iou", "truth_share"]].isna().all(axis=None)
    assert not frame[["kept", "candidate"]].any(axis=None)
    assert frame["quality"].between(0, 1).all()


def test_a_table_of_masks_that_is_gone_is_told_with_the_command_that_makes_it(run, tmp_path):
    for name in ("run.json", "images.parquet", "proposals.json"):
        shutil.copy(run.path / name, tmp_path / name)
    with pytest.raises(RunError, match=r"^No masks.parquet in .*: maskdistill propose"):
        read_mask_table(Run(tmp_path))


def test_columns_do_not_depend_on_how_far_the_run_is(run, table, tmp_path):
    for name in ("run.json", "images.parquet", "masks.parquet", "proposals.json"):
        shutil.copy(run.path / name, tmp_path / name)
    assert set(read_mask_table(Run(tmp_path)).frame.columns) == set(table.frame.columns)


def test_numbers_are_whole_where_they_count(table):
    for name in ("mask_id", "image", "cluster", "vector", "label", "truth", "x", "y", "w", "h"):
        assert np.issubdtype(table.frame[name].dtype, np.integer), name


def test_masks_of_a_photo_share_the_text_of_its_id(run, table):
    ids = table.frame["image_id"].to_numpy()
    assert ids.dtype == object
    assert len({id(text) for text in ids}) == len(set(ids))
