"""What annotations, photos and categories of a COCO file mean to each other."""

import json

import pytest
from coco_data import HEIGHT, WIDTH, annotation, polygon, save_photo, write_coco

from maskdistill.datasets import open_source, read_label
from maskdistill.errors import DatasetError

SQUARE = polygon(1, 5, 1, 5)
SIZE = {"height": HEIGHT, "width": WIDTH}


def open_coco(root, images, annotations, categories=None):
    """The source, and the number of pixels of class 1 of each photo; None where its ground truth is refused."""
    for image in images:
        save_photo(root / "images" / image["file_name"])
    path = root / "annotations" / "x.json"
    entries = [{**SIZE, **image} for image in images]
    source = open_source(write_coco(path, entries, annotations, categories or [{"id": 7, "name": "cow"}]))
    return source, {photo.id: pixels_of(source, photo) for photo in source.photos}


def pixels_of(source, photo):
    try:
        label = read_label(source, photo)
    except DatasetError:
        return None
    return -1 if label is None else int((label == 1).sum())


def notes_of(source):
    assert all(item.what == "label" for item in source.skipped)
    return [item.reason for item in source.skipped]


@pytest.mark.parametrize(("id", "named"), [("1", 1), (1, "1"), (1.0, 1), (1, 1.0), ("a", "a"), (2**70, 2**70)])
def test_ids_as_text_and_as_numbers_meet(tmp_path, id, named):
    images = [{"id": id, "file_name": "a.jpg"}]
    source, pixels = open_coco(tmp_path, images, [annotation(SQUARE, image_id=named)])
    assert pixels == {"a": 16}
    assert len(notes_of(source)) == (type(id) is not type(named) and str in (type(id), type(named)))


def test_text_and_number_that_are_both_ids_stay_apart(tmp_path):
    images = [{"id": "1", "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    _, pixels = open_coco(tmp_path, images, [annotation(SQUARE, image_id=1)])
    assert pixels == {"a": 0, "b": 16}


@pytest.mark.parametrize(("id", "named"), [("7", 7), (7, "7"), (7.0, 7)])
def test_category_ids_as_text_and_as_numbers_meet(tmp_path, id, named):
    images, categories = [{"id": 0, "file_name": "a.jpg"}], [{"id": id, "name": "cow"}]
    assert open_coco(tmp_path, images, [annotation(SQUARE, named)], categories)[1] == {"a": 16}


def test_one_id_of_several_photos(tmp_path):
    images = [{"id": number, "file_name": f"{name}.jpg"} for name, number in zip("abc", (1, 1, 2), strict=True)]
    annotations = [annotation(SQUARE, image_id=number) for number in (1, 1, 2)]
    source, pixels = open_coco(tmp_path, images, annotations)
    assert pixels == {"a": None, "b": None, "c": 16}
    assert any("2 photos" in note for note in notes_of(source))


def test_photo_that_is_named_twice_keeps_the_annotations_of_both_ids(tmp_path):
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "./a.jpg"}]
    annotations = [annotation(SQUARE, image_id=1), annotation(polygon(6, 8, 6, 8), image_id=2)]
    source, pixels = open_coco(tmp_path, images, annotations)
    assert pixels == {"a": 20}
    assert len(notes_of(source)) == 1


def test_annotations_of_photos_that_are_not_there_are_counted_once(tmp_path):
    stray = [annotation(SQUARE, image_id=image_id) for image_id in (5, "x", None, 1.5, [], {}, True)]
    source, pixels = open_coco(tmp_path, [{"id": 0, "file_name": "a.jpg"}], [annotation(SQUARE), *stray])
    assert pixels == {"a": 16}
    assert [note.split()[0] for note in notes_of(source)] == ["7"]


