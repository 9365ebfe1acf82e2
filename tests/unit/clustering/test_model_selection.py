import json
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from maskdistill.clustering import model_selection
from maskdistill.clustering.model_selection import (
    KCurve,
    choose_embedding,
    nearest_neighbours,
    suggest_num_classes,
)
from maskdistill.errors import ConfigError, ShapeError


def blobs(num_blobs, size=20, width=8, spread=0.3, seed=0):
    """Gaussian blobs far from each other, and which blob each vector is of."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(num_blobs), size))
    centres = rng.normal(size=(num_blobs, width)) * 3
    return (centres[truth] + rng.normal(size=(len(truth), width)) * spread).astype(np.float32), truth


def slow_neighbours(vectors, row, count):
    cosines = [
        float(vectors[row] @ other / np.linalg.norm(vectors[row]) / np.linalg.norm(other)) if spot != row else -2.0
        for spot, other in enumerate(vectors)
    ]
    return sorted(range(len(vectors)), key=lambda spot: -cosines[spot])[:count]


def test_neighbours_equal_a_slow_loop_and_leave_the_vector_out():
    vectors = np.random.default_rng(1).normal(size=(30, 4))
    vectors[7] = vectors[3] * 2  # a double is a neighbour, the vector itself is not
    near = nearest_neighbours(vectors, 4)
    assert [sorted(row) for row in near.tolist()] == [sorted(slow_neighbours(vectors, row, 4)) for row in range(30)]
    assert 7 in near[3]
    assert 3 in near[7]


def test_few_vectors_have_fewer_neighbours():
    vectors = np.array([[1.0, 0], [1, 0.1], [0, 1]])
    assert nearest_neighbours(vectors).shape == (3, 2)


def candidates(seed=0):
    """Two blurred looks at five blobs, noise, and a ring that is easy to cut and has nothing to do with the blobs."""
    good, truth = blobs(5, size=30, width=16, spread=3.0, seed=seed)
    rng = np.random.default_rng(seed + 1)
    other = good @ rng.normal(size=(16, 12)) + rng.normal(size=(len(good), 12)) * 4
    angles = rng.uniform(0, 2 * np.pi, len(good))
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)
    return {"noise": rng.normal(size=(len(good), 16)), "ring": ring, "other": other, "good": good}, truth


def test_the_embedding_that_others_bear_out_is_chosen_not_the_one_that_is_easy_to_cut():
    arrays, _ = candidates()
    choice = choose_embedding(arrays, (2, 4, 12), num_classes=5, seed=0)
    assert choice.name == "good"
    by_name = {score.name: score for score in choice.scores if score.dimensions in (2, 4)}
    assert by_name["ring"].own_neighbours > by_name["good"].own_neighbours  # what the own space would have chosen
    assert by_name["noise"].neighbours < by_name["other"].neighbours < by_name["good"].neighbours
    assert choice.dimensions == max(choice.scores, key=lambda score: score.neighbours).dimensions


def test_a_score_is_the_mean_over_the_raw_spaces_and_the_seeds():
    arrays, _ = candidates()
    choice = choose_embedding(arrays, (4,), num_classes=5, seed=2)
    score = next(score for score in choice.scores if score.name == "other")
    space = model_selection.EmbeddingSpace.fit(arrays["other"], 4, whiten=True, normalise=True)
    runs = model_selection._label_runs(space.transform(arrays["other"]), 5, 2)
    near = {name: nearest_neighbours(raw) for name, raw in arrays.items()}
    shares = {name: np.mean([run[rows] == run[:, None] for run in runs]) for name, rows in near.items()}
    assert len(runs) == 6
    assert score.neighbours == pytest.approx(np.mean(list(shares.values())))
    assert score.own_neighbours == pytest.approx(shares["other"])


def test_dimensions_above_the_rank_are_tried_once():
    arrays, _ = candidates()
    steps = []
    choice = choose_embedding(
        {"ring": arrays["ring"]}, (2, 12, 24), num_classes=5, on_step=lambda done, total: steps.append((done, total))
    )
    assert [score.dimensions for score in choice.scores] == [2]
    assert choice.scores[0].neighbours == choice.scores[0].own_neighbours
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_choice_is_the_same_again_and_goes_into_json():
    arrays, _ = candidates()
    first = choose_embedding(arrays, (3, 6), num_classes=5, seed=1)
    assert first == choose_embedding(arrays, (3, 6), num_classes=5, seed=1)
    rows = json.loads(json.dumps(first.table()))
    assert len(rows) == 7  # the ring has two dimensions, tried once
    assert set(rows[0]) == {"name", "dimensions", "neighbours", "own_neighbours", "seed_agreement"}


def test_many_masks_are_sampled(monkeypatch):
    arrays, _ = candidates()
    monkeypatch.setattr(model_selection, "MOST_ROWS", 60)
    monkeypatch.setattr(
        model_selection, "nearest_neighbours", lambda vectors: np.zeros((len(vectors), len(vectors)), int)
    )
    sampled = model_selection._check_candidates(arrays, (4,), 5)
    assert {len(vectors) for vectors in sampled.values()} == {60}
    spots = [np.flatnonzero((arrays["good"] == row).all(axis=1))[0] for row in sampled["good"]]
    np.testing.assert_array_equal(sampled["other"], arrays["other"][spots])  # the same masks of each


@pytest.mark.parametrize(
    ("arrays", "dimensions", "num_classes", "match"),
    [
        ({}, (4,), 5, "at least one embedding and one dimension, got 0 and 1"),
        ({"a": np.eye(9)}, (), 5, "at least one embedding and one dimension, got 1 and 0"),
        ({"a": np.eye(9)}, (4, 0), 5, r"dimensions must be at least 1 to be compared, got \[4, 0\]"),
        ({"a": np.eye(9)}, (4,), 10, r"num_classes must be in \[2, 9\]"),
    ],
)
def test_a_choice_among_nothing_is_refused(arrays, dimensions, num_classes, match):
    with pytest.raises(ConfigError, match=match):
        choose_embedding(arrays, dimensions, num_classes=num_classes)


def test_candidates_of_other_masks_are_refused():
    with pytest.raises(ShapeError, match=r"candidates\['b'\] must have shape \(9, D\), got \(8, 9\)"):
        choose_embedding({"a": np.eye(9), "b": np.eye(9)[:8]}, num_classes=3)


@pytest.mark.parametrize(("num_blobs", "values"), [(3, range(2, 7)), (7, range(5, 10)), (10, None)])
def test_the_number_of_blobs_is_suggested(num_blobs, values):
    vectors, _ = blobs(num_blobs)
    curve = suggest_num_classes(vectors, values, seed=0, num_bootstraps=3)
    assert curve.suggested == num_blobs
    assert curve.plateau[0] <= num_blobs <= curve.plateau[1]
    spot = curve.values.index(num_blobs)
    assert curve.agreement[spot] == max(curve.agreement) == pytest.approx(1)
    assert len(curve.values) == len(curve.agreement) == len(curve.silhouette) == len(curve.inertia)


def test_the_curve_of_given_values():
    vectors, truth = blobs(4)
    curve = suggest_num_classes(vectors, [6, 2, 4, 4], seed=0, num_bootstraps=3)
    assert curve.values == (2, 4, 6)
    assert curve.silhouette[1] == pytest.approx(silhouette_score(vectors, truth), abs=1e-6)
    within = sum(((vectors[truth == number] - vectors[truth == number].mean(axis=0)) ** 2).sum() for number in range(4))
    assert curve.inertia[1] == pytest.approx(within, rel=1e-5)
    assert curve.inertia[0] > curve.inertia[1] > curve.inertia[2]


def test_agreement_is_that_of_the_masks_two_bootstraps_share(monkeypatch):
    """K-means replaced by fixed rules, so that the mean over pairs can be written out."""
    vectors = np.arange(10, dtype=np.float32)[:, None] % 7
    limits = iter([2, 2, 4, 3])

    class Fitted:
        def __init__(self, labels):
            self.labels_, self.inertia_ = labels, 1.0

    monkeypatch.setattr(
        model_selection, "fit_kmeans", lambda values, *_, **__: Fitted((values[:, 0] > next(limits)).astype(np.int64))
    )
    subsets = [np.arange(7), np.arange(3, 10), np.array([0, 1, 3, 4, 5, 6, 9])]
    agreement, silhouette, _ = model_selection._curve_point(vectors, 2, subsets, 0)
    scores = []
    for (one, limit), (other, limit_of_other) in combinations(zip(subsets, (2, 2, 4), strict=True), 2):
        shared = [row for row in range(10) if row in one and row in other]
        scores.append(adjusted_rand_score(vectors[shared, 0] > limit, vectors[shared, 0] > limit_of_other))
    assert len(set(np.round(scores, 6))) > 1
    assert agreement == pytest.approx(np.mean(scores))
    assert silhouette == pytest.approx(silhouette_score(vectors, vectors[:, 0] > 3))


def test_the_smallest_value_that_agrees_and_separates_nearly_as_well_is_suggested():
    points = {
        2: (0.81, 0.9, 9.0),  # as good, but a dip lies between
        4: (0.60, 0.8, 8.0),
        6: (0.75, 0.3, 7.0),  # agrees, but does not separate
        8: (0.76, 0.48, 6.0),
        10: (0.82, 0.5, 5.0),
        12: (0.78, 0.5, 4.0),
        14: (0.70, 0.7, 3.0),
    }
    curve = model_selection._read_curve(points)
    assert isinstance(curve, KCurve)
    assert curve.plateau == (6, 12)
    assert curve.suggested == 8
    assert sorted(model_selection._halfway(points)) == [7, 9]


def test_a_curve_that_stays_high_where_classes_are_parted_suggests_the_classes():
    """The largest value lay at 22 on photos of 14 classes, by chance."""
    values = [4, 7, 10, 13, 15, 19, 22, 25, 33, 49]
    agreement = [0.23, 0.37, 0.51, 0.65, 0.70, 0.68, 0.70, 0.71, 0.64, 0.63]
    silhouette = [0.10, 0.15, 0.21, 0.26, 0.27, 0.26, 0.26, 0.24, 0.23, 0.21]
    points = {value: (*pair, 1.0) for value, *pair in zip(values, agreement, silhouette, strict=True)}
    assert model_selection._read_curve(points).suggested == 13


def test_the_default_values_fit_the_number_of_masks():
    rng = np.random.default_rng(0)
    large = model_selection._default_values(rng.normal(size=(1000, 3)))
    assert (large[0], large[-1], len(large)) == (4, 60, 14)
    assert model_selection._default_values(rng.normal(size=(32, 3))) == [4, 5, 6]
    assert model_selection._default_values(np.repeat(rng.normal(size=(12, 3)), 50, axis=0)) == [
        2
    ]  # doubles do not count


@pytest.mark.parametrize("values", [None, [2, 3, 4]])
def test_progress_ends_at_the_total(values):
    vectors, _ = blobs(6)
    steps = []
    suggest_num_classes(vectors, values, num_bootstraps=2, on_step=lambda done, total: steps.append((done, total)))
    done, totals = zip(*steps, strict=True)
    assert len(set(totals)) == 1
    assert list(done) == sorted(set(done))
    assert done[-1] == totals[-1]


def test_the_curve_is_the_same_again():
    vectors, _ = blobs(4, spread=2.0)
    first = suggest_num_classes(vectors, [2, 4, 6], seed=5, num_bootstraps=3)
    assert first == suggest_num_classes(vectors, [2, 4, 6], seed=5, num_bootstraps=3)
    assert first != suggest_num_classes(vectors, [2, 4, 6], seed=6, num_bootstraps=3)


def test_many_masks_are_sampled_for_the_curve(monkeypatch):
    vectors, _ = blobs(4)
    monkeypatch.setattr(model_selection, "MOST_ROWS", 50)
    with pytest.raises(ConfigError, match=r"values must be in \[2, 35\], 70% of the masks"):
        suggest_num_classes(vectors, [36])


@pytest.mark.parametrize("values", [[], [1, 4], [57]])
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ConfigError, match=r"values must be in \[2, 56\]"):
        suggest_num_classes(blobs(4)[0], values)


def test_too_few_masks_or_bootstraps_are_refused():
    with pytest.raises(ConfigError, match=r"at least 10 masks that differ, got 9. Set clusters.num_classes"):
        suggest_num_classes(np.repeat(blobs(3, size=3)[0], 4, axis=0))
    with pytest.raises(ConfigError, match="num_bootstraps must be at least 2, got 1"):
        suggest_num_classes(blobs(4)[0], num_bootstraps=1)
