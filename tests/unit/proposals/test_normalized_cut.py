import numpy as np
import pytest
import scipy.linalg
from scipy.sparse.linalg import ArpackNoConvergence

from maskdistill.config import ProposalConfig
from maskdistill.proposals import normalized_cut
from maskdistill.proposals.normalized_cut import FEW_PATCHES, MIN_PATCHES, cut_objects, second_eigenvector


def planted_affinity(labels, noise=0.05, seed=0):
    """Cosines of patches whose direction is that of their label, with a little noise."""
    generator = np.random.default_rng(seed)
    vectors = np.eye(8)[labels.ravel()] + noise * generator.standard_normal((labels.size, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors @ vectors.T).astype(np.float32)


def rectangles(shape, *boxes):
    """Labels 1, 2, ... inside the (top, bottom, left, right) boxes on a background of 0."""
    labels = np.zeros(shape, dtype=int)
    for number, (top, bottom, left, right) in enumerate(boxes, start=1):
        labels[top:bottom, left:right] = number
    return labels


def slow_second_eigenvector(weights):
    degrees = np.diag(weights.sum(axis=1))
    _, vectors = scipy.linalg.eigh(degrees - weights, degrees)
    return vectors[:, 1] / np.linalg.norm(vectors[:, 1])


@pytest.mark.parametrize("size", [5, 63, 64, 100])
def test_second_eigenvector_solves_the_generalised_problem(size):
    generator = np.random.default_rng(size)
    labels = np.arange(size) % 2
    weights = generator.uniform(0.05, 1, (size, size)) * np.where(labels[:, None] == labels, 1, 0.2)
    weights = weights + weights.T
    vector, eigenvalues, dense = second_eigenvector(weights.astype(np.float32))
    expected = slow_second_eigenvector(weights)
    assert abs(vector @ expected) == pytest.approx(1, abs=1e-4)  # Lanczos stops at a residual of 1e-4
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    scale = 1 / np.sqrt(weights.sum(axis=1))
    all_values = np.linalg.eigvalsh(weights * scale[:, None] * scale)[::-1]
    np.testing.assert_allclose(eigenvalues, all_values[:3], atol=1e-3)
    assert dense == (size < FEW_PATCHES)


def test_sign_of_the_eigenvector_is_fixed():
    weights = np.where(np.eye(20, dtype=bool)[::-1].cumsum(axis=0) % 2, 1.0, 0.3)
    weights = (weights + weights.T).astype(np.float32)
    vector, _, _ = second_eigenvector(weights)
    assert vector[np.abs(vector).argmax()] > 0


@pytest.mark.parametrize("component", ["large", "seed"])
def test_planted_object_is_found(component):
    labels = rectangles((8, 10), (2, 5, 3, 7))
    cuts = cut_objects(planted_affinity(labels), (8, 10), ProposalConfig(component=component))
    assert len(cuts) == 1
    np.testing.assert_array_equal(cuts[0].component, labels == 1)
    np.testing.assert_array_equal(cuts[0].foreground, labels == 1)
    np.testing.assert_array_equal(cuts[0].eigenvector > 0, labels == 1)
    assert labels[cuts[0].seed] == 1
    assert cuts[0].eigenvector[cuts[0].seed] == cuts[0].eigenvector.max()
    assert 0 < cuts[0].eigengap <= 1


def test_large_object_is_told_from_the_background_by_the_border_only():
    """The object holds more patches than its surroundings, so the largest value lies in the background."""
    labels = rectangles((10, 10), (1, 9, 1, 9))
    affinity = planted_affinity(labels)
    border = cut_objects(affinity, (10, 10), ProposalConfig(foreground="border"))[0]
    largest = cut_objects(affinity, (10, 10), ProposalConfig(foreground="largest"))[0]
    np.testing.assert_array_equal(border.component, labels == 1)
    np.testing.assert_array_equal(largest.component, labels == 0)


@pytest.mark.parametrize(("inside", "expected"), [(3.0, 1), (1.5, 0), (1.0, 0)])
def test_attention_overrules_the_border_only_if_it_is_plain(inside, expected):
    """The object lies along most of the border, so the border alone takes the middle for it."""
    labels = 1 - rectangles((10, 10), (1, 9, 1, 9))
    attention = np.where(labels.ravel() == 1, inside, 1.0)
    config = ProposalConfig(foreground="attended")
    cut = cut_objects(planted_affinity(labels), (10, 10), config, attention)[0]
    np.testing.assert_array_equal(cut.component, labels == expected)


def test_without_attention_attended_is_the_border_rule():
    labels = rectangles((10, 10), (1, 9, 1, 9))
    cut = cut_objects(planted_affinity(labels), (10, 10), ProposalConfig(foreground="attended"))[0]
    np.testing.assert_array_equal(cut.component, labels == 1)


def test_object_at_the_border_is_found_by_the_largest_value():
    labels = rectangles((6, 12), (0, 6, 0, 4))
    cut = cut_objects(planted_affinity(labels), (6, 12), ProposalConfig(foreground="largest"))[0]
    np.testing.assert_array_equal(cut.component, labels == 1)


def test_pieces_of_one_kind_are_kept_or_only_the_seeds():
    labels = rectangles((8, 12), (2, 5, 2, 5), (3, 6, 8, 11))
    affinity = planted_affinity(np.minimum(labels, 1))  # both rectangles look alike
    large = cut_objects(affinity, (8, 12), ProposalConfig(component="large"))[0]
    np.testing.assert_array_equal(large.component, labels > 0)
    seed = cut_objects(affinity, (8, 12), ProposalConfig(component="seed"))[0]
    np.testing.assert_array_equal(seed.component, labels == labels[seed.seed])
    assert seed.component.sum() == 9


def test_small_pieces_are_dropped():
    labels = rectangles((8, 12), (1, 6, 1, 6), (6, 7, 9, 10))
    affinity = planted_affinity(np.minimum(labels, 1))
    cut = cut_objects(affinity, (8, 12), ProposalConfig(component="large", min_piece=0.1))[0]
    np.testing.assert_array_equal(cut.component, labels == 1)
    np.testing.assert_array_equal(cut.foreground, labels > 0)


@pytest.mark.parametrize("grid", [(4, 5), (10, 12)])  # a small graph is solved in another way
def test_patches_that_are_all_alike_have_no_cut(grid):
    count = grid[0] * grid[1]
    assert cut_objects(np.full((count, count), 0.9, np.float32), grid, ProposalConfig(num_objects=3)) == []
    labels = rectangles(grid, (1, 3, 1, 3))
    assert len(cut_objects(planted_affinity(labels), grid, ProposalConfig(num_objects=3))) == 1  # the ground is alike


def test_repeated_cuts_find_two_objects():
    labels = rectangles((9, 14), (1, 5, 1, 6), (4, 8, 8, 12))
    cuts = cut_objects(planted_affinity(labels), (9, 14), ProposalConfig(num_objects=2))
    assert len(cuts) == 2
    assert {tuple(np.unique(labels[cut.component])) for cut in cuts} == {(1,), (2,)}
    assert {cut.component.sum() for cut in cuts} == {20, 16}
    assert (
        cuts[1].eigenvector[cuts[0].component].max() == cuts[1].eigenvector.min()
    )  # taken patches hold the lowest value


@pytest.mark.parametrize(("min_area", "count"), [(0.0, 2), (0.03, 2), (0.05, 1)])
def test_second_object_below_the_smallest_area_is_dropped(min_area, count):
    labels = rectangles((10, 10), (1, 5, 1, 6), (6, 8, 6, 8))  # 20 and 4 patches of 100
    config = ProposalConfig(num_objects=2, component="seed", foreground="largest", min_area=min_area)
    cuts = cut_objects(planted_affinity(labels), (10, 10), config)
    areas = [cut.component.mean() for cut in cuts]
    assert len(cuts) == count, areas


def test_objects_do_not_overlap():
    labels = rectangles((9, 14), (1, 5, 1, 6), (4, 8, 8, 12))
    cuts = cut_objects(planted_affinity(labels, noise=0.4), (9, 14), ProposalConfig(num_objects=5, min_area=0.0))
    assert len(cuts) > 1
    assert np.sum([cut.component for cut in cuts], axis=0).max() == 1


def test_dense_solver_steps_in_with_the_same_cut(monkeypatch):
    labels = rectangles((8, 10), (2, 5, 3, 7))
    affinity = planted_affinity(labels, noise=0.2)
    lanczos = cut_objects(affinity, (8, 10), ProposalConfig())[0]

    def fail(*_args, **_options):
        raise ArpackNoConvergence("No convergence", np.empty(0), np.empty((80, 0)))

    monkeypatch.setattr(normalized_cut, "eigsh", fail)
    dense = cut_objects(affinity, (8, 10), ProposalConfig())[0]
    assert (lanczos.dense, dense.dense) == (False, True)
    np.testing.assert_array_equal(dense.component, lanczos.component)
    np.testing.assert_allclose(dense.eigenvector, lanczos.eigenvector, atol=1e-3)
    np.testing.assert_allclose(dense.eigenvalues, lanczos.eigenvalues, atol=1e-3)


def test_too_few_patches_give_no_cut():
    assert cut_objects(np.eye(MIN_PATCHES - 1, dtype=np.float32), (1, MIN_PATCHES - 1), ProposalConfig()) == []


def test_fewest_patches_are_cut():
    labels = np.array([[0, 0, 1, 1]])
    cut = cut_objects(planted_affinity(labels), (1, 4), ProposalConfig(foreground="largest"))[0]
    assert cut.dense
    assert sorted(labels[cut.component].tolist()) in ([0, 0], [1, 1])


def test_stops_when_the_free_patches_run_out():
    labels = rectangles((2, 4), (0, 2, 0, 2))
    cuts = cut_objects(planted_affinity(labels), (2, 4), ProposalConfig(num_objects=10, min_area=0.0))
    taken = np.sum([cut.component for cut in cuts], axis=0)
    assert 1 <= len(cuts) <= 3
    assert taken.max() == 1


def test_photo_without_any_contrast_gives_the_same_cut_every_time():
    """A grey photo links every patch to every other, so that Lanczos has nothing to go on.

    Without a seed ARPACK then went on from a random vector, and a resumed run ended with other files.
    """
    vectors = [second_eigenvector(np.ones((60, 60), np.float32))[0] for _ in range(3)]
    np.testing.assert_array_equal(vectors[1], vectors[0])
    np.testing.assert_array_equal(vectors[2], vectors[0])


def test_photo_without_any_contrast_gives_a_cut_of_finite_values():
    cuts = cut_objects(np.ones((36, 36), dtype=np.float32), (6, 6), ProposalConfig())
    for cut in cuts:
        assert np.isfinite(cut.eigenvector).all()
        assert not cut.component.all()
    assert len(cuts) <= 1
