import dataclasses

import numpy as np
import pytest

from maskdistill.clustering.find_clusters import find_clusters
from maskdistill.config import ClusterConfig
from maskdistill.errors import ConfigError

QUICK = ClusterConfig(num_classes=3, num_rounds=6, num_spaces=2, num_seeds=3, dimensions=4)


def blobs(num_blobs, num_each, seed=0, dimensions=12):
    """(N, D) float32 vectors around so many far centres, and which centre each is of."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(7).standard_normal((num_blobs, dimensions)) * 4
    of = np.repeat(np.arange(num_blobs), num_each)
    return (centres[of] + generator.standard_normal((len(of), dimensions)) * 0.3).astype(np.float32), of


def same_partition(one, other):
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))


@pytest.fixture
def candidates():
    """Two embeddings of the same 36 masks: one that tells three kinds apart, and noise."""
    noise = np.random.default_rng(5).standard_normal((36, 9)).astype(np.float32)
    return {"noise": noise, "kinds": blobs(3, 12)[0]}


class TestFindClusters:
    @pytest.mark.parametrize("method", ["consensus", "kmeans"])
    def test_groups_are_found_by_an_embedding_that_shows_them(self, candidates, method):
        config = dataclasses.replace(QUICK, method=method, embedding="kinds")
        found = find_clusters(candidates, config, seed=0)
        assert same_partition(found.clustering.labels.tolist(), blobs(3, 12)[1].tolist())
        assert (found.choice.name, found.space.dimensions, found.curve) == ("kinds", 4, None)

    def test_choice_without_labels_prefers_the_groups_to_noise(self, candidates):
        steps = []
        found = find_clusters(candidates, QUICK, 0, on_step=lambda *step: steps.append(step))
        assert found.choice.name == "kinds"
        assert steps == [(1, 2), (2, 2)]

    def test_number_of_groups_is_suggested(self):
        vectors, of = blobs(5, 8)
        config = dataclasses.replace(QUICK, num_classes=0, method="kmeans")
        found = find_clusters({"kinds": vectors}, config, seed=0)
        assert found.curve.suggested == found.clustering.num_classes == 5
        assert same_partition(found.clustering.labels.tolist(), of.tolist())

    @pytest.mark.parametrize("method", ["consensus", "kmeans"])
    def test_support_helps_but_is_not_in_the_result(self, candidates, method):
        config = dataclasses.replace(QUICK, method=method, embedding="kinds")
        support = {"kinds": blobs(3, 30, seed=2)[0]}
        found = find_clusters(candidates, config, 0, support)
        assert found.clustering.labels.shape == found.clustering.distances.shape == (36,)
        alone = find_clusters(candidates, config, 0)
        assert not np.allclose(found.space.mean, alone.space.mean)
        assert same_partition(found.clustering.labels.tolist(), blobs(3, 12)[1].tolist())

    def test_without_pca(self, candidates):
        found = find_clusters(candidates, dataclasses.replace(QUICK, dimensions=-1, embedding="kinds"), 0)
        assert found.space.components is None
        assert found.space.dimensions == 12

    def test_same_seed_same_clusters_and_another_seed_another_consensus(self, candidates):
        noise = {"noise": candidates["noise"]}
        one, two, other = (find_clusters(noise, QUICK, seed).clustering for seed in (0, 0, 1))
        np.testing.assert_array_equal(one.labels, two.labels)
        assert one.agreement == two.agreement != other.agreement

    def test_unknown_embedding(self, candidates):
        with pytest.raises(ConfigError, match=r"No embedding 'CLS 9'. There are: auto, noise, kinds"):
            find_clusters(candidates, dataclasses.replace(QUICK, embedding="CLS 9"), 0)

    def test_more_clusters_than_masks(self, candidates):
        with pytest.raises(ConfigError, match="40"):
            find_clusters(candidates, dataclasses.replace(QUICK, num_classes=40), 0)
