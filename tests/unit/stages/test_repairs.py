"""The stage ``repairs``: masks that people mended count in all that follows, and taken back nothing differs."""

import shutil

import numpy as np
import pytest
from tiny_run import WITHOUT_MAP, contents_of, redone, run_chain

from maskdistill.evaluation.metric_texts import repair_sentence
from maskdistill.exports.run import export_run
from maskdistill.masks import border_share, decode_mask, encode_mask
from maskdistill.pseudo_labels.candidates import PredictedMask
from maskdistill.review import decisions
from maskdistill.review.decisions import NEW, MaskChange, Scope, Tool
from maskdistill.review.mask_table import read_mask_table
from maskdistill.stages.candidates_worker import as_mended
from maskdistill.stages.status import stage_states
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.photo_arrays import VectorStore
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import DRAWN, Run

FOLLOWING = ["repairs", *(name for name in WITHOUT_MAP if name not in ("proposals", "foreground", "instances"))]


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished[0].path, tmp_path / "run")
    return Run(tmp_path / "run")


def photo_of(run, mask_id):
    return run.masks().set_index("mask_id")["image_id"].loc[mask_id]


def mend(run, mask_id, reviewer="ada", drop_rows=6):
    """Take the upper rows of a mask away."""
    code = MaskCodes.open(run).code(mask_id)
    mask = decode_mask(code)
    rows = np.flatnonzero(mask.any(axis=1))
    mask[: rows[0] + drop_rows] = False
    known = decisions.read_repairs(run).forms.get(mask_id)
    change = MaskChange(mask_id, code, encode_mask(mask), known.step if known else 0)
    image = photo_of(run, mask_id)
    decisions.repair(run, reviewer, image, [change], tool=Tool.CLICK, clicks=[[3, 4, False, False]])
    return mask


def draw(run, image, box, reviewer="ada"):
    size = MaskCodes.open(run).code(int(run.masks().loc[run.masks()["image_id"] == image, "mask_id"].iat[0]))["size"]
    mask = np.zeros(size, bool)
    x, y, width, height = box
    mask[y : y + height, x : x + width] = True
    found = decisions.repair(run, reviewer, image, [MaskChange(NEW, None, encode_mask(mask))], tool=Tool.NEW)
    return found.mask_ids[0], mask


def without_steps(contents):
    """Files of a run other than its decisions."""
    return {name: content for name, content in contents.items() if not name.startswith("run.sqlite")}


def test_mended_mask_counts_everywhere(copy, scene):
    mask_id = int(copy.masks()["mask_id"].iat[0])
    others = VectorStore(copy.path / "features" / read_json(copy.path / "embeddings.json")["folder"])
    before = others.read([0])
    numbering = decisions.read_classes(copy).numbering
    table = copy.clusters()
    mask = mend(copy, mask_id)

    states = {item.name: item for item in stage_states(copy)}
    assert states["foreground"].state == "done"
    assert [states[name].state for name in FOLLOWING if name != "repairs"] == ["stale"] * (len(FOLLOWING) - 1)
    assert "mended" in states["embeddings"].why
    assert states["repairs"].state == "missing"

    said = run_chain(copy.path, *scene)
    assert redone(said) == FOLLOWING
    assert copy.mask_stage == "repairs"
    np.testing.assert_array_equal(MaskCodes.open(copy).decode(mask_id), mask)
    np.testing.assert_array_equal(MaskCodes.open(copy, "candidates").decode(mask_id), mask)
    row = copy.masks().set_index("mask_id").loc[mask_id]
    assert row["mended"]
    assert row["bbox_h"] == np.ptp(np.flatnonzero(mask.any(axis=1))) + 1
    assert copy.masks()["mended"].sum() == 1
    assert copy.thumbnail(mask_id).is_file()

    store = VectorStore(copy.path / "features" / read_json(copy.path / "embeddings.json")["folder"])
    after = store.read([0])
    for name, values in before.items():  # the second mask of the photo keeps its vector
        assert not np.allclose(after[name][0], values[0])
        np.testing.assert_array_equal(after[name][1:], values[1:])
    now = copy.clusters()
    assert now["mask_id"].tolist() == table["mask_id"].tolist()
    others = now["mask_id"] != mask_id
    assert now[others].equals(table[others])
    assert decisions.read_classes(copy).numbering == numbering
    assert all(item.state == "done" for item in stage_states(copy) if item.name != "projection")
    assert redone(run_chain(copy.path, *scene)) == []
    brought = read_json(copy.path / "metrics.json")["repairs"]
    assert brought["masks"] == 1
    assert brought["better"] + brought["worse"] == 1
    assert (brought["iou_after"] > brought["iou_before"]) == (brought["better"] == 1)
    assert brought["counts"]["mended"] == 1
    assert f"{brought['iou_after']:.1%}" in repair_sentence(brought).replace("\N{NO-BREAK SPACE}", "")


