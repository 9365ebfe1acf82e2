import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from maskdistill.datasets import open_source, read_label
from maskdistill.errors import ShapeError
from maskdistill.evaluation import mask_truth
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.mask_truth import FILE, PhotoTruth, lacks_truth, make_truth, read_truth
from maskdistill.evaluation.region_metrics import best_iou
from maskdistill.files import write_json
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.read_files import read_json, read_table_if_whole
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.run_photos import photos_of, truth_of_photos

LARGE = 4  # pixels, in place of the 200 of real photos


@pytest.fixture
def run(finished, tmp_path):
    return Run(shutil.copytree(finished[0].path, tmp_path / "run"))


@pytest.fixture
def source(run):
    return truth_of_photos(run)


def drawn_labels():
    """A large region of class 2, a small one of it, one of class 1, and a column of ignored pixels."""
    labels = np.zeros((12, 16), np.uint8)
    labels[1:7, 1:7] = 2
    labels[9, 1] = 2
    labels[2:6, 9:14] = 1
    labels[:, 15] = 255
    return labels


def test_class_of_most_pixels_and_its_share():
    mask = np.zeros((12, 16), bool)
    mask[1:7, 1:9] = True  # 36 pixels of class 2, 12 of background
    truth, share, _ = PhotoTruth(drawn_labels(), LARGE).of_mask(mask)
    assert (truth, share) == (2, 0.75)


def test_ignored_pixels_count_for_nothing():
    mask = np.zeros((12, 16), bool)
    mask[2:6, 9:16] = True  # 20 pixels of class 1, 4 of background, 4 ignored
    truth, share, iou = PhotoTruth(drawn_labels(), LARGE).of_mask(mask)
    assert (truth, share) == (1, 20 / 24)
    assert iou == 20 / 24
    mask[:, :15] = False
    assert PhotoTruth(drawn_labels(), LARGE).of_mask(mask)[0] == -1


def test_mask_beside_every_object_is_background_and_fits_none():
    mask = np.zeros((12, 16), bool)
    mask[8:11, 8:11] = True
    assert PhotoTruth(drawn_labels(), LARGE).of_mask(mask) == (0, 1.0, 0.0)


def test_best_iou_is_that_of_the_evaluation():
    labels, generator = drawn_labels(), np.random.default_rng(0)
    truth = PhotoTruth(labels, LARGE)
    for _ in range(40):
        top, left = generator.integers(0, 8, 2)
        mask = np.zeros(labels.shape, bool)
        mask[top : top + generator.integers(1, 8), left : left + generator.integers(1, 12)] = True
        assert truth.of_mask(mask)[2] == pytest.approx(best_iou(mask, labels, LARGE))


def test_mask_of_another_size_is_refused():
    with pytest.raises(ShapeError, match="mask must have shape"):
        PhotoTruth(drawn_labels()).of_mask(np.zeros((3, 3), bool))


def test_every_mask_of_a_run_is_compared(run, source):
    found = make_truth(run, GroundTruth(source))
    assert found.names == ("background", "disc", "square", "stripes")
    proposed, drawn, photos = MaskCodes.open(run), MaskCodes.open(run, "candidates"), photos_of(run)
    assert sorted({*proposed.ids, *drawn.ids}) == found.frame["mask_id"].tolist()
    for row in found.frame.itertuples():
        codes = proposed if row.mask_id in proposed else drawn
        mask, labels = codes.decode(row.mask_id), read_label(source, photos[row.mask_id // 10])
        assert row.truth == np.bincount(labels[mask]).argmax()
        assert row.truth_share == pytest.approx((labels[mask] == row.truth).mean())
        assert row.truth_iou == pytest.approx(best_iou(mask, labels))


def test_evaluation_leaves_it_ready(finished):
    assert not lacks_truth(finished[0])
    assert read_truth(finished[0]) is not None


def test_the_file_is_read_once_while_it_stays_as_it_is(run, source, monkeypatch):
    make_truth(run, GroundTruth(source))
    reads = []
    monkeypatch.setattr(mask_truth, "read_table_if_whole", lambda path: reads.append(path) or read_table_if_whole(path))
    assert not lacks_truth(run)
    assert not lacks_truth(run)
    assert len(reads) == 1
    (run.path / FILE).write_bytes(b"cut")
    assert lacks_truth(run)
    assert len(reads) == 2


def test_it_is_asked_for_until_it_is_there(run, source):
    (run.path / FILE).unlink()
    assert read_truth(run) is None
    assert lacks_truth(run)
    seen = []
    make_truth(run, GroundTruth(source), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(source.photos), len(source.photos))
    assert not lacks_truth(run)


def redo(run, stage):
    path = run.stage_path(stage)
    write_json(path, read_json(path) | {"fingerprint": "another"})


def test_of_other_masks_it_is_not_read(run):
    redo(run, "proposals")
    assert read_truth(run) is None
    assert lacks_truth(run)


def test_what_another_first_model_saw_is_left_out(run, source):
    proposed = MaskCodes.open(run).ids
    candidates = pd.read_parquet(run.candidates_path)
    new = int(proposed[0]) + 9
    write_table(run.candidates_path, pd.concat([candidates, candidates.iloc[[0]].assign(mask_id=new)]))
    assert new in make_truth(run, GroundTruth(source)).frame["mask_id"].tolist()
    redo(run, "candidates")
    assert read_truth(run).frame["mask_id"].tolist() == proposed.tolist()
    assert lacks_truth(run)


def test_photos_without_ground_truth_lack_nothing(run):
    info = run.info()
    run.write_info(info | {"source": info["source"] | {"has_labels": False}})
    (run.path / FILE).unlink()
    assert not lacks_truth(run)
    assert truth_of_photos(run) is None
    plain = open_source(f"{info['data']}/JPEGImages")
    assert make_truth(run, GroundTruth(plain)) is None
    assert not (run.path / FILE).exists()


def test_ground_truth_that_was_moved_away_is_none(run, tmp_path):
    run.write_info(run.info() | {"data": str(tmp_path / "gone")})
    assert truth_of_photos(run) is None


def test_labels_of_a_class_without_a_name_are_left_out(run, source):
    truth = GroundTruth(replace(source, classes=source.classes[:1]))
    found = make_truth(run, truth)
    assert set(found.frame["truth"]) <= {0, 1}
    assert [id for id, _ in truth.left_out] == [photo.id for photo in source.photos if int(photo.id) % 3]
    assert all("wanted 0 to 1" in why for _, why in truth.left_out)
