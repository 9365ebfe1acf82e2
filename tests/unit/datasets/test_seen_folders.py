"""What a run remembers of a folder's photos: nothing comes out otherwise by it, and only what changed is read."""

import os
import shutil
import time

import numpy as np
import pytest
from coco_data import make_coco
from PIL import Image
from voc_data import make_voc

from maskdistill.datasets import open_source

pytestmark = pytest.mark.usefixtures("settled")
OLD = time.time() - 3600  # when files were changed last: long enough ago to be believed
NAMES = [f"{number}.png" for number in range(4)]


def draw(path, value=0, size=(20, 30)):
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    os.utime(path, (OLD, OLD))


def plain(root):
    (root / "deep").mkdir(parents=True)
    shutil.copy(__file__, root / "deep" / "text.jpg")
    return root, root / "deep"


def voc(root):
    make_voc(root, [], lists={"train": ["0", "1"], "val": ["2", "gone"]})
    return root, root / "JPEGImages"


def coco(root):
    make_coco(root / "annotations" / "instances_val.json", [*NAMES, "gone.png"])
    (root / "images" / "gone.png").unlink()
    return root, root / "images"


@pytest.fixture(params=[plain, voc, coco], ids=lambda make: make.__name__)
def kept(request, tmp_path):
    """What is opened, the folder of its photos, and where a run remembers them."""
    root, photos = request.param(tmp_path / "data")
    for number, name in enumerate(NAMES):
        draw(photos / name, number)
    (photos / NAMES[3]).write_bytes(b"no picture")
    return root, photos, tmp_path / "seen.parquet"


def keep(root, seen):
    source = open_source(root, seen=seen)
    source.seen.write(seen, source.fingerprint)
    return source


def assert_same(found, wanted):
    assert found == wanted
    assert (found.skipped, found.fingerprint) == (wanted.skipped, wanted.fingerprint)
    assert [photo.split for photo in found.photos] == [photo.split for photo in wanted.photos]


def test_what_did_not_change_is_not_read_again_and_comes_out_the_same(kept, read):
    root, _, seen = kept
    first = keep(root, seen)
    assert first.seen.is_new
    assert_same(first, open_source(root))
    assert any("3.png" in str(item.path) for item in first.skipped_photos)
    read.clear()
    again = open_source(root, seen=seen)
    assert read == []
    assert not again.seen.is_new
    assert_same(again, first)


def test_only_what_is_new_or_changed_is_read(kept, read):
    root, photos, seen = kept
    keep(root, seen)
    draw(photos / "1.png", 77)
    draw(photos / "3.png", 9)  # which was none
    (photos / "0.png").unlink()
    draw(photos / "new.png", 5)
    read.clear()
    after = open_source(root, seen=seen)
    names = {"1.png", "3.png", "new.png"} - ({"new.png"} if after.kind == "coco" else set())  # which no json names
    assert set(read) == names
    assert after.seen.is_new
    assert_same(after, open_source(root))


def test_lists_decide_anew_each_time(tmp_path, read):
    root, photos = voc(tmp_path / "data")
    for name in NAMES:
        draw(photos / name)
    seen = tmp_path / "seen.parquet"
    keep(root, seen)
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("3\n")
    read.clear()
    after = open_source(root, seen=seen)
    assert read == []
    assert [photo.split for photo in after.photos] == [None, None, "val", "train"]
    assert_same(after, open_source(root))


def test_where_other_folders_may_be_used_links_are_followed_anew(tmp_path, read, monkeypatch):
    outside, root = tmp_path / "outside", tmp_path / "data"
    outside.mkdir()
    root.mkdir()
    draw(outside / "a.png")
    draw(root / "b.png")
    (root / "link.png").symlink_to(outside / "a.png")
    seen = tmp_path / "seen.parquet"
    assert len(keep(root, seen).photos) == 2
    monkeypatch.setenv("MASKDISTILL_ROOTS", str(root))
    after = open_source(root, seen=seen)
    assert [photo.id for photo in after.photos] == ["b"]
    assert_same(after, open_source(root))


def test_what_is_remembered_of_something_else_is_not_used(tmp_path, read):
    seen = tmp_path / "seen.parquet"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw(tmp_path / name / "a.png", len(name))
    keep(tmp_path / "one", seen)
    read.clear()
    other = open_source(tmp_path / "two", seen=seen)
    assert read == ["a.png"]
    assert_same(other, open_source(tmp_path / "two"))


def test_without_a_run_nothing_is_remembered(kept):
    assert open_source(kept[0]).seen is None


def test_name_that_is_no_text(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    draw(root / "a.png")
    (root / "a.png").rename(os.fsdecode(os.fsencode(root) + b"/\xff.png"))
    first = keep(root, tmp_path / "seen.parquet")
    assert_same(open_source(root, seen=tmp_path / "seen.parquet"), first)
    assert_same(first, open_source(root))
