import json
import os
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy import ndimage
from torchvision.datasets import VOCSegmentation

from maskdistill.datasets import ViewRecipe, open_source, read_label, read_photo
from maskdistill.errors import ConfigError, DatasetError, ShapeError
from maskdistill.exports import (
    MARKER,
    ExportImage,
    ExportMask,
    clean_class_names,
    portable_stems,
)
from maskdistill.exports.coco import INSET, export_coco, join_rings, mask_polygons
from maskdistill.exports.voc import export_voc
from maskdistill.exports.yolo import export_yolo
from maskdistill.masks import encode_mask, mask_iou
from maskdistill.painting import palette

HEIGHT, WIDTH = 40, 56
NAMES = ["cow", 'odd: "name", #1 \\ {ö}']


def save_photo(path, *, size=(WIDTH, HEIGHT), seed=0, orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(ndimage.gaussian_filter(pixels, (2, 2, 0)))
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def make_image(root, number, id, *, split=None, suffix=".jpg", **options):
    path = save_photo(root / "data" / f"{id}{suffix}", seed=number, **options)
    return ExportImage(number, id, path, f"{id}{suffix}", HEIGHT, WIDTH, split)


def blob(seed=0, shape=(HEIGHT, WIDTH), share=0.2, blur=4.0):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), blur)
    return smooth > np.quantile(smooth, 1 - share)


def ring_and_dot():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:25, 10:35] = True
    mask[10:16, 15:22] = False
    mask[30:36, 45:53] = True
    return mask


def make_mask(id, image, mask, label=1, **options):
    return ExportMask(id, image, label, 0.5, encode_mask(mask), **options)


@pytest.fixture
def data(tmp_path):
    images = [make_image(tmp_path, number, id) for number, id in enumerate(["a", "b", "c"])]
    masks = [
        make_mask(0, 0, ring_and_dot(), 2),
        make_mask(1, 0, blob(1), 1, kept=False),
        make_mask(10, 1, np.ones((HEIGHT, WIDTH), bool), 1),
    ]
    return images, masks


def decode(code):
    return coco_mask.decode(code).astype(bool)


def paint_exactly(polygons, shape):
    codes = coco_mask.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *shape)
    return decode(coco_mask.merge(codes))


def paint_pixels(polygon, shape):
    """As readers do that cut coordinates to whole pixels and paint the outline too."""
    canvas = Image.new("1", shape[::-1])
    ImageDraw.Draw(canvas).polygon([(int(x), int(y)) for x, y in polygon], fill=1, outline=1)
    return np.array(canvas)


MASKS = {
    "one pixel": np.pad(np.ones((1, 1), bool), 3),
    "all": np.ones((4, 7), bool),
    "row": np.ones((1, 9), bool),
    "column": np.ones((9, 1), bool),
    "corner to corner": np.kron(np.eye(3, dtype=bool), np.ones((2, 2), bool)),
    "ring and dot": ring_and_dot(),
    "hole that leaves by a corner": np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 1]], bool),
    "half noise": np.random.default_rng(0).random((24, 31)) < 0.5,
    "sparse": np.random.default_rng(1).random((24, 31)) < 0.05,
    "blobs": blob(2, (64, 64), 0.3, 3),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_polygons_painted_give_the_mask(mask):
    polygons = mask_polygons(mask)
    assert len(polygons) == ndimage.label(mask)[1]
    np.testing.assert_array_equal(paint_exactly(polygons, mask.shape), mask)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_one_polygon_for_all_pieces_gives_the_mask(mask):
    np.testing.assert_array_equal(paint_exactly([join_rings(mask_polygons(mask))], mask.shape), mask)


@pytest.mark.parametrize("name", ["one pixel", "all", "row", "column", "blobs", "ring and dot"])
def test_polygons_suit_readers_that_paint_whole_pixels(name):
    mask = MASKS[name]
    painted = np.any([paint_pixels(polygon, mask.shape) for polygon in mask_polygons(mask)], axis=0)
    assert mask_iou(painted, mask) > 0.99


def test_joining_lines_are_as_short_as_they_can_be():
    """Pieces in a row, the largest in the middle: each is joined to its neighbour, not all to the largest."""
    mask = np.zeros((20, 64), bool)
    for left, width in ((1, 3), (10, 6), (20, 12), (40, 6), (52, 4)):
        mask[5:15, left : left + width] = True
    polygon = join_rings(mask_polygons(mask))
    painted = paint_pixels(polygon, mask.shape)
    assert not (mask & ~painted).any()
    assert (painted & ~mask).sum() == (10 - 4) + (20 - 16) + (40 - 32) + (52 - 46)


