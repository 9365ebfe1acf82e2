"""Shared by the unit tests: drawn photos, and a whole run on them that is made once."""

import os
import shutil
import sys

import pytest
from tiny_run import NUM_TRAIN, NUM_VAL, draw_voc, run_chain, tiny_config

from maskdistill.storage.run_folder import Run


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """Folder of drawn photos, and settings; to look at only."""
    folder = tmp_path_factory.mktemp("scene")
    return draw_voc(folder / "voc"), tiny_config(folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, scene):
    """A whole run, to look at only, and what its stages said."""
    path = tmp_path_factory.mktemp("finished") / "run"
    said = run_chain(path, *scene)
    return Run(path), said


@pytest.fixture
def val_photos(scene, tmp_path):
    """A plain folder of the photos of the split val."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(NUM_TRAIN, NUM_TRAIN + NUM_VAL):
        shutil.copy(scene[0] / "JPEGImages" / f"{number:02d}.png", folder)
    return folder


@pytest.fixture
def processes_know_the_tiny_transformer(tmp_path, monkeypatch):
    """Processes that start from now on know timm's name of it, as this one does."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import tiny_vit")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), *sys.path]))
