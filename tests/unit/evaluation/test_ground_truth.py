"""The one place that reads ground truth for reports: what cannot be used is left out, and the reason is kept."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from voc_data import drawn_label, make_voc

from maskdistill.datasets import open_source
from maskdistill.evaluation import ground_truth
from maskdistill.evaluation.ground_truth import GroundTruth, state_of_labels


@pytest.fixture
def source(tmp_path):
    """Three photos with ground truth, the second one's broken since it was opened."""
    labels = {id: drawn_label(1) for id in "abc"}
    source = open_source(make_voc(tmp_path, "abc", labels=labels, classes=["cow"]))
    (tmp_path / "SegmentationClass" / "b.png").write_bytes(b"")
    return source


def test_photo_whose_label_is_broken_is_left_out_once(source):
    truth = GroundTruth(source)
    found = [truth.read(photo) for photo in (*source.photos, source.photos[1])]
    np.testing.assert_array_equal(found[0], drawn_label(1))
    assert (found[1], found[3]) == (None, None)
    assert [id for id, _ in truth.left_out] == ["b"]
    assert "b.png" in truth.left_out[0][1]
    assert "b.png" in truth.sentence


def test_nothing_left_out_is_not_said(source):
    truth = GroundTruth(source)
    truth.read(source.photos[0])
    assert (truth.sentence, truth.describe()) == ("", {"count": 0, "first": [], "notes": []})


def test_report_names_a_few_of_many(source, tmp_path, monkeypatch):
    monkeypatch.setattr(ground_truth, "_MAX_NAMED", 2)
    for path in (tmp_path / "SegmentationClass").iterdir():
        path.write_bytes(b"no picture")
    truth = GroundTruth(source)
    for photo in source.photos:
        truth.read(photo)
    found = json.loads(json.dumps(truth.describe()))
    assert (found["count"], [item["photo"] for item in found["first"]]) == (3, ["a", "b"])


def test_notes_are_those_of_the_opening(tmp_path):
    opened = open_source(make_voc(tmp_path, "ab", labels={"a": drawn_label(1), "b": b""}))
    assert [item["file"] for item in GroundTruth(opened).describe()["notes"]] == [
        str(tmp_path / "SegmentationClass" / "b.png")
    ]


@pytest.mark.parametrize("gone", [None, "labels"])
def test_without_ground_truth_there_is_none(source, gone):
    truth = GroundTruth(gone and replace(source, has_labels=False))
    assert (truth.exists, truth.read(source.photos[0]), truth.left_out) == (False, None, ())


def test_refusal_of_the_system_leaves_a_photo_out(source, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ground_truth, "read_label", refuse)
    truth = GroundTruth(source)
    assert truth.read(source.photos[0]) is None
    assert [id for id, _ in truth.left_out] == ["a"]


def test_report_is_made_again_when_labels_or_classes_change(source, tmp_path):
    before = state_of_labels(source)
    assert state_of_labels(source) == before
    (tmp_path / "SegmentationClass" / "c.png").unlink()
    assert state_of_labels(source) != before
    (tmp_path / "SegmentationClass" / "c.png").symlink_to("nowhere")
    linked = state_of_labels(source)
    assert linked != before
    assert state_of_labels(replace(source, classes=("cat",))) != linked
    shutil.rmtree(tmp_path / "SegmentationClass")
    assert len(state_of_labels(source)) == 2


def test_annotations_that_break_leave_their_photo_out(tmp_path):
    """A coordinate of a billion pixels, in a COCO file that was sound when it was opened."""
    photos = [{"id": number, "file_name": f"{number}.png", "width": 8, "height": 6} for number in (1, 2)]
    for photo in photos:
        Image.new("RGB", (8, 6)).save(tmp_path / photo["file_name"])
    marks = [
        {"id": number, "image_id": number, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 4]], "iscrowd": 0}
        for number in (1, 2)
    ]
    content = {"images": photos, "annotations": marks, "categories": [{"id": 1, "name": "cow"}]}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    opened = open_source(path)
    marks[0]["segmentation"] = [[1e9, 1e9, 2e9, 1e9, 2e9, 2e9]]
    path.write_text(json.dumps(content))
    truth = GroundTruth(opened)
    assert [truth.read(photo) is None for photo in opened.photos] == [True, False]
    assert [id for id, _ in truth.left_out] == ["1"]
    path.unlink()
    assert [truth.read(photo) for photo in opened.photos] == [None, None]
