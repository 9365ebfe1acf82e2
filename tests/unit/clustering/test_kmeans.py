import numpy as np
import pytest
from blobs import blobs, slow_inertia
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from maskdistill.clustering import kmeans
from maskdistill.clustering.cluster_summary import cluster_table
from maskdistill.clustering.consensus import consensus_cluster
from maskdistill.clustering.kmeans import Clustering, assign, cluster, draw_seeds, mean_agreement
from maskdistill.errors import ConfigError, ShapeError


def test_finds_the_blobs_and_numbers_them_by_size():
    vectors, truth = blobs()
    result = cluster(vectors, 4, seed=0, num_seeds=5)
    np.testing.assert_array_equal(result.labels, truth)
    assert result.agreement == pytest.approx(1)
    assert len(result.inertias) == 5
    for number in range(4):
        np.testing.assert_allclose(result.centres[number], vectors[truth == number].mean(axis=0), atol=1e-5)
    assert result.inertia == pytest.approx(slow_inertia(vectors, truth), rel=1e-5)


def test_clusters_of_one_size_are_numbered_by_their_first_member():
    vectors, truth = blobs(sizes=(10, 10, 10))
    labels = cluster(vectors, 3, seed=0, num_seeds=5).labels
    assert adjusted_rand_score(labels, truth) == 1
    firsts = [int(np.flatnonzero(labels == number)[0]) for number in range(3)]
    assert firsts == sorted(firsts)


def test_distances_and_margins_equal_a_slow_loop():
    vectors, _ = blobs(spread=1.5)
    result = cluster(vectors, 4, seed=0, num_seeds=3)
    for row, vector in enumerate(vectors):
        away = [float(np.linalg.norm(vector.astype(np.float64) - centre)) for centre in result.centres]
        ranked = sorted(away)
        assert result.labels[row] == away.index(ranked[0])
        assert result.distances[row] == pytest.approx(ranked[0], abs=1e-5)
        assert result.margins[row] == pytest.approx(ranked[1] - ranked[0], abs=1e-5)
    assert result.inertia == pytest.approx((result.distances.astype(np.float64) ** 2).sum())


def test_the_best_seed_is_kept():
    vectors, _ = blobs(sizes=(20,) * 10, spread=1.0)
    result = cluster(vectors, 10, seed=0, num_seeds=12)
    assert max(result.inertias) > 1.01 * min(result.inertias)  # the seeds do differ
    assert result.inertia <= min(result.inertias) * (1 + 1e-6)
    assert 0 < result.agreement < 1


def test_the_same_seed_gives_the_same_clusters_whatever_the_threads():
    vectors, _ = blobs(sizes=(150,) * 10, spread=1.5)
    with threadpool_limits(limits=1):
        first = cluster(vectors, 12, seed=3, num_seeds=4)
    with threadpool_limits(limits=2):
        second = cluster(vectors, 12, seed=3, num_seeds=4)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.centres, second.centres)
    assert first.inertias == second.inertias
    assert first.inertias != cluster(vectors, 12, seed=4, num_seeds=4).inertias


def test_no_agreement_of_a_single_seed():
    result = cluster(blobs()[0], 4, seed=0, num_seeds=1)
    assert result.agreement is None


