import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from maskdistill.datasets import open_source, read_label, reopen_source
from maskdistill.errors import DatasetError

HEIGHT, WIDTH = 20, 30
CATEGORIES = [{"id": 7, "name": "cow"}, {"id": 3, "name": "cat"}]


def rectangle(y1, y2, x1, x2):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y1:y2, x1:x2] = 1
    return mask


def compressed_rle(mask):
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def plain_rle(mask):
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": ([0] if flat[0] else []) + counts}


def polygon(y1, y2, x1, x2):
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def make_coco(path, names=("a.jpg",), annotations=(), *, folder="images", categories=CATEGORIES):
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = path.parent.parent / folder
    pictures.mkdir(exist_ok=True)
    for name in names:
        Image.new("RGB", (WIDTH, HEIGHT)).save(pictures / name)
    images = [{"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH} for number, name in enumerate(names)]
    content = {"images": images, "annotations": list(annotations), "categories": list(categories)}
    path.write_text(json.dumps(content))
    return path


def annotation(segmentation, category_id=7, **more):
    return {"image_id": 0, "category_id": category_id, "segmentation": segmentation, "area": 1, **more}


@pytest.mark.parametrize(
    "make", [lambda *box: compressed_rle(rectangle(*box)), lambda *box: plain_rle(rectangle(*box)), polygon]
)
def test_label_is_the_drawn_rectangle(tmp_path, make):
    make_coco(tmp_path / "annotations" / "x.json", annotations=[annotation(make(5, 12, 8, 20), 3)])
    source = open_source(tmp_path)
    assert (source.kind, source.classes, source.has_labels) == ("coco", ("cow", "cat"), True)
    np.testing.assert_array_equal(read_label(source, source.photos[0]), rectangle(5, 12, 8, 20) * 2)


def test_crowd_is_ignored_and_small_objects_lie_on_top(tmp_path):
    annotations = [
        annotation(polygon(5, 8, 5, 8), 3, area=9),
        annotation(polygon(2, 15, 2, 15), 7, area=169),
        annotation(plain_rle(rectangle(0, 20, 0, 30)), 3, area=600, iscrowd=1),
        annotation([], 3),
    ]
    make_coco(tmp_path / "annotations" / "x.json", annotations=annotations)
    source = open_source(tmp_path)
    wanted = np.full((HEIGHT, WIDTH), 255)
    wanted[2:15, 2:15] = 1
    wanted[5:8, 5:8] = 2
    np.testing.assert_array_equal(read_label(source, source.photos[0]), wanted)


def test_photo_without_annotation_is_background(tmp_path):
    make_coco(tmp_path / "annotations" / "x.json", ("a.jpg", "b.jpg"), [annotation(polygon(1, 5, 1, 5))])
    source = open_source(tmp_path)
    assert not read_label(source, source.photos[1]).any()


def test_splits_come_from_the_names_and_equal_names_stay_apart(tmp_path):
    for split in ("train2017", "val2017"):
        make_coco(tmp_path / "annotations" / f"instances_{split}.json", ("1.jpg", f"{split}.jpg"), folder=split)
    (tmp_path / "annotations" / "captions_train2017.json").write_text("not even json")
    source = open_source(tmp_path)
    assert {photo.id: photo.split for photo in source.photos} == {
        "instances_train2017/1": "train",
        "train2017": "train",
        "instances_val2017/1": "val",
        "val2017": "val",
    }
    assert [photo.path.parent.name for photo in source.photos] == ["train2017", "train2017", "val2017", "val2017"]


def test_missing_picture_is_skipped(tmp_path):
    path = make_coco(tmp_path / "annotations" / "x.json", ("a.jpg", "b.jpg"))
    (tmp_path / "images" / "b.jpg").unlink()
    source = open_source(path)
    assert [photo.id for photo in source.photos] == ["a"]
    assert [(item.path.name, "x.json names it" in item.reason) for item in source.skipped] == [("b.jpg", True)]
    assert not source.has_labels
    assert read_label(source, source.photos[0]) is None


def test_changed_json_is_read_again(tmp_path):
    path = make_coco(tmp_path / "annotations" / "x.json", annotations=[annotation(polygon(1, 5, 1, 5))])
    source = open_source(path)
    assert read_label(source, source.photos[0]).sum() == 16
    make_coco(path, annotations=[annotation(polygon(1, 3, 1, 3))])
    assert read_label(source, source.photos[0]).sum() == 4


def test_polygon_without_the_outer_list(tmp_path):
    path = make_coco(tmp_path / "annotations" / "x.json", annotations=[annotation(polygon(1, 5, 1, 5)[0], area=None)])
    source = open_source(path)
    assert read_label(source, source.photos[0]).sum() == 16


@pytest.mark.parametrize("rle", [compressed_rle(np.zeros((4, 4), np.uint8)), {"size": [4, 4]}])
def test_mask_for_another_size_or_without_counts(tmp_path, rle):
    path = make_coco(tmp_path / "annotations" / "x.json", annotations=[annotation(rle)])
    source = open_source(path)
    with pytest.raises(DatasetError, match=r"made for \(height, width\) \[4, 4\]"):
        read_label(source, source.photos[0])


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "as json"), ('{"a": 1}', "no list 'images'"), ('{"images": []}', "names no picture")],
)
def test_file_that_is_not_coco(tmp_path, content, reason):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DatasetError, match=rf"x\.json.*{reason}"):
        open_source(tmp_path / "x.json")


def test_reopened_source_has_its_labels_without_being_looked_through(tmp_path):
    make_coco(tmp_path / "annotations" / "x.json", annotations=[annotation(polygon(5, 12, 8, 20), 3)])
    source = open_source(tmp_path)
    again = reopen_source(source.kind, source.spec, source.photos, source.classes)
    assert again.has_labels
    np.testing.assert_array_equal(read_label(again, again.photos[0]), read_label(source, source.photos[0]))
    gone = reopen_source(source.kind, str(tmp_path / "gone"), source.photos, source.classes)
    assert not gone.has_labels
