import shutil

import numpy as np
import pandas as pd
import pytest
from needs import needs_crf

from maskdistill.datasets import read_label
from maskdistill.errors import RunError
from maskdistill.evaluation.confusion import Confusion, report
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.photo_metrics import (
    count_pairs,
    make_photo_results,
    order_photos,
    photo_ious,
    read_photo_results,
    share_changed,
)
from maskdistill.evaluation.run_label_maps import LabelMaps
from maskdistill.files import write_json
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import photos_of, truth_of_photos

KINDS = ("proposals", "stage1", "pseudo_labels", "stage2", "stage2_crf")


@pytest.fixture(scope="module")
def run(finished):
    return finished[0]


@pytest.fixture(scope="module")
def results(run):
    return read_photo_results(run)


@pytest.fixture
def copy(run, tmp_path):
    return Run(shutil.copytree(run.path, tmp_path / "run"))


def slow_iou(truth, labels, matching):
    """Mean over the classes in the ground truth of one photo, class by class on whole pictures."""
    judged = truth != 255
    classes = np.vectorize(lambda label: matching.get(label, -1))(labels.astype(int))
    values = []
    for label in np.unique(truth[judged]):
        wanted, found = (truth == label) & judged, (classes == label) & judged
        values.append((wanted & found).sum() / (wanted | found).sum())
    return np.mean(values)


def ious_of(pairs, matching):
    rows = [(number, *row) for number, pair in enumerate(pairs) for row in count_pairs(*pair)]
    return photo_ious(*np.array(rows).T, matching, len(pairs))


def test_iou_of_each_photo_is_that_of_a_slow_loop():
    generator = np.random.default_rng(0)
    pairs = [
        (generator.choice([0, 1, 2, 255], (9, 7)).astype(np.uint8), generator.integers(0, 5, (9, 7), dtype=np.uint8))
        for _ in range(8)
    ]
    matching = {0: 0, 1: 2, 3: 1}
    wanted = [slow_iou(truth, labels, matching) for truth, labels in pairs]
    np.testing.assert_allclose(ious_of(pairs, matching), wanted)


def test_photo_without_ground_truth_has_no_iou():
    labels = np.ones((2, 2), np.uint8)
    found = ious_of([(None, labels), (np.ones((2, 2), np.uint8), labels)], {0: 0, 1: 1})
    assert np.isnan(found[0])
    assert found[1] == 1.0


def test_unknown_pixels_are_wrong_answers():
    truth, labels = np.ones((1, 4), np.uint8), np.array([[1, 1, 255, 255]], np.uint8)
    assert ious_of([(truth, labels)], {0: 0, 1: 1}).tolist() == [0.5]


def test_share_changed_counts_where_both_say_something():
    first, second = np.array([[0, 1, 255, 2]], np.uint8), np.array([[0, 2, 1, 255]], np.uint8)
    assert share_changed(first, second) == 0.5
    assert share_changed(first, np.full_like(first, 255)) == 0.0


@pytest.mark.parametrize(("highest", "wanted"), [(True, [2, 0, 3, 1]), (False, [0, 3, 2, 1])])
def test_photos_without_a_value_come_last(highest, wanted):
    assert order_photos(np.array([0.1, np.nan, 0.9, 0.1]), highest_first=highest).tolist() == wanted


@needs_crf
def test_evaluation_counts_every_label_map(run, results):
    assert results.kinds == KINDS
    assert results.num_photos == len(photos_of(run))
    for number, photo in enumerate(photos_of(run)):
        rows = results.counts[(results.counts["kind"] == "stage2") & (results.counts["number"] == number)]
        assert rows["pixels"].sum() == photo.height * photo.width


def test_counts_give_the_confusion_of_the_report(run, results):
    metrics = read_json(run.path / "metrics.json")
    source = truth_of_photos(run)
    val = [number for number, photo in enumerate(photos_of(run)) if photo.split == "val"]
    rows = results.counts[(results.counts["kind"] == "stage2") & results.counts["number"].isin(val)]
    rows = rows[rows["truth"] != 255]
    counts = Confusion(num_classes=3, num_clusters=run.num_classes, skip_unknown=True)
    np.add.at(counts.counts, (rows["truth"], rows["label"]), rows["pixels"])
    names = ("background", *source.classes)
    matching = {int(key): names.index(name) for key, name in metrics["reported"]["stage2"]["matching"].items()}
    assert report(counts, source.classes, matching).miou == pytest.approx(metrics["reported"]["stage2"]["miou"])