def test_mini_batches_find_the_blobs_and_end_at_rest(monkeypatch):
    vectors, truth = blobs(sizes=(300, 200, 150, 100))
    runs = []

    class Recorded(kmeans.MiniBatchKMeans):
        def fit(self, values):
            runs.append(len(values))
            return super().fit(values)

    monkeypatch.setattr(kmeans, "MiniBatchKMeans", Recorded)
    cluster(vectors, 4, seed=0, num_seeds=3, minibatch_from=len(vectors) + 1)
    assert not runs
    result = cluster(vectors, 4, seed=0, num_seeds=3, minibatch_from=len(vectors))
    assert runs == [750] * 3
    np.testing.assert_array_equal(result.labels, truth)
    for number in range(4):
        np.testing.assert_allclose(result.centres[number], vectors[truth == number].mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("minibatch", [True, False])
def test_many_vectors_are_fitted_on_some_and_all_put_into_clusters(monkeypatch, minibatch):
    vectors, truth = blobs(sizes=(300, 200, 150, 100))
    whole, seen = kmeans.fit_kmeans(vectors, 4, 7, num_starts=3, minibatch=minibatch), []
    for name in ("KMeans", "MiniBatchKMeans"):
        fit = getattr(kmeans, name).fit
        monkeypatch.setattr(
            getattr(kmeans, name), "fit", lambda model, values, fit=fit: seen.append(len(values)) or fit(model, values)
        )
    monkeypatch.setattr(kmeans, "MOST_FITTED", 400)
    found = kmeans.fit_kmeans(vectors, 4, 7, num_starts=3, minibatch=minibatch)
    assert seen == [400]
    assert kmeans.mean_agreement([found.labels_, truth]) == 1
    assert found.inertia_ == pytest.approx(whole.inertia_, rel=0.02)
    again = kmeans.fit_kmeans(vectors, 4, 7, num_starts=3, minibatch=minibatch)
    np.testing.assert_array_equal(again.labels_, found.labels_)


def test_assign_puts_every_vector_back_into_its_cluster():
    vectors, _ = blobs(spread=1.5)
    result = cluster(vectors, 5, seed=0, num_seeds=3)
    labels, distances, margins = assign(vectors, result.centres)
    np.testing.assert_array_equal(labels, result.labels)
    np.testing.assert_array_equal(distances, result.distances)
    np.testing.assert_array_equal(margins, result.margins)
    assert (margins >= 0).all()


def test_chunks_do_not_show(monkeypatch):
    vectors, _ = blobs(spread=1.5)
    whole = cluster(vectors, 5, seed=0, num_seeds=2)
    monkeypatch.setattr(kmeans, "CHUNK_ROWS", 7)
    pieces = cluster(vectors, 5, seed=0, num_seeds=2)
    np.testing.assert_array_equal(pieces.labels, whole.labels)
    np.testing.assert_allclose(pieces.distances, whole.distances, atol=1e-6)


def test_assign_refuses_vectors_of_another_space():
    with pytest.raises(ShapeError, match=r"vectors must have shape \(N, 6\), got \(3, 5\)"):
        assign(np.zeros((3, 5)), np.zeros((2, 6)))


def test_support_vectors_help_but_do_not_order_the_ids():
    vectors, truth = blobs(sizes=(40, 25, 20))
    support = vectors[truth == 2].repeat(5, axis=0) + np.float32(0.01)
    result = cluster(np.concatenate([vectors, support]), 3, seed=0, num_seeds=3, num_fit=len(vectors))
    assert len(result.labels) == len(vectors) + len(support)
    own = result.first(len(vectors))
    np.testing.assert_array_equal(own.labels, truth)
    assert own.inertia == pytest.approx((own.distances.astype(np.float64) ** 2).sum())
    assert len(own.margins) == len(own.distances) == len(vectors)
    together = cluster(np.concatenate([vectors, support]), 3, seed=0, num_seeds=3)
    assert (together.labels[: len(vectors)][truth == 2] == 0).all()


def test_a_cluster_of_support_vectors_only_comes_last():
    vectors, truth = blobs(sizes=(10, 40, 5))
    rows = np.argsort(truth == 1, kind="stable")
    result = cluster(vectors[rows], 3, seed=0, num_seeds=3, num_fit=15)
    assert (result.labels[15:] == 2).all()
    row = cluster_table(result.first(15), vectors[rows][:15])[2]
    assert row == {
        "cluster": 2,
        "size": 0,
        "mean_distance": None,
        "mean_cosine": None,
        "exemplars": [],
        "borderline": [],
    }


def test_over_clustering_merges_down_to_the_blobs():
    vectors, truth = blobs(sizes=(80, 50, 40, 20), spread=0.3)
    result = cluster(vectors, 4, seed=0, num_seeds=4, overcluster=15)
    np.testing.assert_array_equal(result.labels, truth)
    assert result.centres.shape == (4, 6)
    np.testing.assert_allclose(result.centres[2], vectors[truth == 2].mean(axis=0), atol=1e-5)
    assert result.agreement == pytest.approx(1)
    assert result.inertia > max(result.inertias)  # those of 15 clusters


@pytest.mark.parametrize("find", [cluster, consensus_cluster])
@pytest.mark.parametrize(
    ("num", "num_classes", "match"),
    [
        (5, 8, "5 masks, 5 of them different, cannot make 8 clusters. Set clusters.num_classes to at most 5, or add"),
        (9, 1, "num_classes must be at least 2, got 1"),
        (1, 2, "at least 2 masks, got 1"),
    ],
)
def test_impossible_numbers_are_refused(find, num, num_classes, match):
    vectors = blobs()[0][:num]
    with pytest.raises(ConfigError, match=match):
        find([vectors] if find is consensus_cluster else vectors, num_classes, seed=0)


def test_doubles_do_not_make_clusters():
    vectors = np.repeat(blobs()[0][:3], 4, axis=0)
    with pytest.raises(ConfigError, match="12 masks, 3 of them different, cannot make 4 clusters"):
        cluster(vectors, 4, seed=0)
    assert cluster(vectors, 3, seed=0, num_seeds=2).inertia == pytest.approx(0, abs=1e-6)


def test_over_clustering_out_of_range_names_its_own_setting():
    vectors = blobs()[0]
    with pytest.raises(ConfigError, match=r"overcluster must be 0 or at least num_classes \(4\), got 3"):
        cluster(vectors, 4, seed=0, overcluster=3)
    with pytest.raises(ConfigError, match="Set clusters.overcluster to at most 95"):
        cluster(vectors, 4, seed=0, overcluster=96)


def test_mean_agreement_by_hand():
    first, second = np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])
    third = np.array([0, 1, 0, 1])  # of 6 pairs: joined by either 2, by both 0, by chance 2 * 2 / 6
    by_chance = 2 * 2 / 6
    score = (0 - by_chance) / (2 - by_chance)
    assert mean_agreement([first, second, third]) == pytest.approx((1 + score + score) / 3)
    assert mean_agreement([first]) is None


