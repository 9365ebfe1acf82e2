import numpy as np
import pytest
from coco_data import (
    HEIGHT,
    WIDTH,
    annotation,
    compressed_rle,
    make_coco,
    plain_rle,
    polygon,
    rectangle,
    save_photo,
    write_coco,
)

from maskdistill.datasets import open_source, read_label, read_objects, reopen_source
from maskdistill.datasets.images import turn_upright
from maskdistill.errors import DatasetError


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


def test_objects_are_told_apart_where_they_overlap(tmp_path):
    annotations = [
        annotation(polygon(5, 8, 5, 8), 3),
        annotation(polygon(2, 15, 2, 15), 7),
        annotation(plain_rle(rectangle(0, 20, 0, 30)), 3, iscrowd=1),
    ]
    make_coco(tmp_path / "annotations" / "x.json", ("a.jpg", "b.jpg"), annotations)
    source = open_source(tmp_path)
    (crowd, first), (large, second), (small, third) = read_objects(source, source.photos[0])
    assert (first, second, third) == (255, 1, 2)
    np.testing.assert_array_equal(crowd, rectangle(0, 20, 0, 30))
    np.testing.assert_array_equal(large, rectangle(2, 15, 2, 15))
    np.testing.assert_array_equal(small, rectangle(5, 8, 5, 8))
    assert read_objects(source, source.photos[1]) == []


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
    assert not source.has_labels
    with pytest.raises(DatasetError, match=r"another size.*\[4, 4\]"):
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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "make",
    [lambda *box: compressed_rle(rectangle(*box)), lambda *box: [plain_rle(rectangle(*box))], polygon],
)
def test_mask_made_on_the_pixels_as_stored_is_turned_with_the_photo(tmp_path, orientation, make):
    """Tools that ignore EXIF: the json's size is the stored one, the photo's is the upright one."""
    path = make_coco(tmp_path / "annotations" / "x.json", annotations=[annotation(make(5, 12, 8, 20))])
    save_photo(tmp_path / "images" / "a.jpg", orientation=orientation)
    source = open_source(path)
    upright = rectangle(5, 12, 8, 20)
    if orientation >= 5:  # else the sizes are equal, and the mask is taken as upright
        upright = turn_upright(upright, orientation)
    np.testing.assert_array_equal(read_label(source, source.photos[0]), upright)
    assert source.skipped == ()


@pytest.mark.parametrize("orientation", [6, 8])
def test_mask_made_on_the_upright_photo_stays(tmp_path, orientation):
    size = {"width": HEIGHT, "height": WIDTH}
    path = make_coco(tmp_path / "annotations" / "x.json", annotations=[annotation(polygon(5, 22, 8, 12))], **size)
    save_photo(tmp_path / "images" / "a.jpg", orientation=orientation)
    source = open_source(path)
    upright = np.zeros((WIDTH, HEIGHT), np.uint8)
    upright[5:22, 8:12] = 1
    np.testing.assert_array_equal(read_label(source, source.photos[0]), upright)


@pytest.mark.parametrize("size", [{"width": None, "height": None}, {"width": 0, "height": 0}, {"width": "x"}])
def test_polygons_of_unknown_size_are_not_drawn_on_a_photo_that_lies_on_its_side(tmp_path, size):
    """Nobody can tell whether they were made on the photo as it is stored. A code of run lengths says its size."""
    names = ("a.jpg", "b.jpg", "c.jpg")
    rle = compressed_rle(np.ascontiguousarray(rectangle(5, 12, 8, 20).T))
    masks = [annotation(mask, image_id=n) for n, mask in enumerate((polygon(5, 12, 8, 12), polygon(5, 12, 8, 12), rle))]
    path = make_coco(tmp_path / "annotations" / "x.json", names, masks, **size)
    for name in names[1:]:
        save_photo(tmp_path / "images" / name, orientation=6)
    source = open_source(path)
    assert read_label(source, source.photos[0]).sum() == 28
    with pytest.raises(DatasetError, match="photo b .*EXIF"):
        read_label(source, source.photos[1])
    np.testing.assert_array_equal(read_label(source, source.photos[2]), rectangle(5, 12, 8, 20).T)


