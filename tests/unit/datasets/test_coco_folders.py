"""Folders as other tools export them, given as they are."""

import json

import pytest
from coco_data import HEIGHT, WIDTH, annotation, polygon, save_photo, write_coco

from maskdistill.datasets import open_source, read_label, reopen_source


def coco(path, *names, prefix="", **fields):
    images = [{"id": n, "file_name": prefix + name, "height": HEIGHT, "width": WIDTH} for n, name in enumerate(names)]
    return write_coco(
        path,
        [image | fields for image in images],
        [annotation(polygon(1, 5, 1, 5), image_id=n) for n in range(len(names))],
    )


def photos(folder, *names):
    for name in names:
        save_photo(folder / name)


def roboflow(root):
    for split in ("train", "valid", "test"):
        photos(root / split, f"{split}-1.jpg", "1.jpg")
        coco(root / split / "_annotations.coco.json", f"{split}-1.jpg", "1.jpg")
    (root / "README.roboflow.txt").write_text("about")
    return {"train": 2, "val": 2, "test": 2}


def fiftyone(root):
    photos(root / "data", "a.jpg", "b.jpg")
    coco(root / "labels.json", "a.jpg", "b.jpg")
    return {None: 2}


def fiftyone_splits(root):
    for split in ("train", "validation"):
        photos(root / split / "data", "a.jpg")
        coco(root / split / "labels.json", "a.jpg")
    return {"train": 1, "val": 1}


def label_studio(root):
    photos(root / "images", "a.jpg")
    coco(root / "result.json", "a.jpg", prefix="images/")
    return {None: 1}


def cvat(root):
    photos(root / "images" / "default", "a.jpg")
    coco(root / "annotations" / "instances_default.json", "a.jpg")
    return {None: 1}


def labelme2coco(root):
    photos(root / "JPEGImages", "a.jpg")
    coco(root / "annotations.json", "a.jpg", prefix="JPEGImages/")
    return {None: 1}


def supervisely(root):
    for name in ("ds0", "ds1"):
        photos(root / name / "images", f"{name}.jpg")
        coco(root / name / "annotations" / "instances.json", f"{name}.jpg")
    return {None: 2}


def several_at_the_root(root):
    """Captions repeat the photos of the instances; the settings of the tool are no COCO file."""
    photos(root / "images", "a.jpg")
    coco(root / "instances.json", "a.jpg")
    coco(root / "captions.json", "a.jpg")
    (root / "package.json").write_text('{"name": "images", "version": 1}')
    return {None: 1}


def annotations_apart(root):
    photos(root / "photos" / "lot1", "a.jpg")
    coco(root / "Labels" / "export.json", "a.jpg", prefix="lot1/")
    return {None: 1}


def annotations_of_splits_apart(root):
    for split in ("train", "val"):
        photos(root / "images" / split, "a.jpg")
        coco(root / "annotations" / split / "instances.json", "a.jpg", prefix=f"{split}/")
    return {"train": 1, "val": 1}


def lvis(root):
    photos(root / "val2017", "1.jpg")
    path = coco(root / "lvis_v1_val.json", "1.jpg", coco_url="http://images.cocodataset.org/val2017/1.jpg")
    content = json.loads(path.read_text())
    for image in content["images"]:
        del image["file_name"]
    path.write_text(json.dumps(content))
    return {"val": 1}


TOOLS = [
    annotations_apart,
    annotations_of_splits_apart,
    lvis,
    roboflow,
    fiftyone,
    fiftyone_splits,
    label_studio,
    cvat,
    labelme2coco,
    supervisely,
    several_at_the_root,
]


