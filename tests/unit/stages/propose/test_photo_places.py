"""Photos of lists and archives, and of folders that moved."""

import io
import tarfile

import pandas as pd
import pytest
from six_photos import make_masks, picture

from maskdistill.datasets import open_source, scanning, seen_files
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import photos_of


def test_renamed_folder_is_recognised(start, photos, tmp_path, seen):
    start()
    run = Run(tmp_path / "run")
    before = run.proposals_path.read_bytes()
    photos.rename(tmp_path / "renamed")
    seen.clear()
    assert start(folder=tmp_path / "renamed").num_new == 0
    assert seen == []
    assert run.proposals_path.read_bytes() == before
    assert run.info()["data"] == str(tmp_path / "renamed")
    images = run.images()
    assert images["path"][images["readable"]].tolist() == [
        str(tmp_path / "renamed" / name) for name in ("0.png", "1.png", "2.png", "3.png", "4.png", "5-grey.jpg")
    ]


def test_renamed_folder_is_written_down_for_skipped_files_too(start, photos, tmp_path):
    start()
    photos.rename(tmp_path / "renamed")
    start(folder=tmp_path / "renamed")
    assert Run(tmp_path / "run").images()["path"].iloc[6] == str(tmp_path / "renamed" / "6-short.jpg")


def test_run_keeps_what_the_photos_of_a_list_were_and_reads_none_again(tmp_path, photos, config, monkeypatch):
    listed = tmp_path / "photos.txt"
    listed.write_text("\n".join(f"photos/{number}.png" for number in range(3)))
    run = Run(tmp_path / "run")
    monkeypatch.setattr(seen_files, "_SETTLED_NS", -(10**12))  # the files are of now
    made = make_masks(run, open_source(listed, seen=run.seen_path), config)
    assert made.num_new == 3
    monkeypatch.setattr(scanning, "inspect_image", lambda path, *_: pytest.fail(f"{path} was read again"))
    kept = run.seen_path.stat().st_mtime_ns
    again = make_masks(run, open_source(listed, seen=run.seen_path), config)
    assert (again.num_new, again.num_masks, again.num_photos) == (0, made.num_masks, 3)
    assert run.seen_path.stat().st_mtime_ns == kept


def test_changed_photo_of_a_kept_list_makes_its_masks_anew(tmp_path, photos, config, seen, monkeypatch):
    listed = tmp_path / "photos.txt"
    listed.write_text("\n".join(f"photos/{number}.png" for number in range(3)))
    run = Run(tmp_path / "run")
    monkeypatch.setattr(seen_files, "_SETTLED_NS", -(10**12))
    make_masks(run, open_source(listed, seen=run.seen_path), config)
    picture(9, (48, 40)).save(photos / "1.png")
    assert make_masks(run, open_source(listed, seen=run.seen_path), config).num_new == 3  # as of any other photos
    images = pd.read_parquet(run.images_path).set_index("id")
    assert images.loc["photos/1", "digest"] == scanning.digest_file(photos / "1.png")


def pack(path, files, before=b""):
    with tarfile.open(path, "w") as tar:
        for name, content in {"0.txt": before, **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_photos_in_an_archive_have_the_masks_of_the_same_photos_in_a_folder(tmp_path, photos, config, start):
    start("plain")
    files = {path.name: path.read_bytes() for path in sorted(photos.iterdir())}
    pack(tmp_path / "photos.tar", files)
    packed, plain = Run(tmp_path / "packed"), Run(tmp_path / "plain")
    make_masks(packed, open_source(tmp_path / "photos.tar"), config)
    assert packed.cut_masks_path.read_bytes() == plain.cut_masks_path.read_bytes()
    assert [photo.digest for photo in photos_of(packed)] == [photo.digest for photo in photos_of(plain)]
    assert photos_of(packed) == list(open_source(tmp_path / "photos.tar").photos)
    assert "6-short" in packed.images().loc[~packed.images()["readable"], "path"].iloc[0]


def test_run_follows_photos_that_moved_inside_their_archive(tmp_path, photos, config):
    files = {path.name: path.read_bytes() for path in sorted(photos.glob("*.png"))}
    pack(tmp_path / "photos.tar", files)
    run = Run(tmp_path / "run")
    make_masks(run, open_source(tmp_path / "photos.tar", seen=run.seen_path), config)
    before = photos_of(run)
    pack(tmp_path / "photos.tar", files, b"more" * 1000)
    source = open_source(tmp_path / "photos.tar", seen=run.seen_path)
    assert make_masks(run, source, config).num_new == 0
    assert photos_of(run) == list(source.photos) != before
    assert make_masks(run, source.limited(3), config).num_new == 3
    assert photos_of(run) == list(source.limited(3).photos)
