"""What a label map teaches a patch."""

import numpy as np
import pytest
from patch_head_data import PADDED, SQUARE, random_labels, slow_targets

from maskdistill.datasets.transforms import patch_grid
from maskdistill.models.patch_head import patch_targets


@pytest.mark.parametrize(
    "geometry",
    [
        SQUARE,
        PADDED,
        patch_grid(32, 48, shorter_side=16, patch_size=8, mode="resize"),
        patch_grid(26, 40, shorter_side=13, patch_size=8, mode="pad"),
    ],
    ids=["resize", "pad", "resize-half", "pad-half"],
)
def test_targets_equal_a_slow_loop(geometry):
    labels = random_labels(geometry)
    labels[:8, :8] = 255
    labels[: geometry.height // 2, geometry.width // 2 :] = 2
    labels[: 8 * geometry.height // geometry.resized_height, : 8 * geometry.width // geometry.resized_width] = 255
    shares, weights = patch_targets(labels, geometry, 2)
    wanted_shares, wanted_weights = slow_targets(labels, geometry, 2)
    assert shares.dtype == weights.dtype == np.float32
    assert weights[0] == 0
    assert weights.max() > 0.5
    np.testing.assert_allclose(weights, wanted_weights, atol=1e-5)
    np.testing.assert_allclose(shares, wanted_shares, atol=1e-5)


@pytest.mark.parametrize("mode", ["resize", "pad"])
@pytest.mark.parametrize(("height", "width"), [(60, 64), (37, 83), (5, 9), (120, 45)])
def test_targets_are_distributions_at_any_size(mode, height, width):
    geometry = patch_grid(height, width, shorter_side=20, patch_size=8, mode=mode)
    shares, weights = patch_targets(random_labels(geometry), geometry, 4)
    assert shares.shape == (geometry.rows * geometry.cols, 5)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert shares.min() >= 0
    assert 0 <= weights.min() <= weights.max() <= 1
    assert not shares[:, 3:].any()
    full, _ = patch_targets(np.ones((height, width), np.uint8), geometry, 1)
    np.testing.assert_allclose(full[:, 1], 1, atol=1e-5)
