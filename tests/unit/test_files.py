import csv
import errno
import io
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest

from maskdistill.datasets import Photo
from maskdistill.errors import CheckpointError
from maskdistill.files import (
    csv_text,
    describe_full_disk,
    is_disk_full,
    replace_atomically,
    require_writable,
    write_atomically,
    write_json,
)
from maskdistill.stages.photo_failures import describe_failure
from maskdistill.storage.read_files import read_json

FULL = OSError(errno.ENOSPC, "No space left on device", "/data/x")


def chained(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (FULL, True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (CheckpointError("Cannot write x: No space left on device (os error 28)"), True),
        (OSError("270000 requested and 1520 written"), True),  # numpy, in the middle of an array
        (chained(CheckpointError("Cannot write x."), FULL), True),
        (chained(CheckpointError("Cannot write x."), chained(ValueError("y"), FULL)), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("28"), False),
        (None, False),
    ],
)
def test_full_disk_is_seen_behind_an_error(error, full):
    assert is_disk_full(error) is full


def test_error_that_is_its_own_cause_ends():
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first
    assert not is_disk_full(first)


def test_sentence_names_the_folder_and_what_is_left(tmp_path):
    text = describe_full_disk(tmp_path / "missing" / "run")
    free = shutil.disk_usage(tmp_path).free / 1e6
    found = float(text.partition("(")[2].partition(" MB free")[0].replace(",", ""))
    assert found == pytest.approx(free, rel=0.1)
    assert text.startswith(f"The disk of {tmp_path / 'missing' / 'run'} is full")
    assert text.endswith("free some space, then resume.")


@pytest.mark.parametrize("error", [FULL, OSError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_folder_that_cannot_be_written_is_not_taken_for_a_photo_that_cannot_be_read(error):
    """Such a photo would be noted as unreadable, and would stay out of the run once there is space again."""
    photo = Photo(id="a", path=Path("/photos/a.jpg"), height=4, width=4, digest="", split="")
    with pytest.raises(OSError, match=error.strerror):
        describe_failure(photo, error)
    assert describe_failure(photo, OSError(5, "Input/output error")) == "OSError: [Errno 5] Input/output error"


def test_file_that_cannot_be_written_is_named_and_not_the_temporary_one(tmp_path):
    def refuse(temporary):
        raise OSError(errno.EACCES, "Permission denied", str(temporary))

    with pytest.raises(OSError, match="Permission denied") as caught:
        replace_atomically(tmp_path / "wanted.json", refuse)
    assert caught.value.filename == str(tmp_path / "wanted.json")


def test_folder_that_may_only_be_read_is_named_before_anything_is_written(tmp_path, monkeypatch):
    for name in ("run/stages", "run/thumbs/a", "other"):
        (tmp_path / name).mkdir(parents=True)
    closed = [tmp_path / "run/thumbs/a", tmp_path / "other"]
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) not in closed)
    require_writable(tmp_path / "run")
    for folder, named in ((tmp_path / "run", closed[0]), (tmp_path / "other/new/er", closed[1])):
        with pytest.raises(OSError, match="Permission denied") as caught:
            require_writable(folder, depth=2)
        assert caught.value.filename == str(named)


def test_threads_that_write_one_file_do_not_take_each_others(tmp_path):
    """The sessions of a server are threads of one process."""
    path, values = tmp_path / "a.json", [[number] * 2000 for number in range(4)]

    def write(value):
        for _ in range(20):
            write_json(path, value, indent=None)
            assert read_json(path) in values

    with ThreadPoolExecutor(len(values)) as pool:
        list(pool.map(write, values))
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-dash", "@SUM(A1)", "\tx", "\rx", " =1", "＝1", "=cmd|' /C calc'!A0"])
def test_a_text_in_a_table_is_no_formula(text):
    (cell,) = list(csv.reader(io.StringIO(csv_text(["a"], [[text]]), newline="")))[1]
    assert cell == f"'{text}".replace("\r", "\n")


def test_numbers_and_other_texts_of_a_table_stay_as_they_are():
    row = [-3, -0.5, "a-b", "", "two\nlines", 'quo"te', "1=1"]
    assert next(islice(csv.reader(io.StringIO(csv_text("abcdefg", [row]))), 1, None)) == [str(value) for value in row]


def test_device_is_written_to_and_not_replaced():
    before = os.stat("/dev/null")
    write_atomically(Path("/dev/null"), "gone")
    after = os.stat("/dev/null")
    assert (after.st_mode, after.st_ino, after.st_rdev) == (before.st_mode, before.st_ino, before.st_rdev)