def test_outline_of_a_rectangle_by_hand():
    mask = np.zeros((6, 9), bool)
    mask[1:3, 4:8] = True
    corners = {(4 + INSET, 1 + INSET), (8 - INSET, 1 + INSET), (4 + INSET, 3 - INSET), (8 - INSET, 3 - INSET)}
    (polygon,) = mask_polygons(mask)
    assert {tuple(corner) for corner in np.round(polygon, 6).tolist()} == {
        tuple(np.round(corner, 6).tolist()) for corner in corners
    }
    assert len(polygon) == 4


def test_empty_mask_has_no_polygon():
    assert mask_polygons(np.zeros((4, 5), bool)) == []


def test_speckle_does_not_take_for_ever():
    """The join took time by the square of the pieces: minutes for a noisy mask of a large photo."""
    mask = np.zeros((64, 64), bool)
    mask[::2, ::2] = True
    mask[:8, :8] = True
    polygon = join_rings(mask_polygons(mask))
    painted = paint_exactly([polygon], mask.shape)
    assert painted[:8, :8].all()  # the largest are kept
    assert not (painted & ~mask).any()
    assert painted.sum() < mask.sum()


def load_coco(path):
    return COCO(str(path))


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


def label_map(image):
    labels = np.zeros((image.height, image.width), np.uint8)
    labels[3:20, 5 : 20 + image.number] = 1
    labels[10:30, 30:50] = 2
    labels[0] = 255
    return labels


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


@pytest.mark.parametrize("export", [export_coco, export_yolo])
def test_no_masks_at_all(tmp_path, data, export):
    summary = export(tmp_path / "out", data[0], [], [])
    assert (summary.num_images, summary.num_masks) == (3, 0)
    if export is export_coco:
        assert load_coco(tmp_path / "out/annotations/instances.json").anns == {}
    else:
        assert (tmp_path / "out/labels/train/a.txt").read_text() == ""


@pytest.mark.parametrize("export", [export_coco, export_yolo])
def test_empty_masks_are_left_out(tmp_path, data, export):
    empty = make_mask(7, 1, np.zeros((HEIGHT, WIDTH), bool))
    assert export(tmp_path / "out", data[0], [*data[1], empty], NAMES).num_masks == 3


@pytest.mark.parametrize("export", [export_coco, export_yolo])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"label": 3}, ConfigError, "Mask 0 has class 3, wanted 1 to 2"),
        ({"label": 0}, ConfigError, "Mask 0 has class 0, wanted 1 to 2"),
        ({"image": 9}, ConfigError, "Mask 0 belongs to photo 9, which is not among"),
        ({"id": 1}, ConfigError, "Two masks have the id 1"),
        ({"code": encode_mask(np.ones((5, 6), bool))}, ShapeError, r"Mask 0 must have shape \(40, 56\).*got \(5, 6\)"),
    ],
)
def test_masks_that_do_not_fit(tmp_path, data, export, change, error, message):
    images, masks = data
    with pytest.raises(error, match=message):
        export(tmp_path / "out", images, [replace(masks[0], **change), *masks[1:]], NAMES)
    assert not (tmp_path / "out").exists()


def write(kind, out, data, images=None, **options):
    images = data[0] if images is None else images
    if kind == "voc":
        return export_voc(out, images, label_map, NAMES, **options)
    return {"coco": export_coco, "yolo": export_yolo}[kind](out, images, data[1], NAMES, **options)


KINDS = ["coco", "voc", "yolo"]


@pytest.mark.parametrize("kind", KINDS)
def test_photos_that_do_not_fit(tmp_path, data, kind):
    with pytest.raises(ConfigError, match="no photo to export"):
        write(kind, tmp_path / "out", data, images=[])
    with pytest.raises(ConfigError, match="2 photos have the number 0"):
        write(kind, tmp_path / "out", data, images=[data[0][0], replace(data[0][1], number=0)])
    with pytest.raises(ConfigError, match="2 photos have the id a"):
        write(kind, tmp_path / "out", data, images=[data[0][0], replace(data[0][1], id="a")])


