import importlib.util
import random

import numpy as np
import pytest
from PIL import Image

from maskdistill.datasets import open_source, read_label, read_photo
from maskdistill.datasets.sample import NUM_VIEWS, open_sample_views
from maskdistill.datasets.views import MAX_LONGER_SIDE, ViewRecipe, apply_view, random_view
from maskdistill.errors import DatasetError


def test_sample_has_short_names_and_no_second_motorcycle():
    source = open_source("sample")
    ids = [photo.id for photo in source.photos]
    assert {"astronaut", "camera", "cat", "china", "coffee", "coins", "flower", "motorcycle", "rocket"} <= set(ids)
    assert ids == sorted(ids)
    assert len({photo.digest for photo in source.photos}) == len(ids)
    assert source.skipped == ()
    assert read_label(source, source.photos[0]) is None


def test_sample_photo_has_the_size_it_says():
    cat = next(photo for photo in open_source("sample").photos if photo.id == "cat")
    assert read_photo(cat).size == (cat.width, cat.height) == (451, 300)


def test_views_are_the_same_for_the_same_seed():
    source = open_source("sample-views")
    assert len(source.photos) == NUM_VIEWS * len(open_source("sample").photos)
    assert len({photo.id for photo in source.photos}) == len(source.photos)
    assert source == open_source("sample-views")
    assert source.fingerprint == open_sample_views(seed=0).fingerprint != open_sample_views(seed=1).fingerprint


def test_view_is_applied_and_has_the_size_it_says():
    photo = next(photo for photo in open_source("sample-views").photos if photo.id == "cat-01")
    first, second = read_photo(photo), read_photo(photo, min_short_side=50)
    assert first.size == (photo.width, photo.height)
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


def test_random_view_stays_inside_the_photo():
    generator = random.Random(0)
    for height, width in [(1, 1), (37, 1000), (3000, 4000)]:
        for _ in range(50):
            view = random_view(height, width, generator)
            x1, y1, x2, y2 = view.box
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            assert 1 <= min(view.height, view.width) <= max(view.height, view.width) <= MAX_LONGER_SIDE


def test_view_crops_scales_and_mirrors():
    image = Image.new("RGB", (40, 20))
    image.paste("white", (10, 0, 20, 20))
    view = ViewRecipe((10, 0, 30, 20), 10, 10, mirror=True, brightness=1, contrast=1, saturation=1)
    found = np.asarray(apply_view(image, view))[..., 0]
    assert (found[:, :3] == 0).all()
    assert (found[:, 7:] == 255).all()


def test_missing_package_names_the_remedy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match="pip install scikit-image"):
        open_source("sample")
