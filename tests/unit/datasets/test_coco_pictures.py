"""Names of pictures that other systems wrote."""

import unicodedata

import pytest
from coco_data import save_photo, write_coco

from maskdistill.datasets import open_source
from maskdistill.errors import DatasetError

NFC, NFD = (unicodedata.normalize(form, "Kühe é.jpg") for form in ("NFC", "NFD"))


def open_names(root, *names, json="data/annotations/x.json"):
    source = open_source(write_coco(root / json, [{"id": n, "file_name": name} for n, name in enumerate(names)]))
    return [photo.path.relative_to(root / "data").as_posix() for photo in source.photos], source


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("images/a.jpg", "a.jpg"),
        ("images/a.jpg", "./a.jpg"),
        ("images/a.jpg", "/a.jpg"),
        ("images/a.jpg", "../images/a.jpg"),
        ("images/lot/a.jpg", "images\\lot\\a.jpg"),
        ("images/lot/a.jpg", "lot\\a.jpg"),
        ("images/lot/a.jpg", "C:\\Users\\me\\images\\lot\\a.jpg"),
        ("images/lot/a.jpg", "/home/me/project/images/lot/a.jpg"),
        ("images/a.jpg", "\\\\server\\share\\a.jpg"),
        ("images/a.jpg", "file:///home/me/a.jpg"),
        ("images/a.jpg", "https://host/bucket/a.jpg?X-Token=1"),
        ("images/lot/a.jpg", "/data/local-files/?d=lot/a.jpg"),
        ("images/a b.jpg", "a%20b.jpg"),
        ("images/a%20b.jpg", "a%20b.jpg"),
        ("images/a\\b.jpg", "a\\b.jpg"),
        ("images/a.JPG", "a.jpg"),
        ("Images/a.jpg", "images/a.jpg"),
        (f"images/{NFD}", NFC),
        (f"images/{NFC}", NFD),
        ("photos/a.jpg", "a.jpg"),
        ("a.jpg", "a.jpg"),
    ],
)
def test_picture_is_found(tmp_path, file, name):
    save_photo(tmp_path / "data" / file)
    assert open_names(tmp_path, name)[0] == [file]


@pytest.mark.parametrize("name", ["../../secret.jpg", "../../../secret.jpg", "{root}/secret.jpg", "..\\..\\secret.jpg"])
def test_nothing_is_read_outside_of_the_folder(tmp_path, name):
    """What lies two folders above the json belongs to somebody else, though it has the very name."""
    save_photo(tmp_path / "secret.jpg")
    save_photo(tmp_path / "data" / "images" / "a.jpg")
    found, source = open_names(tmp_path, "a.jpg", name.format(root=tmp_path))
    assert found == ["images/a.jpg"]
    assert [item.path.name for item in source.skipped] == ["secret.jpg"]


@pytest.mark.parametrize(
    "name", ["a\0b.jpg", "\ud800.jpg", "x" * 5000, "..", "a/" * 3000 + "b.jpg", "images", "%00", "a\n.jpg"]
)
def test_names_that_no_system_takes_are_missing_pictures(tmp_path, name):
    save_photo(tmp_path / "data" / "images" / "a.jpg")
    found, source = open_names(tmp_path, "a.jpg", name)
    assert found == ["images/a.jpg"]
    (item,) = source.skipped
    assert f"{item.path}{item.reason}".encode()


def test_one_file_is_never_two_photos(tmp_path):
    """The folders of the names are gone: of two photos of one name nobody knows which the file is."""
    save_photo(tmp_path / "data" / "images" / "a.jpg")
    save_photo(tmp_path / "data" / "images" / "b.jpg")
    found, source = open_names(tmp_path, "lot1/a.jpg", "lot2/a.jpg", "lot1/b.jpg")
    assert found == ["images/b.jpg"]
    assert [item.path.parent.name for item in source.skipped] == ["lot1", "lot2"]


def test_the_whole_name_goes_before_its_last_parts_and_as_written_before_another_case(tmp_path):
    save_photo(tmp_path / "data" / "images" / "a.jpg")
    found, source = open_names(tmp_path, "lot1/a.jpg", "a.jpg")
    assert found == ["images/a.jpg"]
    assert [item.path.parent.name for item in source.skipped] == ["lot1"]
    assert [item.path.name for item in open_names(tmp_path, "A.jpg", "a.jpg")[1].skipped] == ["A.jpg"]
    save_photo(tmp_path / "data" / "a.JPG")
    assert open_names(tmp_path, "a.jpg")[0] == ["images/a.jpg"]


def test_two_files_that_differ_by_case_are_not_guessed_at(tmp_path):
    save_photo(tmp_path / "data" / "images" / "A.jpg")
    save_photo(tmp_path / "data" / "images" / "a.JPG")
    with pytest.raises(DatasetError, match=r"a\.jpg"):
        open_names(tmp_path, "a.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "images/lot/a.jpg"])
def test_root_holds_all_pictures_so_that_names_in_an_export_differ(tmp_path, name):
    save_photo(tmp_path / "data" / "images" / name.removeprefix("images/"))
    source = open_names(tmp_path, name)[1]
    assert source.root == tmp_path / "data"
