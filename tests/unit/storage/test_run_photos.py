"""Photos of a run as a table: the same as one by one."""

import io
import os
import tarfile

import pytest
from PIL import Image

from maskdistill.datasets import open_source
from maskdistill.datasets.photo_table import PhotoTable, number_of
from maskdistill.handouts.photo_on_run import content_key, number_by_content
from maskdistill.storage import run_photos
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import photos_of, write_images


def picture(shade):
    content = io.BytesIO()
    Image.new("RGB", (30 + shade, 20), (shade, 0, 0)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Photos with odd names, one that cannot be read, and a split that not all have."""
    root = tmp_path / "photos"
    root.mkdir()
    for shade, name in enumerate((b"a.png", "ü ß.png".encode(), b"\xff.png")):
        with open(os.path.join(os.fsencode(root), name), "wb") as file:
            file.write(picture(shade))
    (root / "broken.png").write_bytes(b"no picture")
    return root


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w") as tar:
        for shade in range(3):
            info = tarfile.TarInfo(f"{shade}.png")
            info.size = len(picture(shade))
            tar.addfile(info, io.BytesIO(picture(shade)))
    return path


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_many_photos_are_a_table_of_the_same_photos(kind, request, tmp_path, monkeypatch):
    run = Run(tmp_path / "run")
    run.path.mkdir()
    write_images(run, open_source(request.getfixturevalue(kind)))
    few = photos_of(run)
    monkeypatch.setattr(run_photos, "FEW", 2)
    many = photos_of(run)
    assert isinstance(few, list)
    assert isinstance(many, PhotoTable)
    assert len(few) == 3
    assert list(many) == few
    for number, photo in enumerate(few):
        assert number_of(few, photo.id) == number_of(many, photo.id) == number
        assert number_by_content(many)[content_key(photo)] == number
    assert number_of(few, "none") is number_of(many, "none") is None


def test_views_are_listed_one_by_one(tmp_path, monkeypatch):
    run = Run(tmp_path / "run")
    run.path.mkdir()
    source = open_source("sample-views")
    write_images(run, source)
    monkeypatch.setattr(run_photos, "FEW", 2)
    assert photos_of(run) == list(source.photos)
