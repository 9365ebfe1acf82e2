"""A folder of six photos and two that cannot be read, and what makes its masks with random weights."""

import pytest
from six_photos import make_masks, picture

from maskdistill.config import FeatureConfig, ProposalConfig, RunConfig
from maskdistill.datasets import open_source
from maskdistill.stages import shards
from maskdistill.stages.worker import PhotoWorker
from maskdistill.storage.run_folder import Run


@pytest.fixture
def photos(tmp_path):
    """Six readable pictures of several sizes, one of them grey; one is cut short and one damaged inside."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate([(48, 40), (40, 48), (64, 32), (40, 40), (33, 47)]):
        picture(number, size).save(folder / f"{number}.png")
    picture(5, (44, 36)).convert("L").save(folder / "5-grey.jpg")
    picture(6, (48, 40)).save(folder / "6-short.jpg", quality=95)
    short = folder / "6-short.jpg"
    short.write_bytes(short.read_bytes()[:900])
    return folder


@pytest.fixture
def config(tiny_weights):
    return RunConfig(
        features=FeatureConfig(**tiny_weights, shorter_side=32),
        proposals=ProposalConfig(num_objects=2, feature="tokens", tau=0.96, min_area=0.0),
    )


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 2)


@pytest.fixture
def start(tmp_path, photos, config):
    def start(name="run", *, folder=photos, **options):
        settings = options.pop("config", config)
        source = options.pop("source", None) or open_source(folder)
        return make_masks(Run(tmp_path / name), source, settings, **options)

    return start


@pytest.fixture
def seen(monkeypatch):
    """Names of the photos that were processed, in order."""
    names, call = [], PhotoWorker.__call__

    def note(self, batch):
        names.extend(photo.path.name for _, photo in batch.photos)
        return call(self, batch)

    monkeypatch.setattr(PhotoWorker, "__call__", note)
    return names