def test_taken_back_nothing_differs(copy, scene, finished):
    wanted = without_steps(contents_of(finished[0]))
    mend(copy, int(copy.masks()["mask_id"].iat[0]))
    draw(copy, photo_of(copy, int(copy.masks()["mask_id"].iat[-1])), (2, 3, 10, 12))
    run_chain(copy.path, *scene)
    assert copy.mask_stage == "repairs"
    while decisions.undo(copy, "ada", scope=Scope.MASKS):
        pass
    assert any("mended" in item.why for item in stage_states(copy))
    assert redone(run_chain(copy.path, *scene)) == []  # what was there before is put back
    found = without_steps(contents_of(copy))
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []


def test_settings_that_were_changed_meanwhile_count_when_all_is_taken_back(copy, scene, tmp_path):
    plain = Run(shutil.copytree(copy.path, tmp_path / "plain"))
    changed = scene[1].with_overrides(["filter.min_iou=0.5", "labels.border_band=2"])
    mend(copy, int(copy.masks()["mask_id"].iat[0]))
    run_chain(copy.path, scene[0], changed)
    decisions.undo(copy, "ada", scope=Scope.MASKS)
    run_chain(copy.path, scene[0], changed)
    run_chain(plain.path, scene[0], changed)
    found, wanted = without_steps(contents_of(copy)), without_steps(contents_of(plain))
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []


def test_without_repairs_nothing_is_left(copy, scene, finished):
    """A mend that was taken back before anything was made of it leaves no trace."""
    mend(copy, int(copy.masks()["mask_id"].iat[0]))
    decisions.undo(copy, "ada", scope=Scope.MASKS)
    assert redone(run_chain(copy.path, *scene)) == []
    assert without_steps(contents_of(copy)) == without_steps(contents_of(finished[0]))
    assert "repairs" not in {item.name for item in stage_states(copy)}