@pytest.mark.parametrize(("width", "height"), [(2 * WIDTH, 2 * HEIGHT), (HEIGHT, WIDTH), (WIDTH + 1, HEIGHT)])
def test_scaled_copies_and_exchanged_sizes_lose_their_ground_truth_only(tmp_path, width, height):
    path = make_coco(tmp_path / "annotations" / "x.json", ("a.jpg", "b.jpg"), [])
    images = [
        {"id": 0, "file_name": "a.jpg", "width": width, "height": height},
        {"id": 1, "file_name": "b.jpg", "width": WIDTH, "height": HEIGHT},
    ]
    write_coco(path, images, [annotation(polygon(5, 12, 8, 20), id=n, image_id=n) for n in range(2)])
    source = open_source(path)
    assert [photo.id for photo in source.photos] == ["a", "b"]
    assert source.has_labels
    ((what, reason),) = [(item.what, item.reason) for item in source.skipped]
    assert what == "label"
    assert f"[{height}, {width}]" in reason
    with pytest.raises(DatasetError, match="photo a "):
        read_label(source, source.photos[0])
    assert read_label(source, source.photos[1]).sum() == 7 * 12


def test_broken_annotation_leaves_out_its_photo_alone_and_is_summed_up(tmp_path):
    names = [f"{n}.jpg" for n in range(6)]
    broken = [annotation([[1e9, 1, 5, 1, 5, 1e9]], id=n, image_id=n) for n in range(1, 6)]
    sound = [annotation(polygon(1, 5, 1, 5), id=10 + n, image_id=n) for n in range(6)]
    source = open_source(make_coco(tmp_path / "annotations" / "x.json", names, [*broken, *sound]))
    (note,) = source.skipped
    assert note.what == "label"
    assert note.path.name == "x.json"
    assert all(text in note.reason for text in ("5 photos", "annotation 1", "The first, 1:"))
    assert read_label(source, source.photos[0]).sum() == 16
    for photo in source.photos[1:]:
        with pytest.raises(DatasetError, match=rf"photo {photo.id} .*annotation {photo.id}:"):
            read_label(source, photo)


def test_area_of_the_file_does_not_decide_which_lies_on_top(tmp_path):
    small, large = annotation(polygon(5, 8, 5, 8), 3, area=9e9), annotation(polygon(2, 15, 2, 15), 7, area="?")
    source = open_source(make_coco(tmp_path / "annotations" / "x.json", annotations=[small, large]))
    assert read_label(source, source.photos[0])[6, 6] == 2


def test_json_that_is_gone_is_named(tmp_path):
    path = make_coco(tmp_path / "annotations" / "x.json", annotations=[annotation(polygon(1, 5, 1, 5))])
    source = open_source(path)
    path.unlink()
    with pytest.raises(DatasetError, match=r"x\.json"):
        read_label(source, source.photos[0])


def many_classes(count):
    return [{"id": number, "name": f"class {number}"} for number in range(1, count + 1)]


def test_more_classes_than_a_label_map_holds(tmp_path):
    annotations = [annotation(polygon(1, 5, 1, 5), 300), annotation(polygon(6, 9, 6, 9), 12)]
    path = make_coco(tmp_path / "annotations" / "x.json", annotations=annotations, categories=many_classes(365))
    source = open_source(path)
    assert (source.classes, source.has_labels) == (("class 12", "class 300"), True)
    assert "365" in source.skipped[0].reason
    label = read_label(reopen_source("coco", source.spec, source.photos, source.classes), source.photos[0])
    assert (label[2, 2], label[7, 7]) == (2, 1)


def test_more_used_classes_than_a_label_map_holds(tmp_path):
    annotations = [annotation(polygon(1, 5, 1, 5), number) for number in range(1, 256)]
    path = make_coco(tmp_path / "annotations" / "x.json", annotations=annotations, categories=many_classes(255))
    source = open_source(path)
    assert not source.has_labels
    assert "255" in source.skipped[0].reason
    assert read_label(source, source.photos[0]) is None


def test_boxes_without_masks_are_said_to_be_no_ground_truth(tmp_path):
    path = make_coco(tmp_path / "annotations" / "x.json", annotations=[annotation([], bbox=[1, 2, 3, 4])] * 3)
    source = open_source(path)
    assert not source.has_labels
    assert [(item.what, item.reason[0]) for item in source.skipped] == [("label", "3")]
    assert read_label(source, source.photos[0]) is None
