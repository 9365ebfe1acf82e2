import numpy as np
import pytest
from PIL import Image
from voc_data import drawn_label, make_voc, reasons

from maskdistill.datasets import open_source, read_label


def open_with(tmp_path, classes, **more):
    return open_source(make_voc(tmp_path, ["a"], labels={"a": drawn_label(2)}, classes=classes, **more))


@pytest.mark.parametrize(
    "content",
    [
        b"cow\ncat\n",
        b"\xef\xbb\xbfcow\r\ncat\r\n",
        "cow\ncat".encode("utf-16"),
        b"background\ncow\ncat",
        b"__background__\n\ncow\n\ncat\n\n",
        b"# classes\ncow\ncat\n",
        b"0 background\n1 cow\n2 cat\n",
        b"0: background\n1: cow\n2: cat\n255: void\n",
        b"1\tcow\n2\tcat",
        b"cow,cat\n",
        b'["cow", "cat"]',
        b"names:\n- cow\n- cat\n",
    ],
)
def test_forms_of_classes_txt(tmp_path, content):
    source = open_with(tmp_path, content)
    assert (source.classes, source.has_labels, source.skipped) == (("cow", "cat"), True, ())


def test_numbers_before_names_are_their_ids(tmp_path):
    assert open_with(tmp_path, ["2 cow", "5 cat"]).classes == ("1", "cow", "3", "4", "cat")


def test_second_of_one_name_is_told_apart(tmp_path):
    source = open_with(tmp_path, ["cow", "cow", "cat"])
    assert source.classes == ("cow", "cow (2)", "cat")
    assert list(reasons(source)) == ["classes.txt"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"background\n"])
def test_without_a_name_classes_are_numbered(tmp_path, content):
    assert (open_with(tmp_path, content).classes, open_source(tmp_path).has_labels) == (("1", "2"), True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([str(number) for number in range(300)], "300 classes"),
        (["cow", "cat", "background"], "background in place 3"),
        (["0 cow", "1 cat"], "'cow' 0"),
        (b"\0\1\2", "is no text"),
        (b"x" * 5000, "too long"),
    ],
)
def test_ground_truth_is_left_out_where_its_classes_are_in_doubt(tmp_path, content, said):
    source = open_with(tmp_path, content)
    assert (source.has_labels, len(source.photos)) == (False, 1)
    assert said in reasons(source)["classes.txt"]


def test_folder_in_place_of_classes_txt_stops_nothing(tmp_path):
    make_voc(tmp_path, ["a"], labels={"a": drawn_label(2)})
    (tmp_path / "classes.txt").mkdir()
    source = open_source(tmp_path)
    assert (source.has_labels, list(reasons(source))) == (False, ["classes.txt"])


def test_label_map_names_the_classes_and_their_colors(tmp_path):
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "cat:10,20,30::", "dog:250,50,0::"]
    colors = np.zeros((6, 8, 3), np.uint8)
    colors[1:3], colors[3:] = (250, 50, 0), (10, 20, 30)
    source = open_source(make_voc(tmp_path, ["a"], labels={"a": Image.fromarray(colors)}, labelmap=lines))
    assert (source.classes, source.has_labels) == (("cat", "dog"), True)
    np.testing.assert_array_equal(read_label(source, source.photos[0])[:, 0], [0, 2, 2, 1, 1, 1])


def test_classes_txt_orders_the_classes_of_a_label_map(tmp_path):
    labels = {"a": Image.new("RGB", (8, 6), (10, 20, 30))}
    lines = ["cat:10,20,30::", "dog:250,50,0::"]
    source = open_source(make_voc(tmp_path, ["a"], labels=labels, classes=["dog", "cat"], labelmap=lines))
    assert read_label(source, source.photos[0]).tolist() == [[2] * 8] * 6


def test_label_map_without_any_color_means_those_of_voc(tmp_path):
    labels = {"a": Image.new("RGB", (8, 6), (0, 128, 0))}
    source = open_source(make_voc(tmp_path, ["a"], labels=labels, labelmap=["background:::", "cat:::", "dog:::"]))
    assert source.classes == ("cat", "dog")
    assert read_label(source, source.photos[0]).tolist() == [[2] * 8] * 6


@pytest.mark.parametrize("line", ["cat", "cat:300,0,0::", "cat:1,2::", ":1,2,3", "cat:a,b,c::"])
def test_label_map_that_cannot_be_read_is_said(tmp_path, line):
    source = open_with(tmp_path, ["cow", "cat"], labelmap=["background:0,0,0::", line])
    assert source.has_labels
    assert line in reasons(source)["labelmap.txt"]