@pytest.mark.parametrize("kind", KINDS)
def test_folder_of_somebody_else_is_refused(tmp_path, data, kind):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"is not empty and no export has written it: it holds thesis\.txt"):
        write(kind, out, data)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigError, match=r"thesis\.txt is a file, wanted a folder"):
        write(kind, out / "thesis.txt", data)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_folder_is_taken(tmp_path, data, kind):
    (tmp_path / "out").mkdir()
    assert write(kind, tmp_path / "out", data).num_images == 3


def content_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_exporting_again_leaves_nothing_of_the_first(tmp_path, data, kind):
    out = tmp_path / "out"
    for other in KINDS:
        write(other, out, data)
        (out / "notes.txt").write_text("mine")
        write(kind, out, data, images=data[0][1:] if kind == "voc" else data[0])
        again = content_of(out)
        assert again.pop("notes.txt") == b"mine"
        write(kind, tmp_path / "new", data, images=data[0][1:] if kind == "voc" else data[0])
        assert again == content_of(tmp_path / "new")
    for image in data[0]:
        assert Image.open(image.path).size == (WIDTH, HEIGHT)  # links were removed, not what they lead to


def test_cache_of_ultralytics_goes_with_the_labels_it_was_made_from(tmp_path, data):
    """It tells a change by the total size: two classes swapped would go unseen."""
    export_yolo(tmp_path / "out", *data, NAMES)
    (tmp_path / "out/labels/train.cache").write_text("old")
    export_yolo(tmp_path / "out", *data, NAMES)
    assert not (tmp_path / "out/labels/train.cache").exists()


def test_file_of_somebody_else_in_an_export_is_not_replaced(tmp_path, data):
    out = tmp_path / "out"
    export_coco(out, *data, NAMES)
    (out / "data.yaml").write_text("mine")
    before = content_of(out)
    with pytest.raises(ConfigError, match=r"would replace .*data\.yaml, which no export has written"):
        export_yolo(out, *data, NAMES)
    assert content_of(out) == before


def test_export_that_was_cut_short_is_replaced(tmp_path, data):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_yolo(tmp_path / "out", *data, NAMES, on_progress=stop)
    assert not json.loads((tmp_path / "out" / MARKER).read_text())["complete"]
    export_voc(tmp_path / "out", data[0], label_map, NAMES)
    assert json.loads((tmp_path / "out" / MARKER).read_text())["complete"]
    assert not (tmp_path / "out" / "labels").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"files": [3]}', '{"files": ["../data/a.jpg"]}'])
def test_damaged_marker_removes_nothing(tmp_path, data, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARKER).write_text(content)
    with pytest.raises(ConfigError, match="is damaged|names files outside"):
        export_coco(tmp_path / "out", *data, NAMES)
    assert data[0][0].path.is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_unreadable_photo_is_left_out(tmp_path, data, kind):
    images = list(data[0])
    images[0].path.write_bytes(b"no picture")
    save_photo(images[2].path, size=(8, 8))
    summary = write(kind, tmp_path / "out", data, photos="link")
    assert summary.num_images == 1
    assert "2 photos were left out. The first: Cannot read" in summary.sentence
    images[1].path.unlink()
    with pytest.raises(DatasetError, match="None of the 3 photos can be read"):
        write(kind, tmp_path / "out", data, photos="link")


@pytest.mark.parametrize("kind", KINDS)
def test_photo_that_proves_damaged_while_being_saved_is_left_out(tmp_path, data, kind):
    lying = make_image(tmp_path, 3, "lying", size=(HEIGHT, WIDTH), orientation=6, suffix=".png")
    content = bytearray(lying.path.read_bytes())
    middle = content.index(b"IDAT") + 40
    content[middle : middle + 200] = b"\0" * 200
    lying.path.write_bytes(content)
    summary = write(kind, tmp_path / "out", data, images=[*data[0], lying], photos="copy")
    assert summary.num_images == 3
    assert "1 photos were left out" in summary.sentence
    assert not any("lying" in path.name for path in (tmp_path / "out").rglob("*"))


def test_coco_without_photos_reads_none(tmp_path, data):
    for image in data[0]:
        image.path.unlink()
    assert export_coco(tmp_path / "out", *data, NAMES).num_images == 3


def refuse(*_args, **_options):
    raise OSError("a required privilege is not held by the client")