def test_one_more_mend_embeds_only_its_photo(copy, scene, monkeypatch):
    ids = copy.masks()["mask_id"].tolist()
    mend(copy, int(ids[0]))
    run_chain(copy.path, *scene, wanted=("clusters",))
    mend(copy, int(ids[-1]))
    from maskdistill.stages import worker

    photos = []
    embed = worker.EmbedWorker.__call__
    monkeypatch.setattr(
        worker.EmbedWorker,
        "__call__",
        lambda self, number, photo, codes: (photos.append((number, len(codes))), embed(self, number, photo, codes))[1],
    )
    said = run_chain(copy.path, *scene, wanted=("clusters",))
    assert "clusters" in redone(said)
    assert photos == [(int(ids[-1]) // 10, 1)]


def test_new_mask_has_a_number_of_its_own_and_a_class(copy, scene, caplog):
    image = photo_of(copy, int(copy.masks()["mask_id"].iat[0]))
    mask_id, mask = draw(copy, image, (5, 6, 20, 22))
    assert mask_id == DRAWN
    run_chain(copy.path, *scene)
    assert "is damaged" not in caplog.text  # files of before are of fewer masks, and made anew anyway
    np.testing.assert_array_equal(MaskCodes.open(copy).decode(mask_id), mask)
    assert copy.class_of_mask()[mask_id] >= 1
    rows = copy.candidates().set_index("mask_id")
    assert rows["origin"].loc[mask_id] == "proposal"
    table = read_mask_table(copy).frame.set_index("mask_id")
    assert table["image_id"].loc[mask_id] == image
    assert table["vector"].loc[mask_id] >= 0
    assert (copy.photo_of(table.index.to_numpy()) == table["image"]).all()


def test_joined_masks_are_one(copy, scene):
    table = copy.masks()
    image = table["image_id"].value_counts().index[0]
    first, second = table.loc[table["image_id"] == image, "mask_id"].tolist()[:2]
    codes = MaskCodes.open(copy)
    both = codes.decode(first) | codes.decode(second)
    changes = [MaskChange(first, codes.code(first), encode_mask(both)), MaskChange(second, codes.code(second), None)]
    decisions.repair(copy, "ada", image, changes, tool=Tool.MERGE)
    run_chain(copy.path, *scene)
    assert second not in set(copy.masks()["mask_id"])
    assert second not in set(copy.clusters()["mask_id"])
    np.testing.assert_array_equal(MaskCodes.open(copy).decode(first), both)
    assert redone(run_chain(copy.path, *scene)) == []


def test_decision_on_a_mask_holds_when_it_was_mended(copy, scene):
    mask_id = int(copy.masks()["mask_id"].iat[0])
    row = copy.masks().set_index("mask_id").loc[mask_id]
    box = tuple(int(row[f"bbox_{side}"]) for side in "xywh")
    mark = decisions.Mark(mask_id, row["image_id"], box, decisions.Action.REJECT)
    decisions.decide(copy, "ada", [mark], scope=Scope.LABELS)
    mend(copy, mask_id, drop_rows=14)
    run_chain(copy.path, *scene)
    kept = copy.kept().set_index("mask_id")
    assert kept["decision"].loc[mask_id] == -1


def test_found_again_after_masks_were_made_anew(copy, scene):
    """By photo and overlap: the first photo is gone, so that all others have other numbers."""
    mask_id = int(copy.masks()["mask_id"].iat[-1])
    image, mask = photo_of(copy, mask_id), mend(copy, mask_id)
    data = copy.path.parent / "voc"
    shutil.copytree(scene[0], data)
    (data / "JPEGImages/00.png").unlink()
    lists = data / "ImageSets/Segmentation/train.txt"
    lists.write_text(lists.read_text().removeprefix("00\n"))
    run_chain(copy.path, data, scene[1], wanted=("embeddings",))
    table = copy.masks()
    (row,) = table[table["mended"]].to_dict("records")
    assert row["image_id"] == image
    assert row["mask_id"] != mask_id
    np.testing.assert_array_equal(MaskCodes.open(copy).decode(row["mask_id"]), mask)


def test_exports_hold_what_people_drew(copy, scene, tmp_path):
    mask_id = int(copy.masks()["mask_id"].iat[0])
    image = photo_of(copy, mask_id)
    mask, (new_id, new) = mend(copy, mask_id), draw(copy, image, (30, 30, 12, 14))
    run_chain(copy.path, *scene)
    export_run(copy, "coco", tmp_path / "out")
    found = read_json(tmp_path / "out" / "annotations" / "instances.json")["annotations"]
    codes = [item["segmentation"]["counts"] for item in found if isinstance(item["segmentation"], dict)]
    assert encode_mask(mask)["counts"] in codes
    assert encode_mask(new)["counts"] in codes
    assert new_id in copy.class_of_mask()


def test_export_says_that_masks_were_mended_since(copy, tmp_path):
    mend(copy, int(copy.masks()["mask_id"].iat[0]))
    assert "People mended masks since" in export_run(copy, "coco", tmp_path / "out")


def test_what_people_drew_stays_whatever_a_model_makes_of_it():
    drawn, seen = np.zeros((8, 9), bool), np.ones((8, 9), bool)
    drawn[2:5, 0:4] = True
    items = [{"segmentation": encode_mask(drawn), "mended": True}, {"segmentation": encode_mask(drawn)}]
    predicted = [PredictedMask(seen, place, 1, 0.5, 0.5, 0.5, 1.0, 1.0) for place in (0, 1, None)]
    mended, own, new = (as_mended(item, items) for item in predicted)
    np.testing.assert_array_equal(mended.mask, drawn)
    assert mended.area == drawn.mean()
    assert mended.border == pytest.approx(border_share(drawn))
    assert own.mask.all()
    assert new.mask.all()