@pytest.mark.parametrize("category_id", [5, "x", None, [7], {}, 7.5])
def test_category_that_is_not_there_leaves_out_the_photo(tmp_path, category_id):
    images = [{"id": 0, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    annotations = [annotation(SQUARE), annotation(SQUARE, category_id), annotation(SQUARE, image_id=1)]
    source, pixels = open_coco(tmp_path, images, annotations)
    assert pixels == {"a": None, "b": 16}
    assert len(notes_of(source)) == 1


def test_category_id_of_two_names(tmp_path):
    categories = [{"id": 7, "name": "cow"}, {"id": 7, "name": "cat"}, {"id": 8, "name": "cow"}]
    images = [{"id": 0, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    _, pixels = open_coco(tmp_path, images, [annotation(SQUARE), annotation(SQUARE, 8, image_id=1)], categories)
    assert pixels == {"a": None, "b": 16}


@pytest.mark.parametrize("name", [None, 5, "", [], {}, True, "\ud800"])
def test_categories_without_a_usable_name_are_still_classes(tmp_path, name):
    source, pixels = open_coco(
        tmp_path, [{"id": 0, "file_name": "a.jpg"}], [annotation(SQUARE)], [{"id": 7, "name": name}]
    )
    assert pixels == {"a": 16}
    assert source.classes[0].encode()


def test_background_is_painted_as_such(tmp_path):
    categories = [{"id": 0, "name": "Background"}, {"id": 7, "name": "cow"}]
    source, pixels = open_coco(
        tmp_path, [{"id": 0, "file_name": "a.jpg"}], [annotation(SQUARE, 0), annotation(SQUARE)], categories
    )
    assert (source.classes, pixels) == (("cow",), {"a": 16})


@pytest.mark.parametrize(
    ("crowd", "pixels"),
    [(0, 16), (None, 16), (False, 16), ("0", 16), (1, 0), (True, 0), ("1", 0), (1.0, 0), ("no", None)],
)
def test_crowd_in_every_spelling(tmp_path, crowd, pixels):
    assert open_coco(tmp_path, [{"id": 0, "file_name": "a.jpg"}], [annotation(SQUARE, iscrowd=crowd)])[1] == {
        "a": pixels
    }


@pytest.mark.parametrize("thin", [[], [3, 4], [3, 4, 5, 6]])
def test_pieces_without_an_area_are_said(tmp_path, thin):
    source, pixels = open_coco(tmp_path, [{"id": 0, "file_name": "a.jpg"}], [annotation([*SQUARE, thin])])
    assert pixels == {"a": 16}
    assert len(notes_of(source)) == 1


def test_ids_of_annotations_may_repeat_with_a_note(tmp_path):
    twice = [annotation(SQUARE, id=3), annotation(polygon(6, 8, 6, 8), id=3)]
    source, pixels = open_coco(tmp_path, [{"id": 0, "file_name": "a.jpg"}], twice)
    assert pixels == {"a": 20}
    assert len(notes_of(source)) == 1


def test_entries_that_are_no_objects_are_counted(tmp_path):
    save_photo(tmp_path / "images" / "a.jpg")
    odd = [None, 5, "x", [], True]
    images = [
        *odd,
        {"id": 0, "file_name": "a.jpg", **SIZE},
        {"id": 1},
        {"file_name": "b.jpg"},
        {"id": [], "file_name": {}},
    ]
    path = write_coco(tmp_path / "x.json", images, [annotation(SQUARE), *odd], [*odd, {"id": 7, "name": "cow"}])
    source = open_source(path)
    assert pixels_of(source, source.photos[0]) == 16
    assert sorted(note.split()[0] for note in notes_of(source)) == ["5", "5", "8"]


GONE = object()
NO_LIST = [{}, 5, "x", "", None, False, float("nan"), float("-inf"), {"1": {"id": 1}}, GONE]


def write_without(path, name, value):
    """A file of a photo with a mask, with this in place of one of its lists."""
    save_photo(path.with_suffix(".jpg"))
    image = {"id": 0, "file_name": f"{path.stem}.jpg"}
    content = json.loads(write_coco(path, [image], [annotation(SQUARE)]).read_text()) | {name: value}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not GONE}))


@pytest.mark.parametrize("value", NO_LIST)
@pytest.mark.parametrize("name", ["annotations", "categories"])
def test_lists_of_another_type_leave_the_photos(tmp_path, name, value):
    write_without(tmp_path / "a.json", name, value)
    source = open_source(tmp_path / "a.json")
    assert not source.has_labels
    assert pixels_of(source, source.photos[0]) in (None, -1)
    assert any(f"'{name}'" in note for note in notes_of(source))


@pytest.mark.parametrize("value", NO_LIST)
@pytest.mark.parametrize("name", ["annotations", "categories"])
def test_photos_of_a_file_without_a_list_are_not_background_beside_a_sound_file(tmp_path, name, value):
    write_without(tmp_path / "a.json", name, value)
    write_without(tmp_path / "b.json", "info", {})
    source = open_source(tmp_path)
    assert source.has_labels
    assert {photo.id: pixels_of(source, photo) for photo in source.photos} == {"a": None, "b": 16}


@pytest.mark.parametrize("value", NO_LIST)
def test_file_without_a_list_of_images_is_refused(tmp_path, value):
    write_without(tmp_path / "a.json", "images", value)
    with pytest.raises(DatasetError, match=r"a\.json.* 'images'"):
        open_source(tmp_path / "a.json")
    source = open_source(tmp_path)  # as a folder of photos
    assert len(source.photos) == 1
    assert any("a.json" in note for note in notes_of(source))


def test_photos_of_two_files_of_one_name_have_different_ids(tmp_path):
    for split in ("train", "valid"):
        for name in ("1.jpg", f"{split}.jpg"):
            save_photo(tmp_path / split / name)
        images = [{"id": n, "file_name": name} for n, name in enumerate(("1.jpg", f"{split}.jpg"))]
        write_coco(tmp_path / split / "_annotations.coco.json", images, [annotation(SQUARE)])
    source = open_source(tmp_path)
    assert {photo.id: photo.split for photo in source.photos} == {
        "train/1": "train",
        "train": "train",
        "valid/1": "val",
        "valid": "val",
    }
