import numpy as np
import pytest

from maskdistill.proposals.refinement import (
    WORK_SCALE,
    finer_map,
    keep_components,
    normalise_map,
    refine_patches,
    resize_map,
)


def unit(*vectors):
    vectors = np.array(vectors, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def slow_margin(vectors, foreground, background):
    def direction(members):
        mean = sum(members) / len(members)
        return mean / np.sqrt(mean @ mean)

    front = direction([v for v, inside in zip(vectors, foreground, strict=True) if inside])
    back = direction([v for v, inside in zip(vectors, background, strict=True) if inside])
    return [float(v @ front - v @ back) for v in vectors]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_margin_equals_a_slow_loop(steps):
    generator = np.random.default_rng(4)
    vectors = unit(*generator.standard_normal((12, 4)))
    foreground = np.arange(12) < 5
    background = np.arange(12) > 7  # three patches belong to neither
    margin = refine_patches(vectors, foreground, background, steps)
    for _ in range(steps):
        expected = slow_margin(vectors, foreground, background)
        foreground, background = np.array(expected) > 0, np.array(expected) <= 0
    np.testing.assert_allclose(margin, expected, atol=1e-5)


def test_a_patch_on_the_wrong_side_changes_over():
    vectors = unit((1, 0), (1, 0.1), (1, 0.2), (0, 1), (0.1, 1), (0.2, 1))
    start = np.array([True, True, False, False, False, False])
    assert (refine_patches(vectors, start, ~start, 1) > 0).tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize("empty", [True, False])
def test_stops_before_a_side_runs_empty(empty):
    vectors = unit((1, 0), (0, 1), (1, 1))
    foreground = np.full(3, not empty)
    margin = refine_patches(vectors, foreground, ~foreground, 3)
    assert margin.tolist() == [-1 if empty else 1] * 3


def test_normalise_map():
    np.testing.assert_allclose(normalise_map(np.array([[-2.0, 4.0]])), [[-2 / 3, 4 / 3]], rtol=1e-6)
    assert normalise_map(np.zeros((2, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert normalise_map(np.ones((2, 2))).dtype == np.float32


def test_resize_map_keeps_height_and_width_apart():
    values = np.repeat(np.arange(4.0)[:, None], 3, axis=1)  # grows downwards
    resized = resize_map(values, 8, 5)
    assert resized.shape == (8, 5)
    np.testing.assert_allclose(resized, resized[:, :1].repeat(5, axis=1), atol=1e-6)
    assert (np.diff(resized[:, 0]) > 0).all()


def test_finer_map_puts_the_edge_between_two_patches():
    values = np.full((6, 7), -3.0, np.float32)
    values[:, 4:] = 3.0
    fine = finer_map(values)
    assert fine.shape == (6 * WORK_SCALE, 7 * WORK_SCALE)
    assert (fine[:, : 4 * WORK_SCALE] < 0).all()
    assert (fine[:, 4 * WORK_SCALE :] > 0).all()
    assert fine[0, 0] == pytest.approx(-1)


def fine_map(*boxes, shape=(16, 24)):
    values = np.full(shape, -0.5, np.float32)
    for top, bottom, left, right in boxes:
        values[top:bottom, left:right] = 0.7
    return values


LARGE, MIDDLE, SPECK = (0, 8, 0, 8), (4, 12, 12, 17), (14, 16, 20, 22)  # areas 64, 40, 4


def test_small_pieces_change_their_sign_and_nothing_else():
    values = fine_map(LARGE, MIDDLE, SPECK)
    result = keep_components(values, None, min_piece=0.1)
    np.testing.assert_array_equal(result > 0, fine_map(LARGE, MIDDLE) > 0)
    np.testing.assert_array_equal(np.abs(result), np.abs(values))


def test_only_the_seeds_piece_is_kept():
    values = fine_map(LARGE, MIDDLE, SPECK)
    result = keep_components(values, (1, 3), min_piece=0.1)  # patch (1, 3) is around (6, 14) of the fine map
    np.testing.assert_array_equal(result > 0, fine_map(MIDDLE) > 0)


def test_seed_that_became_background_leaves_the_large_pieces():
    values = fine_map(LARGE, MIDDLE, SPECK)
    result = keep_components(values, (3, 0), min_piece=0.5)
    np.testing.assert_array_equal(result > 0, fine_map(LARGE, MIDDLE) > 0)


def test_map_without_foreground_stays_as_it_is():
    np.testing.assert_array_equal(keep_components(fine_map(), (1, 1), 0.1), fine_map())
