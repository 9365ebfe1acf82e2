import os
import unicodedata

import pytest
from growth import growth
from voc_data import drawn_label, make_voc, reasons, splits

from maskdistill.datasets import open_source, read_label
from maskdistill.errors import DatasetError


def open_with(tmp_path, stems, train, **more):
    return open_source(make_voc(tmp_path, stems, lists={"train": train, **more}))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfa\nb\n",
        b"a\r\nb\r\n",
        b"a\rb\r",
        "a\nb\n".encode("utf-16"),
        "a\nb\n".encode("utf-16-be"),
        "a\nb".encode("utf-32"),
        b"  a \t\n\n\nb  ",
        b"# by hand\na\nb\n",
        b"a -1\nb  1\n",
        b"a.jpg\nb.JPG\n",
        b"a.png\nb\n",
        b"/JPEGImages/a.jpg /SegmentationClass/a.png\n/JPEGImages/b.jpg\t/SegmentationClass/b.png\n",
        b"VOC2012/JPEGImages/a.jpg\n./b\n",
        b"JPEGImages\\a.jpg\nC:\\data\\b.jpg\n",
        b"a.jpg,a.png\nb.jpg;b.png\n",
        b"a,b\n",
        b"a b",
        b'"a"\n"b"\n',
        b"A\nB\n",
        b"a\na\nb\nb\n",
        b"a\nb\n\x1a",
    ],
)
def test_forms_of_a_list(tmp_path, content):
    source = open_with(tmp_path, ["a", "b", "c"], content)
    assert splits(source) == {"a": "train", "b": "train", "c": None}
    assert source.skipped == ()


def test_names_with_blanks_as_a_whole(tmp_path):
    names = [f"IMG 12 ({number})" for number in (1, 2, 3, 4)]
    pair = "/JPEGImages/{0}.jpg /SegmentationClass/{0}.png"
    source = open_with(tmp_path, [*names, "IMG"], [names[0], f"{names[1]} -1"], val=[names[2], pair.format(names[3])])
    assert splits(source) == dict(zip([*names, "IMG"], ["train", "train", "val", "val", None], strict=True))
    assert source.skipped == ()


@pytest.mark.parametrize("name", [" a", "a ", "'a'", "#1", "a,b", "100%", "-1", "a 1", "a.b.c", "a.jpg"])
def test_names_that_look_like_something_else(tmp_path, name):
    source = open_with(tmp_path, [name, "other"], [name])
    assert splits(source) == {name: "train", "other": None}
    assert source.skipped == ()