@pytest.mark.parametrize(
    ("mode", "refused", "linked", "symbolic"),
    [
        ("link", [], True, False),
        ("link", ["link"], True, True),
        ("link", ["link", "symlink"], False, False),
        ("copy", [], False, False),
    ],
)
def test_links_and_copies(tmp_path, data, monkeypatch, mode, refused, linked, symbolic):
    for name in refused:
        monkeypatch.setattr(os, name, refuse)
    export_yolo(tmp_path / "out", *data, NAMES, photos=mode)
    placed, source = tmp_path / "out/images/train/a.jpg", data[0][0].path
    assert placed.samefile(source) == linked
    assert placed.is_symlink() == symbolic
    assert placed.read_bytes() == source.read_bytes()


def test_linked_photo_that_is_itself_a_link(tmp_path, data):
    link = tmp_path / "shortcut.jpg"
    link.symlink_to(os.path.relpath(data[0][0].path, tmp_path))
    export_yolo(tmp_path / "out", [replace(data[0][0], path=link)], [], NAMES)
    assert not (tmp_path / "out/images/train/a.jpg").is_symlink()
    assert (tmp_path / "out/images/train/a.jpg").samefile(link)


@pytest.mark.parametrize("kind", KINDS)
def test_progress_counts_photos(tmp_path, data, kind):
    seen = []
    write(kind, tmp_path / "out", data, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def stems(*ids):
    images = [ExportImage(number, id, None, "", 1, 1) for number, id in enumerate(ids)]
    return list(portable_stems(images).values())


def test_stems_are_unique_and_portable():
    assert stems("x/1", "y/2") == ["1", "2"]
    assert stems("x/1", "y/1", "z/2") == ["x__1", "y__1", "2"]
    assert stems("Cow", "x/cow") == ["Cow", "x__cow"]  # one file on Windows and macOS
    assert stems("a b", "a_b", "a.b") == ["a_b", "a_b_2", "a_b_3"]
    assert stems("1", "x/1", "x__1") == ["1", "x__1_2", "x__1"]
    assert stems("kuh.jpg", "Kühe-1_ä", "猫", "a\udcffb", 'q:"?*<>|') == [
        "kuh_jpg",
        "Kühe-1_ä",
        "猫",
        "a_b",
        "q_______",
    ]
    assert stems("con", "Lpt1", "nul.txt", ".") == ["con_", "Lpt1_", "nul_txt", "_"]
    assert len(stems("ö" * 300)[0].encode()) == 200


def test_photos_of_one_name_in_two_folders(tmp_path):
    images = [make_image(tmp_path, 0, "x/1"), make_image(tmp_path, 1, "y/1"), make_image(tmp_path, 2, "my cow")]
    summary = export_voc(tmp_path / "out", images, label_map, NAMES)
    assert "3 photos go by another name, to be unique or portable, as 'x/1' by 'x__1'." in summary.sentence
    source = open_source(tmp_path / "out")
    assert [(photo.id, photo.split) for photo in source.photos] == [
        ("my_cow", "train"),
        ("x__1", "train"),
        ("y__1", "train"),
    ]
    for photo, number in zip(source.photos, (2, 0, 1), strict=True):
        assert photo.path.read_bytes() == images[number].path.read_bytes()
        np.testing.assert_array_equal(read_label(source, photo), label_map(images[number]))


def test_class_names_stay_one_line_and_different():
    names, notes = clean_class_names(["cow", "", " two\nlines\t\x7f", "Cow", "cow", "Kühe 🐄"])
    assert names == ("cow", "class 2", "two lines", "Cow (2)", "cow (3)", "Kühe 🐄")
    assert "4 class names were changed" in notes[0]
    assert clean_class_names(["cow", "sheep"]) == (("cow", "sheep"), ())


def test_odd_class_names_come_back_from_every_format(tmp_path, data):
    odd = ["\u2028null: yes", "- 'a'"]
    export_coco(tmp_path / "coco", *data, odd)
    export_yolo(tmp_path / "yolo", *data, odd)
    export_voc(tmp_path / "voc", data[0], label_map, odd)
    wanted = ["null: yes", "- 'a'"]
    coco = load_coco(tmp_path / "coco/annotations/instances.json")
    assert [item["name"] for item in coco.loadCats([1, 2])] == wanted
    assert list(yaml.safe_load((tmp_path / "yolo/data.yaml").read_text(encoding="utf-8"))["names"].values()) == wanted
    assert open_source(tmp_path / "voc").classes == tuple(wanted)
