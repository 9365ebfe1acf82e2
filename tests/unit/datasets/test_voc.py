import numpy as np
import pytest
from PIL import Image
from voc_data import drawn_label, make_voc, splits

from maskdistill.datasets import open_source, read_label
from maskdistill.datasets.voc_classes import VOC_CLASSES
from maskdistill.errors import DatasetError


def test_splits_and_their_order_of_precedence(tmp_path):
    lists = {
        "train": ["a"],
        "val": ["b"],
        "trainval": ["a", "b", "c"],
        "train_aug": ["a", "b", "d"],
        "mine": ["d", "e"],
    }
    source = open_source(make_voc(tmp_path, "abcdef", lists=lists))
    assert source.kind == "voc"
    wanted = {"a": "train", "b": "val", "c": "train", "d": "train", "e": "mine", "f": None}
    assert splits(source) == wanted
    assert [photo.id for photo in source.split("trainaug")] == ["a", "c", "d"]
    assert [photo.id for photo in source.split("trainval")] == ["a", "b", "c", "d"]
    assert source.split("nothing") == ()
    assert source.splits == ("mine", "train", "val")


def test_list_with_paths(tmp_path):
    lists = {"trainaug": ["/JPEGImages/a.jpg /SegmentationClassAug/a.png", "", "b.1"]}
    source = open_source(make_voc(tmp_path, ["a", "b.1"], lists=lists))
    assert splits(source) == {"a": "train", "b.1": "train"}


def test_listed_photo_without_picture_is_skipped(tmp_path):
    source = open_source(make_voc(tmp_path, ["a"], lists={"train": ["a", "lost"]}))
    assert [(item.path.name, "train.txt lists it" in item.reason) for item in source.skipped] == [("lost.jpg", True)]


def test_label_is_read_with_its_ids(tmp_path):
    source = open_source(make_voc(tmp_path, ["a", "b"], labels={"a": drawn_label(2)}, classes=["cow", "cat"]))
    assert source.classes == ("cow", "cat")
    assert source.has_labels
    np.testing.assert_array_equal(read_label(source, source.photos[0]), drawn_label(2))
    assert read_label(source, source.photos[1]) is None


def test_background_in_classes_txt_is_dropped(tmp_path):
    source = open_source(make_voc(tmp_path, ["a"], classes=["background", "cow", ""]))
    assert source.classes == ("cow",)
    assert not source.has_labels


@pytest.mark.parametrize(
    ("stem", "class_id", "wanted"),
    [("2007_000032", 20, VOC_CLASSES), ("2007_000032", 22, 22), ("cow", 3, 3)],
)
def test_class_names_without_classes_txt(tmp_path, stem, class_id, wanted):
    source = open_source(make_voc(tmp_path, [stem], labels={stem: drawn_label(class_id)}))
    numbers = wanted if isinstance(wanted, tuple) else tuple(str(number) for number in range(1, wanted + 1))
    assert source.classes == numbers


def test_label_of_another_size(tmp_path):
    source = open_source(make_voc(tmp_path, ["a"], labels={"a": drawn_label(1, (8, 6))}, classes=["cow"]))
    with pytest.raises(DatasetError, match="has 6 x 8 pixels, its photo a.jpg 8 x 6"):
        read_label(source, source.photos[0])


def test_label_in_colours(tmp_path):
    make_voc(tmp_path, ["a"], classes=["cow"])
    Image.new("RGB", (8, 6), (255, 0, 10)).save(tmp_path / "SegmentationClass" / "a.png")
    source = open_source(tmp_path)
    with pytest.raises(DatasetError, match="is in colors"):
        read_label(source, source.photos[0])


@pytest.mark.parametrize("kind", ["gone", "file", "link"])
def test_labels_without_photos_do_not_pass_for_photos(tmp_path, kind):
    make_voc(tmp_path, ["a"], labels={"a": drawn_label(1)})
    (tmp_path / "JPEGImages" / "a.jpg").unlink()
    (tmp_path / "JPEGImages").rmdir()
    if kind == "file":
        (tmp_path / "JPEGImages").write_text("")
    elif kind == "link":
        (tmp_path / "JPEGImages").symlink_to("nowhere")
    with pytest.raises(DatasetError, match="JPEGImages is (missing|no folder).*Put the photos there"):
        open_source(tmp_path)


def test_folders_in_small_letters(tmp_path):
    make_voc(tmp_path, ["a"], labels={"a": drawn_label(1)}, lists={"val": ["a"]}, classes=["cow"])
    for name in ("ImageSets/Segmentation", "ImageSets", "JPEGImages", "SegmentationClass"):
        (tmp_path / name).rename((tmp_path / name).with_name((tmp_path / name).name.lower()))
    source = open_source(tmp_path)
    assert (splits(source), source.has_labels, source.skipped) == ({"a": "val"}, True, ())
    np.testing.assert_array_equal(read_label(source, source.photos[0]), drawn_label(1))


def test_photos_of_one_name_in_two_subfolders(tmp_path):
    names = ["x/a", "y/a", "b"]
    lists = {"train": ["x/a", "b"], "val": ["y/a.jpg"]}
    labels = {"x/a": drawn_label(1), "y/a": drawn_label(2), "b": drawn_label(3)}
    source = open_source(make_voc(tmp_path, names, lists=lists, labels=labels))
    assert splits(source) == {"x/a": "train", "y/a": "val", "b": "train"}
    assert {photo.id: int(read_label(source, photo)[2, 3]) for photo in source.photos} == {"x/a": 1, "y/a": 2, "b": 3}
    assert source.skipped == ()


def test_label_is_not_shared_by_photos_of_one_name(tmp_path):
    source = open_source(make_voc(tmp_path, ["x/a", "y/a"], labels={"a": drawn_label(1)}))
    assert [read_label(source, photo) for photo in source.photos] == [None, None]
    assert "SegmentationClass" in {item.path.name for item in source.skipped}


def test_same_stem_twice(tmp_path):
    make_voc(tmp_path, ["a"])
    Image.new("RGB", (8, 6)).save(tmp_path / "JPEGImages" / "a.png")
    source = open_source(tmp_path)
    assert len(source.photos) == 1
    assert "same name up to the suffix" in source.skipped[0].reason


def test_devkit_folder_leads_to_the_voc_folder(tmp_path):
    root = make_voc(tmp_path / "VOCdevkit" / "VOC2012", ["a"])
    assert open_source(tmp_path).root == root
    assert open_source(tmp_path / "VOCdevkit").root == root
    make_voc(tmp_path / "VOCdevkit" / "VOC2007", ["a"])
    with pytest.raises(DatasetError, match="several VOC folders: VOC2007, VOC2012"):
        open_source(tmp_path / "VOCdevkit")