@pytest.mark.parametrize(("of_file", "of_list"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_composed_and_decomposed_names_are_the_same(tmp_path, of_file, of_list):
    file, line = (unicodedata.normalize(form, "Kühe_Straße_é") for form in (of_file, of_list))
    source = open_with(tmp_path, [file], [line])
    assert splits(source) == {file: "train"}
    assert source.skipped == ()


def test_columns_of_a_class_are_no_photos(tmp_path):
    source = open_with(tmp_path, ["1", "2", "3"], ["2  1", "3 -1"])
    assert splits(source) == {"1": None, "2": "train", "3": "train"}


def test_list_of_one_class_is_of_its_split(tmp_path):
    source = open_source(make_voc(tmp_path, ["a", "b"], lists={"cow_val": ["a  1", "b -1"], "cow_train": ["b  1"]}))
    assert splits(source) == {"a": "val", "b": "val"}


def test_many_missing_photos_are_one_entry(tmp_path):
    source = open_with(tmp_path, ["a"], ["a", *(f"x{number}" for number in range(5000))])
    assert list(reasons(source, "photo")) == ["train.txt"]
    assert "5,000 of its 5,001 lines" in reasons(source, "photo")["train.txt"]
    assert "x0" in reasons(source, "photo")["train.txt"]


def test_latin_1_is_read_and_named_where_it_leads_nowhere(tmp_path):
    source = open_with(tmp_path, ["Kühe"], "Kühe\nMöhre".encode("latin-1"))
    assert splits(source) == {"Kühe": "train"}
    assert "cp1252" in reasons(source, "photo")["Möhre.jpg"]


def test_empty_list_is_said(tmp_path):
    assert list(reasons(open_with(tmp_path, ["a"], b"\n \n"), "photo")) == ["train.txt"]


@pytest.mark.parametrize("content", [b"\0\0\0", bytes(range(256)), b"a\0b\n", b"PK\x03\x04 \x14"])
def test_what_is_no_text_is_refused(tmp_path, content):
    with pytest.raises(DatasetError, match=r"train\.txt is no text\. Put a plain text file there"):
        open_with(tmp_path, ["a"], content)


def test_folder_and_pipe_in_place_of_a_list_are_refused(tmp_path):
    path = make_voc(tmp_path, ["a"]) / "ImageSets" / "Segmentation" / "val.txt"
    path.mkdir()
    with pytest.raises(DatasetError, match=r"val\.txt is no file"):
        open_source(tmp_path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(DatasetError, match=r"val\.txt is no file"):
        open_source(tmp_path)


def test_hidden_files_of_other_systems_are_no_lists(tmp_path):
    make_voc(tmp_path, ["a"])
    (tmp_path / "ImageSets" / "Segmentation" / "._train.txt").write_bytes(b"\0\x05\x16\x07")
    assert splits(open_source(tmp_path)) == {"a": None}


@pytest.mark.parametrize("name", ["ImageSets", "ImageSets/Segmentation"])
def test_lists_that_cannot_be_reached_are_said(tmp_path, name):
    make_voc(tmp_path, ["a"])
    (tmp_path / name).rename(tmp_path / "away")
    (tmp_path / name).symlink_to("nowhere")
    assert reasons(open_source(tmp_path), "photo").keys() == {name.rpartition("/")[2]}


def test_nonsense_in_long_lines_costs_little(tmp_path):
    def opened(folder, length):
        line = ("a/" * 30 * length + " ") * 3 + "x " * 40 * length
        folder.mkdir(exist_ok=True)
        make_voc(folder, ["a.b"], lists={"train": [line] * 100})
        return lambda: open_source(folder)

    assert growth(opened(tmp_path / "short", 5), opened(tmp_path / "long", 20), repeats=3) < 10  # 16 if quadratic


@pytest.mark.parametrize("name", ["train.TXT", "TRAIN.txt", "Train.Txt"])
def test_name_of_a_list_in_capitals(tmp_path, name):
    (make_voc(tmp_path, ["a"]) / "ImageSets" / "Segmentation" / name).write_text("a")
    assert splits(open_source(tmp_path)) == {"a": "train"}


def test_lists_of_detection_alone_are_said(tmp_path):
    make_voc(tmp_path, ["a"], lists={"train": ["a"]})
    (tmp_path / "ImageSets" / "Segmentation").rename(tmp_path / "ImageSets" / "Main")
    assert list(reasons(open_source(tmp_path), "photo")) == ["Main"]


def test_names_that_are_no_unicode(tmp_path):
    """The list, the photo and its label have the same bytes; everything said of them can be printed."""
    make_voc(tmp_path, ["a"], labels={"a": drawn_label(1)}, lists={"train": b"K\xfche\n", "val": b"a\n"})
    for folder, file in (("JPEGImages", "a.jpg"), ("SegmentationClass", "a.png")):
        content = (tmp_path / folder / file).read_bytes()
        (tmp_path / folder / os.fsdecode(b"K\xfche" + file[1:].encode())).write_bytes(content)
    (tmp_path / "SegmentationClass" / os.fsdecode(b"\xff_mask.png")).write_bytes(b"")
    source = open_source(tmp_path)
    assert sorted(splits(source).values()) == ["train", "val"]
    assert all(read_label(source, photo) is not None for photo in source.photos)
    for text in (*splits(source), *(item.reason for item in source.skipped)):
        text.encode()
