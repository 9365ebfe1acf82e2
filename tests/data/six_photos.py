"""Masks of a few small photos: making them, stopping that in the middle, and comparing what came of it."""

import numpy as np
import pandas as pd
from PIL import Image

from maskdistill.stages.pool import Workers
from maskdistill.stages.propose import hold_masks
from maskdistill.stages.worker import PhotoWorker

NUM_PHOTOS = 6  # readable ones of the folder that tests/unit/stages/propose/conftest.py makes


def picture(number, size):
    """Noise with a bright rectangle, different for every number."""
    generator = np.random.default_rng(number)
    pixels = generator.integers(0, 90, (size[1], size[0], 3))
    pixels[8:20, 10 + number : 24 + number] += 150
    return Image.fromarray(pixels.astype(np.uint8))


def make_masks(run, source, config, **options):
    with hold_masks(run, source, config, **{"workers": Workers(1), "quiet": True, **options}) as summary:
        return summary


def interrupt_after(monkeypatch, count, error=KeyboardInterrupt, place=PhotoWorker, name="__call__"):
    """Let the next call of the stage end after so many photos."""
    call, left = getattr(place, name), [count]

    def limited(*arguments):
        if left[0] == 0:
            monkeypatch.setattr(place, name, call)
            raise error
        left[0] -= 1
        return call(*arguments)

    monkeypatch.setattr(place, name, limited)


def assert_same_results(one, other):
    assert one.proposals_path.read_bytes() == other.proposals_path.read_bytes()
    pd.testing.assert_frame_equal(one.masks(), other.masks())
    pd.testing.assert_frame_equal(one.images(), other.images())
    thumbs = [sorted(path.relative_to(run.path) for path in run.path.glob("thumbs/*/*/*")) for run in (one, other)]
    assert thumbs[0] == thumbs[1]
    assert all((one.path / path).read_bytes() == (other.path / path).read_bytes() for path in thumbs[0])


def contents(run):
    """The content of every file that is not about the work itself, by its name."""
    paths = [path for path in run.path.rglob("*.*") if path.suffix in (".json", ".parquet", ".jpg")]
    kept = {path.relative_to(run.path).as_posix(): path.read_bytes() for path in paths if path != run.progress_path}
    return {name: content for name, content in kept.items() if not name.startswith("parts/")}


def different(run, old):
    """Names of the files that are not any more what they were."""
    found = contents(run)
    return {name for name in old if found.get(name) != old[name]}
