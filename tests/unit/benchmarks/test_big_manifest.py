"""A generated run over a long list is one that the command has nothing to do in, as those it stands for."""

import pytest

from benchmarks import big_manifest
from maskdistill.datasets import open_source, scanning, seen_files


def test_generated_run_is_whole_and_reads_no_photo(tmp_path, monkeypatch):
    data = big_manifest.generate_list(tmp_path, 90)
    monkeypatch.setattr(seen_files, "_SETTLED_NS", -(10**12))  # files of now are believed
    source = big_manifest.open_generated(data)
    run = big_manifest.generate_masks(tmp_path / "run", source, masks_a_photo=2)
    assert (len(source.photos), len(run.masks())) == (90, 180)
    whole = open_source(data)
    assert (source, source.fingerprint) == (whole, whole.fingerprint)
    monkeypatch.setattr(scanning, "inspect_image", lambda path, *_: pytest.fail(f"{path} was read"))
    assert open_source(data, seen=run.seen_path) == whole
    _, _, _, said = big_manifest.time_command(run, data)
    assert said.startswith("Nothing to do")


def test_generated_run_over_the_folder_reads_no_photo_either(tmp_path, monkeypatch):
    big_manifest.generate_list(tmp_path, 90)
    monkeypatch.setattr(seen_files, "_SETTLED_NS", -(10**12))
    source = open_source(tmp_path / "photos", seen=tmp_path / "run" / "source.parquet")
    run = big_manifest.generate_masks(tmp_path / "run", source)
    monkeypatch.setattr(scanning, "inspect_image", lambda path, *_: pytest.fail(f"{path} was read"))
    assert open_source(tmp_path / "photos", seen=run.seen_path) == source
    _, _, _, said = big_manifest.time_command(run, tmp_path / "photos")
    assert said.startswith("Nothing to do")