def test_more_seeds_begin_with_the_fewer():
    assert draw_seeds(5, 7)[:3] == draw_seeds(5, 3)
    assert len(set(draw_seeds(5, 7) + draw_seeds(6, 7))) == 14


def test_margins_of_given_labels_may_be_negative():
    vectors = np.array([[0.0], [1], [10], [11], [2]])
    result = Clustering.from_labels(vectors, np.array([0, 0, 1, 1, 1]))
    np.testing.assert_allclose(result.centres, [[0.5], [23 / 3]], rtol=1e-6)
    assert result.margins[4] == pytest.approx(1.5 - (23 / 3 - 2))
    assert result.inertias == ()


def test_a_single_cluster_has_no_other():
    result = Clustering.from_labels(np.array([[0.0], [1]]), np.array([0, 0]))
    assert np.isposinf(result.margins).all()


def test_labels_that_do_not_fit_are_refused():
    vectors = blobs()[0][:4]
    with pytest.raises(ShapeError, match=r"labels must have shape \(4,\), got \(3,\)"):
        Clustering.from_labels(vectors, np.array([0, 1, 0]))
    for labels in ([0, 0, 2, 2], [-1, 0, 1, 1]):
        with pytest.raises(ConfigError, match="Cluster ids must be 0..K-1"):
            Clustering.from_labels(vectors, np.array(labels))


def test_ids_match_between_two_orders_of_the_same_vectors():
    vectors, _ = blobs(sizes=(50, 30, 20), spread=0.5)
    turned = np.random.default_rng(1).permutation(len(vectors))
    first = cluster(vectors, 3, seed=0, num_seeds=5).labels[turned]
    second = cluster(vectors[turned], 3, seed=0, num_seeds=5).labels
    counts = np.zeros((3, 3))
    np.add.at(counts, (first, second), 1)
    np.testing.assert_array_equal(linear_sum_assignment(-counts)[1], [0, 1, 2])