@needs_crf
def test_change_and_agreement_are_those_of_the_files(run, results):
    maps = LabelMaps(run)
    wanted = [share_changed(maps.read("stage1", n), maps.read("stage2", n)) for n in range(results.num_photos)]
    np.testing.assert_allclose(results.changed("stage1", "stage2"), wanted, rtol=1e-6)
    np.testing.assert_allclose(results.changed("stage2", "stage1"), wanted, rtol=1e-6)
    table = results.agreement()
    assert table.at["stage1", "stage2"] == pytest.approx(1 - np.mean(wanted))
    assert table.at["stage1", "stage1"] == 1.0
    assert np.isnan(table.at["pseudo_labels", "stage2_crf"])  # of training photos, of reported photos
    assert np.isnan(results.changed("stage2", "stage2_crf")).sum() == 8


def test_sizes_of_classes(run, results):
    sizes = results.class_sizes("stage2")
    maps = np.concatenate([read_label_png(run.prediction("stage2", n)).ravel() for n in range(results.num_photos)])
    assert dict(zip(sizes["label"], sizes["pixels"], strict=True)) == dict(
        zip(*np.unique(maps, return_counts=True), strict=True)
    )
    assert sizes["share"].sum() == pytest.approx(1)
    source = truth_of_photos(run)
    truth = results.class_sizes("truth").set_index("label")["photos"]
    holds = [np.unique(read_label(source, photo)) for photo in source.photos]
    assert truth[1] == sum(1 in found for found in holds)


def test_of_earlier_label_maps_they_are_not_read(copy):
    path = copy.stage_path("predictions")
    write_json(path, read_json(path) | {"fingerprint": "another"})
    assert read_photo_results(copy) is None
    made = make_photo_results(copy, GroundTruth(truth_of_photos(copy)))
    pd.testing.assert_frame_equal(read_photo_results(copy).counts, made.counts)


@needs_crf
def test_they_do_without_ground_truth_and_tell_how_far_they_are(copy):
    seen = []
    found = make_photo_results(copy, GroundTruth(None), lambda done, total: seen.append((done, total)))
    assert not found.has_truth
    assert np.isnan(found.ious("stage2", {0: 0, 1: 1})).all()
    assert found.kinds == KINDS
    assert seen == [(number, 12) for number in range(1, 13)]


def test_label_maps_before_any_training_are_the_masks(copy):
    for name in ("predictions.json", "pseudo_labels.json"):
        (copy.path / name).unlink()
    maps = LabelMaps(copy)
    assert maps.kinds == ("proposals",)
    assert maps.final == "proposals"
    assert maps.read("stage2", 0) is None
    clusters, codes = copy.class_of_mask(), LabelMaps(copy)._codes
    for number in range(maps.num_photos):
        painted = maps.read("proposals", number)
        masks = codes.ids[codes.images == number].tolist()
        assert set(np.unique(painted)) <= {0, *(clusters[mask] for mask in masks)}
        covered = np.any([codes.decode(mask) for mask in masks], axis=0) if masks else np.zeros(painted.shape, bool)
        np.testing.assert_array_equal(painted > 0, covered)
    copy.clusters_path.unlink()
    copy.classes_path.unlink(missing_ok=True)
    assert set(np.unique(LabelMaps(copy).read("proposals", 0))) <= {0, 1}


def test_final_label_maps_are_those_that_every_photo_has(run):
    assert LabelMaps(run).final == "stage2"  # the CRF ran over the reported photos only


def test_label_map_that_was_deleted_is_named(copy):
    copy.prediction("stage1", 3).unlink()
    with pytest.raises(RunError, match=r"000003\.png"):
        LabelMaps(copy).read("stage1", 3)
