import numpy as np
import pytest
from blobs import blobs

from maskdistill.clustering.cluster_summary import cluster_table, split_parts
from maskdistill.clustering.kmeans import cluster
from maskdistill.errors import ConfigError, ShapeError


def test_parts_of_a_cluster_are_its_blobs_largest_first():
    vectors, truth = blobs(sizes=(40, 25, 10))
    parts = split_parts(vectors, seed=0, into=3)
    assert [len(part) for part in parts] == [40, 25, 10]
    for part in parts:
        assert len(set(truth[part])) == 1
    again = split_parts(vectors, seed=0, into=3)
    assert [part.tolist() for part in parts] == [part.tolist() for part in again]


@pytest.mark.parametrize("into", [1, 11])
def test_a_split_into_more_parts_than_masks_is_refused(into):
    vectors, truth = blobs()
    with pytest.raises(ConfigError, match=f"can be split into 2 to 10 parts.*got {into}"):
        split_parts(vectors[truth == 3], seed=0, into=into)


def test_masks_that_are_all_alike_are_no_parts():
    with pytest.raises(ConfigError, match="all alike.*cannot be split"):
        split_parts(np.ones((5, 3), np.float32), seed=0, into=2)


def test_the_table_equals_a_slow_loop():
    vectors, _ = blobs(spread=1.2)
    result = cluster(vectors, 4, seed=0, num_seeds=3)
    table = cluster_table(result, vectors)
    assert [row["cluster"] for row in table] == [0, 1, 2, 3]
    assert [row["size"] for row in table] == sorted((row["size"] for row in table), reverse=True)
    for row in table:
        members = [spot for spot in range(len(vectors)) if result.labels[spot] == row["cluster"]]
        centre = result.centres[row["cluster"]]
        cosines = [vectors[spot] @ centre / np.linalg.norm(vectors[spot]) / np.linalg.norm(centre) for spot in members]
        assert row["size"] == len(members)
        assert row["mean_cosine"] == pytest.approx(np.mean(cosines), abs=1e-5)
        assert row["mean_distance"] == pytest.approx(np.mean([result.distances[spot] for spot in members]), abs=1e-5)
        assert row["exemplars"] == sorted(members, key=lambda spot: result.distances[spot])[:12]
        assert row["borderline"] == sorted(members, key=lambda spot: result.margins[spot])[:12]


def test_the_table_refuses_other_vectors():
    vectors, _ = blobs()
    result = cluster(vectors, 4, seed=0, num_seeds=2)
    with pytest.raises(ShapeError, match=r"vectors must have shape \(95, 6\), got \(94, 6\)"):
        cluster_table(result, vectors[:-1])
