import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from export_data import (
    HEIGHT,
    NAMES,
    WIDTH,
    blob,
    decode,
    label_map,
    load_coco,
    make_data,
    make_image,
    make_mask,
    paint_exactly,
    paint_pixels,
    ring_and_dot,
    save_photo,
)
from PIL import Image
from pycocotools import mask as coco_mask
from scipy import ndimage
from torchvision.datasets import VOCSegmentation

from maskdistill.datasets import ViewRecipe, open_source, read_label, read_photo
from maskdistill.datasets.label_files import palette
from maskdistill.errors import ConfigError, ShapeError
from maskdistill.exports.coco import export_coco
from maskdistill.exports.records import ExportImage
from maskdistill.exports.voc import export_voc
from maskdistill.exports.yolo import export_yolo
from maskdistill.masks import mask_iou


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path)


def test_coco_comes_back_by_pycocotools(tmp_path, data):
    images, masks = data
    summary = export_coco(tmp_path / "out", images, masks, NAMES)
    assert (summary.num_images, summary.num_masks) == (3, 3)
    assert summary.files == ("annotations/instances.json", "polygons/instances.json")
    for file in summary.files:
        coco = load_coco(tmp_path / "out" / file)
        assert {number: item["name"] for number, item in coco.cats.items()} == {1: "cow", 2: NAMES[1]}
        assert [item["file_name"] for item in coco.loadImgs([0, 1, 2])] == ["a.jpg", "b.jpg", "c.jpg"]
        assert coco.getAnnIds(imgIds=[2]) == []
        for mask in masks:
            (annotation,) = [item for item in coco.anns.values() if item["mask_id"] == mask.id]
            wanted = decode(mask.code)
            np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), wanted)
            assert annotation["image_id"] == mask.image
            assert annotation["category_id"] == mask.label
            assert annotation["area"] == wanted.sum()
            assert annotation["bbox"] == coco_mask.toBbox(mask.code).tolist()
            assert annotation["attributes"]["kept"] == mask.kept


def test_coco_ids_start_at_one(tmp_path, data):
    """pycocotools' evaluation takes annotation 0 for one without a match."""
    export_coco(tmp_path / "out", *data, NAMES)
    assert sorted(load_coco(tmp_path / "out" / "annotations/instances.json").anns) == [1, 2, 11]


def test_coco_signals_become_plain_json(tmp_path, data):
    extra = {"area": np.float32(0.25), "cluster": np.int64(3), "iou": float("nan"), "why": "border"}
    mask = replace(data[1][0], score=float("nan"), extra=extra)
    export_coco(tmp_path / "out", data[0], [mask], NAMES)
    content = json.loads((tmp_path / "out" / "annotations/instances.json").read_text(), parse_constant=pytest.fail)
    assert content["annotations"][0]["score"] is None
    assert content["annotations"][0]["attributes"] == {
        "kept": True,
        "area": 0.25,
        "cluster": 3,
        "iou": None,
        "why": "border",
    }


def test_coco_has_a_file_for_each_split(tmp_path, data):
    images = [replace(image, split=split) for image, split in zip(data[0], ["train", "val", None], strict=True)]
    summary = export_coco(tmp_path / "out", images, data[1], NAMES)
    assert summary.files[2:] == (
        "splits/instances_train.json",
        "splits/instances_val.json",
        "polygons/instances_train.json",
        "polygons/instances_val.json",
    )
    for folder in ("splits", "polygons"):
        train = load_coco(tmp_path / "out" / folder / "instances_train.json")
        assert (sorted(train.imgs), sorted(train.anns)) == ([0], [1, 2])
        val = load_coco(tmp_path / "out" / folder / "instances_val.json")
        assert (sorted(val.imgs), sorted(val.anns)) == ([1], [11])
    assert sorted(load_coco(tmp_path / "out" / "annotations/instances.json").imgs) == [0, 1, 2]


