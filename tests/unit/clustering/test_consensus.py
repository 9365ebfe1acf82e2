import numpy as np
from blobs import blobs

from maskdistill.clustering import consensus
from maskdistill.clustering.consensus import consensus_cluster
from maskdistill.clustering.kmeans import fit_kmeans


def test_consensus_finds_the_blobs():
    vectors, truth = blobs(sizes=(60, 40, 30, 20))
    result = consensus_cluster([vectors], 4, seed=0, num_rounds=10)
    np.testing.assert_array_equal(result.labels, truth)
    assert 0.3 < result.agreement < 1  # the rounds cut some blobs in pieces
    np.testing.assert_allclose(result.centres[1], vectors[truth == 1].mean(axis=0), atol=1e-5)


def test_the_spectral_rows_are_eigenvectors_of_the_co_association_matrix():
    vectors, _ = blobs(sizes=(12, 10, 8), spread=1.5)
    rounds = [fit_kmeans(vectors, 3 + number % 3, number).labels_ for number in range(6)]
    together = np.zeros((30, 30))
    for labels in rounds:
        for one in range(30):
            for other in range(30):
                together[one, other] += labels[one] == labels[other]
    root = 1 / np.sqrt(together.sum(axis=1))
    vectors = np.linalg.eigh(root[:, None] * together * root)[1][:, -3:]
    expected = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    rows = consensus._spectral_rows(rounds, 3, 0)
    np.testing.assert_allclose(rows @ rows.T, expected @ expected.T, atol=1e-4)  # whatever the rotation


def test_consensus_is_the_same_for_the_same_seed():
    vectors, _ = blobs(sizes=(30,) * 6, spread=1.5)
    first = consensus_cluster([vectors], 6, seed=1, num_rounds=8)
    np.testing.assert_array_equal(first.labels, consensus_cluster([vectors], 6, seed=1, num_rounds=8).labels)
    assert set(first.labels.tolist()) == set(range(6))


def test_many_vectors_are_split_by_as_many_as_can_be_held(monkeypatch):
    vectors, truth = blobs(sizes=(120, 80, 60, 40))
    exact = consensus_cluster([vectors], 4, seed=0, num_rounds=10)
    monkeypatch.setattr(consensus, "MOST_FITTED", 150)
    monkeypatch.setattr(consensus, "CHUNK_ROWS", 64)
    result = consensus_cluster([vectors], 4, seed=0, num_rounds=10)
    np.testing.assert_array_equal(result.labels, truth)
    np.testing.assert_allclose(result.agreement, exact.agreement)


def test_vectors_are_placed_by_others_as_they_would_place_themselves(monkeypatch):
    vectors, _ = blobs(sizes=(90, 80, 70), spread=1.5)
    rounds = [fit_kmeans(vectors, 3 + number % 3, number).labels_ for number in range(6)]
    exact = consensus._spectral_rows(rounds, 3, 0)
    monkeypatch.setattr(consensus, "MOST_FITTED", 160)
    placed = consensus._spectral_rows(rounds, 3, 0)
    alike = (exact @ exact.T - placed @ placed.T).ravel()  # whatever the rotation
    assert np.abs(alike).mean() < 0.05