@pytest.mark.parametrize("tool", TOOLS)
def test_export_of_another_tool(tmp_path, tool):
    wanted = tool(tmp_path)
    source = open_source(tmp_path)
    assert source.kind == "coco"
    assert source.has_labels
    assert source.skipped == ()
    found = [photo.split for photo in source.photos]
    assert {split: found.count(split) for split in found} == wanted
    assert len({photo.id for photo in source.photos}) == len(source.photos)
    again = reopen_source(source.kind, source.spec, source.photos, source.classes)
    assert all(read_label(again, photo).sum() == 16 for photo in source.photos)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", "null", '{"images": 3, "annotations": []}', '{"a": 1}', "\0", "[" * 100_000]
)
@pytest.mark.parametrize("name", ["package.json", "annotations/instances.json", "annotations/x.json", "labels.json"])
def test_json_that_is_no_coco_leaves_a_folder_of_photos(tmp_path, name, content):
    photos(tmp_path / "images", "a.jpg")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    source = open_source(tmp_path)
    assert (source.kind, [photo.id for photo in source.photos]) == ("folder", ["images/a"])
    assert all((item.what, item.path.name) == ("label", name.split("/")[-1]) for item in source.skipped)
    if name.startswith("annotations") or "images" in content:  # what looks like COCO is not passed over in silence
        assert len(source.skipped) == 1


def test_coco_file_that_is_cut_off_is_named_beside_the_photos(tmp_path):
    photos(tmp_path / "images", "a.jpg")
    path = coco(tmp_path / "labels.json", "a.jpg")
    path.write_text(path.read_text()[:-20])
    source = open_source(tmp_path)
    assert (source.kind, len(source.photos), source.has_labels) == ("folder", 1, False)
    assert [(item.what, item.path) for item in source.skipped] == [("label", path)]


def test_one_damaged_file_of_several_is_left_out(tmp_path):
    for split in ("train", "val"):
        photos(tmp_path / split, f"{split}.jpg")
        coco(tmp_path / "annotations" / f"instances_{split}.json", f"{split}.jpg")
    (tmp_path / "annotations" / "instances_val.json").write_text("{")
    source = open_source(tmp_path)
    assert [photo.id for photo in source.photos] == ["train"]
    assert [(item.what, item.path.name) for item in source.skipped] == [("label", "instances_val.json")]
    again = reopen_source(source.kind, source.spec, source.photos, source.classes)
    assert read_label(again, source.photos[0]).sum() == 16


def test_coco_file_whose_pictures_are_elsewhere_leaves_the_photos_that_are_there(tmp_path):
    photos(tmp_path / "images", "a.jpg")
    coco(tmp_path / "labels.json", "b.jpg")
    source = open_source(tmp_path)
    assert (source.kind, [photo.id for photo in source.photos]) == ("folder", ["images/a"])
    assert [(item.what, item.path.name) for item in source.skipped] == [("label", "labels.json")]


def test_pictures_that_no_file_names_are_counted(tmp_path):
    photos(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg")
    coco(tmp_path / "labels.json", "b.jpg")
    source = open_source(tmp_path)
    assert [photo.id for photo in source.photos] == ["b"]
    assert [(item.what, item.path.name, "2 pictures" in item.reason) for item in source.skipped] == [
        ("photo", "a.jpg", True)
    ]


def test_coco_folder_among_photos_does_not_hide_them(tmp_path):
    photos(tmp_path / "mine", "a.jpg")
    label_studio(tmp_path / "other")
    source = open_source(tmp_path)
    assert (source.kind, [photo.id for photo in source.photos]) == ("folder", ["mine/a", "other/images/a"])
    assert [(item.what, item.path.name) for item in source.skipped] == [("label", "result.json")]


def test_one_json_for_each_photo_is_not_looked_through(tmp_path):
    for number in range(30):
        photos(tmp_path, f"{number}.jpg")
        content = {"images": [], "annotations": [], "categories": []}
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    assert open_source(tmp_path).kind == "folder"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_of_json(tmp_path, encoding):
    photos(tmp_path / "images", "Kühe.jpg")
    path = coco(tmp_path / "labels.json", "Kühe.jpg")
    path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False), encoding=encoding)
    source = open_source(tmp_path)
    assert (source.kind, source.photos[0].id) == ("coco", "Kühe")
