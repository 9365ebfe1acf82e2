"""Lists of photos: texts and tables of paths."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from maskdistill.datasets import open_source
from maskdistill.errors import DatasetError

NAMES = ["b/2.png", "a/10.png", "a/2.png"]
SPLITS = ["val", "train", ""]


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(NAMES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((40, 50, 3), number * 20, np.uint8)).save(tmp_path / name)
    return tmp_path


def write(folder, kind, names=NAMES, splits=SPLITS, column="path"):
    path = folder / f"list.{kind}"
    if kind == "txt":
        rows = zip(names, splits, strict=True)
        path.write_text("\n".join(f"{name}\t{split}" if split else name for name, split in rows))
    elif kind == "parquet":
        pd.DataFrame({column: names, "split": splits}).to_parquet(path)
    else:
        table = pd.DataFrame({"extra": 1, column: names, "split": splits})
        table.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    return path


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "parquet"])
def test_photos_come_in_the_order_of_the_list_with_their_splits(folder, kind):
    source = open_source(write(folder, kind))
    assert [photo.id for photo in source.photos] == ["b/2", "a/10", "a/2"]
    assert [photo.split for photo in source.photos] == ["val", "train", None]
    assert [source.file_name(photo) for photo in source.photos] == NAMES
    assert (source.root, source.skipped) == (folder, ())


@pytest.mark.parametrize("kind", ["txt", "csv", "parquet"])
def test_absolute_paths_elsewhere_and_the_same_photos_have_the_same_ids(folder, tmp_path, kind):
    (tmp_path / "lists").mkdir()
    path = write(tmp_path / "lists", kind, [str(folder / name) for name in NAMES])
    source = open_source(path)
    assert [photo.id for photo in source.photos] == ["b/2", "a/10", "a/2"]
    assert source.fingerprint == open_source(write(folder, kind)).fingerprint


def test_paths_that_lead_up_and_blanks_in_names(folder):
    (folder / "a" / "2.png").rename(folder / "a" / "two words.png")
    (folder / "lists").mkdir()
    path = folder / "lists" / "photos.txt"
    path.write_text("../a/two words.png\n../b/2.png\n")
    assert [photo.id for photo in open_source(path).photos] == ["a/two words", "b/2"]


def test_photo_that_is_named_twice_counts_once(folder):
    assert len(open_source(write(folder, "txt", [*NAMES, "a/../b/2.png"], [""] * 4)).photos) == 3


@pytest.mark.parametrize("column", ["file_name", "image", "Path"])
def test_usual_names_of_the_column(folder, column):
    assert len(open_source(write(folder, "csv", column=column)).photos) == 3


def test_missing_photos_are_skipped_with_their_reason(folder):
    source = open_source(write(folder, "csv", [*NAMES, "gone.png", "a"], [*SPLITS, "", ""]))
    assert len(source.photos) == 3
    assert {item.path.name for item in source.skipped} == {"gone.png", "a"}


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("csv", b"url,label\na,b\n", "no column of paths. Wanted: path.*Found: url, label"),
        ("csv", b"", "Cannot read .* as a table"),
        ("csv", b"path\n", "names no picture"),
        ("csv", b'path\n"open', "Cannot read .* as a table|None of the|Cannot use"),
        ("parquet", b"PAR1nonsense", "Cannot read .* as a table"),
        ("txt", b"", "names no picture"),
        ("txt", b"\x00\x01\x02", "is no text"),
        ("txt", b"gone.png\n", "gone.png"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, kind, content, said):
    path = tmp_path / f"list.{kind}"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=said):
        open_source(path)


def test_columns_of_other_kinds_than_text(folder):
    path = folder / "list.parquet"
    pd.DataFrame({"path": [*NAMES, None], "split": [1, 2, None, 3]}).to_parquet(path)
    assert [photo.split for photo in open_source(path).photos] == ["1.0", "2.0", None]
    pd.DataFrame({"path": [1, 2, 3]}).to_parquet(path)
    with pytest.raises(DatasetError, match="names no picture"):
        open_source(path)