def test_coco_with_photos_opens_as_a_source(tmp_path, data):
    images = [replace(image, split=split) for image, split in zip(data[0], ["train", "val", None], strict=True)]
    export_coco(tmp_path / "out", images, data[1][:1], NAMES, photos="copy")
    source = open_source(tmp_path / "out")
    assert [photo.id for photo in source.photos] == ["a", "b", "c"]
    assert source.classes == tuple(NAMES)
    np.testing.assert_array_equal(read_label(source, source.photos[0]) == 2, ring_and_dot())


@pytest.mark.parametrize("json", ["", "annotations/instances.json", "polygons/instances.json"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_coco_leads_back_to_photos_that_stay_where_they_are(tmp_path, json, orientation):
    size = (WIDTH, HEIGHT) if orientation == 1 else (HEIGHT, WIDTH)
    places = [("train", "x/1"), ("val", "x/y/2"), (None, "3")]
    images = [
        make_image(tmp_path, n, id, split=split, size=size, orientation=orientation)
        for n, (split, id) in enumerate(places)
    ]
    export_coco(tmp_path / "out", images, [make_mask(0, 1, ring_and_dot(), 2)], NAMES)
    source = open_source(tmp_path / "out" / json)
    assert source.skipped == ()
    assert [(photo.split, photo.id) for photo in source.photos] == [("train", "x/1"), ("val", "x/y/2"), (None, "3")]
    assert [photo.path.read_bytes() for photo in source.photos] == [image.path.read_bytes() for image in images]
    np.testing.assert_array_equal(read_label(source, source.photos[1]) == 2, ring_and_dot())


@pytest.mark.parametrize("file_name", ["../c.jpg", "/c.jpg", "b.jpg", ""])
def test_coco_names_that_lead_elsewhere_or_to_another_photo_give_way(tmp_path, data, file_name):
    (tmp_path / "c.jpg").write_text("mine")
    images = [*data[0][:2], replace(data[0][2], file_name=file_name)]
    export_coco(tmp_path / "out", images, data[1], NAMES)
    source = open_source(tmp_path / "out")
    assert [photo.id for photo in source.photos] == ["a", "b", "c"]
    assert (tmp_path / "c.jpg").read_text() == "mine"


def test_coco_without_a_photo_is_written_with_a_note(tmp_path, data):
    images, masks = data
    images[0].path.unlink()
    summary = export_coco(tmp_path / "out", images, masks, NAMES)
    assert (summary.num_images, summary.num_masks) == (3, 3)
    assert "1 photos could not be linked" in summary.sentence
    assert not (tmp_path / "out/images/a.jpg").is_symlink()


def test_views_are_written_because_they_are_no_files(tmp_path):
    path = save_photo(tmp_path / "whole.png", size=(100, 80))
    view = ViewRecipe((10, 5, 10 + WIDTH, 5 + HEIGHT), HEIGHT, WIDTH, True, 1.0, 1.0, 1.0)
    images = [ExportImage(n, f"whole-{n}", path, "whole.png", HEIGHT, WIDTH, None, view) for n in range(2)]
    export_coco(tmp_path / "out", images, [], NAMES)
    coco = load_coco(tmp_path / "out" / "annotations/instances.json")
    assert [item["file_name"] for item in coco.loadImgs([0, 1])] == ["whole-0.jpg", "whole-1.jpg"]
    written = np.asarray(read_photo(tmp_path / "out" / "images" / "whole-0.jpg"), dtype=float)
    wanted = np.asarray(Image.open(path))[5 : 5 + HEIGHT, 10 : 10 + WIDTH][:, ::-1]
    assert np.abs(written - wanted).mean() < 3  # levels of 255; JPEG loses a little
    assert np.abs(written[:, ::-1] - wanted).mean() > 6


def test_voc_comes_back_by_pillow_and_torchvision(tmp_path, data):
    images = [replace(image, split=split) for image, split in zip(data[0], ["train", "val", None], strict=True)]
    root = tmp_path / "VOCdevkit" / "VOC2012"
    summary = export_voc(root, images, label_map, NAMES)
    assert summary.files == (
        "classes.txt",
        "ImageSets/Segmentation/other.txt",
        "ImageSets/Segmentation/train.txt",
        "ImageSets/Segmentation/val.txt",
    )
    assert (root / "classes.txt").read_text(encoding="utf-8").splitlines() == ["background", *NAMES]
    for image in images:
        with Image.open(root / "SegmentationClass" / f"{image.id}.png") as label:
            assert label.mode == "P"
            np.testing.assert_array_equal(np.array(label), label_map(image))
            assert label.getpalette()[:9] == palette()[:3].ravel().tolist()
    for split, image in (("train", images[0]), ("val", images[1])):
        dataset = VOCSegmentation(str(tmp_path), year="2012", image_set=split)
        assert len(dataset) == 1
        photo, label = dataset[0]
        np.testing.assert_array_equal(np.asarray(photo), np.asarray(Image.open(image.path)))
        np.testing.assert_array_equal(np.asarray(label), label_map(image))


def test_voc_opens_as_a_source(tmp_path, data):
    images = [replace(image, split=split) for image, split in zip(data[0], ["train", "val", "val"], strict=True)]
    export_voc(tmp_path / "out", images, label_map, NAMES)
    source = open_source(tmp_path / "out")
    assert source.kind == "voc"
    assert source.classes == tuple(NAMES)
    assert [(photo.id, photo.split) for photo in source.photos] == [("a", "train"), ("b", "val"), ("c", "val")]
    for photo, image in zip(source.photos, images, strict=True):
        np.testing.assert_array_equal(read_label(source, photo), label_map(image))


def test_voc_lists_only_photos_with_a_label_map(tmp_path, data):
    summary = export_voc(tmp_path / "out", data[0], lambda image: label_map(image) if image.number else None, NAMES)
    assert (summary.num_images, summary.num_masks) == (3, 2)
    assert "1 photos have no label map" in summary.sentence
    assert (tmp_path / "out/ImageSets/Segmentation/trainval.txt").read_text().split() == ["b", "c"]
    assert (tmp_path / "out/JPEGImages/a.jpg").is_file()
    assert not (tmp_path / "out/SegmentationClass/a.png").exists()


def test_voc_wants_labels_that_fit(tmp_path, data):
    with pytest.raises(ShapeError, match=r"label map of photo a must have shape \(40, 56\), got \(56, 40\)"):
        export_voc(tmp_path / "out", data[0], lambda image: label_map(image).T, NAMES)
    with pytest.raises(ConfigError, match="photo a has class 2, wanted 0 to 1"):
        export_voc(tmp_path / "out", data[0], label_map, NAMES[:1])
    with pytest.raises(ConfigError, match="at most 254 classes, got 255"):
        export_voc(tmp_path / "out", data[0], label_map, ["x"] * 255)


def test_photos_are_upright_jpeg_where_voc_needs_them(tmp_path):
    images = [
        make_image(tmp_path, 0, "plain"),
        make_image(tmp_path, 1, "lying", size=(HEIGHT, WIDTH), orientation=6),
        make_image(tmp_path, 2, "lossless", suffix=".png"),
        make_image(tmp_path, 3, "upper", suffix=".JPEG"),
    ]
    summary = export_voc(tmp_path / "out", images, label_map, NAMES)
    folder = tmp_path / "out" / "JPEGImages"
    names = ["lossless.jpg", "lying.jpg", "plain.jpg", "upper.jpg"]
    assert sorted(path.name for path in folder.iterdir()) == names
    shared = [(folder / f"{image.id}.jpg").samefile(image.path) for image in images]
    assert shared == [True, False, False, True]
    assert "2 photos were saved as upright JPEG" in summary.sentence
    for image in images:
        with Image.open(folder / f"{image.id}.jpg") as picture:
            assert picture.format == "JPEG"
            assert picture.size == (WIDTH, HEIGHT)
            written = np.asarray(picture, dtype=float)
        assert np.abs(written - np.asarray(read_photo(image.path))).mean() < 3  # levels of 255


def read_yolo(path, shape):
    """Class and mask of every line, painted exactly."""
    height, width = shape
    found = []
    for line in path.read_text().splitlines():
        label, *values = line.split()
        points = np.array(values, float).reshape(-1, 2)
        assert len(points) >= 3
        assert points.min() >= 0
        assert points.max() <= 1
        found.append((int(label), points * (width, height)))
    return found


def test_yolo_comes_back(tmp_path, data):
    images, masks = data
    summary = export_yolo(tmp_path / "out", images, masks, NAMES)
    assert (summary.num_images, summary.num_masks) == (3, 3)
    shape = (HEIGHT, WIDTH)
    for image in images:
        found = read_yolo(tmp_path / "out/labels/train" / f"{image.id}.txt", shape)
        wanted = [mask for mask in masks if mask.image == image.number]
        assert [label for label, _ in found] == [mask.label - 1 for mask in wanted]
        for (_, points), mask in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(paint_exactly([points], shape), decode(mask.code))
        assert (tmp_path / "out/images/train" / f"{image.id}.jpg").read_bytes() == image.path.read_bytes()


@pytest.mark.parametrize("seed", range(6))
def test_yolo_polygon_of_one_piece_by_whole_pixels(tmp_path, seed):
    labels, _ = ndimage.label(blob(seed, (64, 64), 0.3, 5))
    mask = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    assert mask.sum() > 200
    image = ExportImage(0, "a", save_photo(tmp_path / "a.jpg", size=(64, 64)), "a.jpg", 64, 64)
    export_yolo(tmp_path / "out", [image], [make_mask(0, 0, mask)], NAMES)
    ((_, points),) = read_yolo(tmp_path / "out/labels/train/a.txt", (64, 64))
    assert mask_iou(paint_pixels(points, (64, 64)), mask) > 0.98
    np.testing.assert_array_equal(paint_exactly([points], (64, 64)), mask)


@pytest.mark.parametrize(
    ("splits", "wanted", "note"),
    [
        ([None, None, None], {"train": "images/train", "val": "images/train"}, "val means train"),
        (["train", "val", "test"], {"train": "images/train", "val": "images/val", "test": "images/test"}, ""),
        (["train", "val", None], {"train": "images/train", "val": "images/val"}, ""),
        (["val", "val", None], {"train": "images/other", "val": "images/val"}, "train means other"),
        (["my set", "my set", "my set"], {"train": "images/my_set", "val": "images/my_set"}, "train means my_set"),
    ],
)
def test_yolo_yaml(tmp_path, data, splits, wanted, note):
    images = [replace(image, split=split) for image, split in zip(data[0], splits, strict=True)]
    summary = export_yolo(tmp_path / "out", images, data[1], NAMES)
    content = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text(encoding="utf-8"))
    assert content.pop("names") == dict(enumerate(NAMES))
    assert content == wanted
    assert note in summary.sentence
    assert bool(note) == bool(summary.notes)
    for folder in wanted.values():
        photos = sorted(path.stem for path in (tmp_path / "out" / folder).iterdir())
        labels = sorted(path.stem for path in (tmp_path / "out" / folder.replace("images", "labels")).iterdir())
        assert photos == labels != []


def test_cache_of_ultralytics_goes_with_the_labels_it_was_made_from(tmp_path, data):
    """It tells a change by the total size: two classes swapped would go unseen."""
    export_yolo(tmp_path / "out", *data, NAMES)
    (tmp_path / "out/labels/train.cache").write_text("old")
    export_yolo(tmp_path / "out", *data, NAMES)
    assert not (tmp_path / "out/labels/train.cache").exists()


def test_coco_without_photos_reads_none(tmp_path, data):
    for image in data[0]:
        image.path.unlink()
    assert export_coco(tmp_path / "out", *data, NAMES).num_images == 3
