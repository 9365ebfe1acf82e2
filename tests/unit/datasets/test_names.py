import os
import unicodedata

import pytest

from maskdistill.datasets.names import FileFinder, NameIndex

NFC, NFD = (unicodedata.normalize(form, "Kühe_Straße_é.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("names", "wanted", "found"),
    [
        (["a.jpg", "A.jpg"], "a.jpg", "a.jpg"),
        (["a.JPG"], "a.jpg", "a.JPG"),
        (["A.jpg", "a.JPG"], "a.jpg", None),  # either may be meant
        ([NFD], NFC, NFD),
        ([NFC], NFD, NFC),
        ([NFD, NFC], NFC, NFC),
        ([NFD.upper()], NFC, NFD.upper()),
        ([NFD, NFC.upper()], NFC, NFD),  # composition goes before case
        (["a.jpg"], "b.jpg", None),
        ([], "b.jpg", None),
    ],
)
def test_names_written_elsewhere(names, wanted, found):
    assert NameIndex(names).find(wanted) == found


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_folders_of_a_path_are_found_likewise(tmp_path):
    file = touch(tmp_path / "Images" / unicodedata.normalize("NFD", "Kühe") / "1.JPG")
    finder = FileFinder()
    assert finder.find(tmp_path, "images/Kühe/1.jpg") == file
    assert finder.find(tmp_path, "images/./Kühe//1.jpg") == file
    assert finder.find(tmp_path, "images/Kühe") is None  # a folder is no file
    assert finder.find(tmp_path, "images/Kühe/2.jpg") is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a.jpg", "b/../a.jpg", "{root}/a.jpg", "a\0.jpg", "\ud800", "x" * 5000]
)
def test_nothing_is_found_above_the_folder_and_no_name_is_an_error(tmp_path, name):
    touch(tmp_path / "a.jpg")
    touch(tmp_path / "b" / "c.jpg")
    assert FileFinder().find(tmp_path / "b", name.format(root=tmp_path)) is None
    assert FileFinder().find(tmp_path / "nowhere", name) is None


def test_a_folder_is_listed_once(tmp_path, monkeypatch):
    touch(tmp_path / "a.JPG")
    listed, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (listed.append(path), listdir(path))[1])
    finder = FileFinder()
    assert [finder.find(tmp_path, name) is not None for name in ("a.jpg", "A.jpg", "b.jpg")] == [True, True, False]
    assert listed == [tmp_path]
