"""Names of files that no table, no JSON and no terminal takes: such photos go the whole way."""

import io
import json
import os
import sys

import pandas as pd
import pytest
from odd_names import ODD_NAMES, draw_odd_names
from tiny_run import redone, run_chain, tiny_config

from maskdistill.cli.main import main
from maskdistill.datasets import open_source, read_photo
from maskdistill.errors import DatasetError, printable
from maskdistill.exports.run import export_run
from maskdistill.files import write_atomically
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import photos_of


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory):
    """Every stage but UMAP on photos of odd names, below a folder whose own name is no UTF-8."""
    folder = tmp_path_factory.mktemp("odd")
    photos = draw_odd_names(folder / os.fsdecode(b"ph\xfftos"))
    run_chain(folder / "run", photos, tiny_config(folder))
    return Run(folder / "run"), photos


def test_every_photo_has_an_id_of_its_own_that_is_text(tmp_path):
    source = open_source(draw_odd_names(tmp_path))
    ids = [photo.id for photo in source.photos]
    assert len(set(ids)) == len(ODD_NAMES)
    assert all(id.encode() for id in ids)
    assert len(source.skipped) == 1


def test_the_run_is_merged_and_finds_its_photos_again(odd_run):
    run, photos = odd_run
    table = pd.read_parquet(run.images_path)
    assert table["readable"].sum() == len(ODD_NAMES)
    found = photos_of(run)
    assert {os.fsencode(photo.path.relative_to(photos)) for photo in found} == set(ODD_NAMES)
    assert all(read_photo(photo).size == (photo.width, photo.height) for photo in found)


def test_a_second_start_has_nothing_to_do_and_a_moved_folder_is_followed(odd_run, tmp_path):
    run, photos = odd_run
    config = tiny_config(run.path.parent)
    assert redone(run_chain(run.path, photos, config)) == []
    moved = photos.rename(photos.with_name("plain"))
    try:
        assert redone(run_chain(run.path, moved, config)) == []
        assert all(photo.path.is_relative_to(moved) for photo in photos_of(run))
    finally:
        moved.rename(photos)
        run_chain(run.path, photos, config)


@pytest.mark.parametrize("format", ["coco", "voc", "yolo", "huggingface"])
def test_exports_have_names_that_every_system_takes(odd_run, tmp_path, format):
    run, _ = odd_run
    export_run(run, format, tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    if format == "coco":  # its links to the photos have the photos' names
        files = [path for path in files if path.relative_to(tmp_path / "out").parts[0] != "images"]
    names = [path.name for path in files]
    if format == "yolo":
        pictures = [path for path in (tmp_path / "out" / "images").rglob("*") if path.is_file()]
        assert len({path.name.casefold() for path in pictures}) == len(ODD_NAMES)
    assert all(name.encode() and name.isprintable() for name in names)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_what_the_command_prints_fits_every_terminal(odd_run, tmp_path, monkeypatch, encoding):
    run, _ = odd_run
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding, write_through=True))
    assert main(["status", "--run", str(run.path)]) == 0
    assert b"tos" in printed.getvalue()
    out = tmp_path / os.fsdecode(b"\xff out")
    assert main(["export", "--run", str(run.path), "--format", "coco", "--out", str(out)]) == 0
    names = {image["file_name"] for image in json.loads((out / "annotations" / "instances.json").read_text())["images"]}
    assert {os.fsencode(name) for name in names} == set(ODD_NAMES)


def test_errors_are_text_whatever_the_name():
    name = os.fsdecode(b"\xff\xfe.jpg")
    with pytest.raises(DatasetError) as caught:
        open_source(f"/nowhere/{name}")
    assert str(caught.value).encode()
    assert printable(name) == "\\udcff\\udcfe.jpg"


def test_a_file_of_the_longest_name_is_written_in_one_step(tmp_path):
    path = tmp_path / ("ü" * 125 + ".json")
    write_atomically(path, "{}")
    assert path.read_text() == "{}"
    assert list(tmp_path.iterdir()) == [path]
