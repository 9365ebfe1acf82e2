import numpy as np
import pytest

from maskdistill.errors import ShapeError
from maskdistill.review.repair.likeness import TAU
from maskdistill.review.repair.preview import make_preview


def test_a_byte_says_how_alike_two_cells_are():
    angles = np.radians([[0, 30, 90], [0, 180, 45]])
    preview = make_preview(3 * np.stack([np.cos(angles), np.sin(angles)], axis=-1))
    assert (preview.rows, preview.cols) == (2, 3)
    for first in range(6):
        for second in range(6):
            cosine = np.cos(angles.ravel()[first] - angles.ravel()[second])
            assert abs(int(preview.values[first, second]) - 255 * np.exp((cosine - 1) / TAU)) <= 0.51
    assert (np.diag(preview.values) == 255).all()


def test_many_patches_share_cells_and_those_left_over_have_cells_of_their_own():
    tokens = np.zeros((7, 9, 2))
    tokens[..., 0], tokens[6, :, :] = 1, (0, 1)
    preview = make_preview(tokens, most_cells=15)
    assert (preview.rows, preview.cols) == (3, 3)
    assert preview.values.shape == (9, 9)
    assert preview.values[0, 3] == 255
    assert preview.values[0, 8] == round(255 * np.exp(-1 / TAU))  # the last row, alone in its cells


def test_padding_is_left_out():
    preview = make_preview(np.ones((10, 10, 4)), content=(0.6, 1.0))
    assert (preview.rows, preview.cols) == (6, 10)


def test_what_are_no_tokens_is_refused():
    with pytest.raises(ShapeError, match="tokens"):
        make_preview(np.ones((10, 10)))
