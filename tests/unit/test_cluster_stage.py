import dataclasses
import shutil

import numpy as np
import pytest
from test_chain import draw_photo, draw_voc, redone, run_chain, tiny_config

from maskdistill.config import ClusterConfig
from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError, RunError
from maskdistill.stages.chain import Options, Plan
from maskdistill.stages.cluster import find_clusters, make_clusters, read_vectors, recluster
from maskdistill.store import Run, read_json

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


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    return draw_voc(folder / "voc"), tiny_config(folder)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory, scene):
    """A run up to the vectors of its masks."""
    path = tmp_path_factory.mktemp("clusters") / "run"
    run_chain(path, *scene, wanted=("embeddings",))
    return path


@pytest.fixture
def cluster_again(embedded, scene, tmp_path):
    """Copies the run, clusters it under changed settings, and returns the context."""
    shutil.copytree(embedded, tmp_path / "run")

    def work(*assignments):
        config = scene[1].with_overrides(list(assignments))
        plan = Plan(Run(tmp_path / "run"), open_source(str(scene[0])), config)
        context = plan.context("clusters", Options(num_workers=1, quiet=True))
        make_clusters(context)
        return context

    return work


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("clusters.method=kmeans", "clusters.num_seeds=3"),
        ("clusters.method=kmeans", "clusters.num_seeds=3", "clusters.overcluster=6"),
        ("clusters.minibatch_from=5",),
    ],
)
def test_clustering_again_by_the_same_seed_gives_the_same_clusters(cluster_again, changes):
    context = cluster_again(*changes)
    ids, vectors, clustering = recluster(context, context.config.seed)
    table = context.run.clusters()
    fitted = table[table["fitted"]]
    assert ids.tolist() == fitted["mask_id"].tolist()
    assert (clustering.labels + 1).tolist() == fitted["cluster"].tolist()
    np.testing.assert_array_equal(vectors, np.load(context.run.path / "embeddings.npy")[table["fitted"]])


def test_suggested_number_of_classes_is_recorded_with_its_curve(cluster_again):
    context = cluster_again("clusters.num_classes=0")
    record = read_json(context.run.path / "clusters.json")
    curve = record["num_classes_curve"]
    assert record["num_classes"] == curve["suggested"] == context.run.clusters()["cluster"].max()
    assert len(curve["values"]) == len(curve["agreement"]) == len(curve["silhouette"]) == len(curve["inertia"])


def test_photo_without_vectors_is_left_out(cluster_again, tmp_path):
    store = read_vectors(Run(tmp_path / "run"))
    store.path(2).unlink()
    table = cluster_again().run.clusters()
    assert set(table["mask_id"] // 10) == set(range(12)) - {2}
    assert len(np.load(tmp_path / "run" / "embeddings.npy")) == len(table)


def test_run_without_a_vector_is_told(cluster_again, tmp_path):
    shutil.rmtree(read_vectors(Run(tmp_path / "run")).folder)
    with pytest.raises(RunError, match="No mask of .*run has a vector"):
        cluster_again()


def test_vectors_that_do_not_fit_the_clusters_are_told(cluster_again):
    context = cluster_again()
    store = read_vectors(context.run)
    store.write(0, {name: values[:0] for name, values in store.read([0]).items()})
    with pytest.raises(RunError, match="do not fit its clusters. Run the clusters again"):
        recluster(context, 1)


class TestSupport:
    @pytest.fixture
    def work(self, embedded, scene, tmp_path):
        """Clusters a copy of the run with a second folder of six photos; returns what was redone."""
        photos = tmp_path / "more"
        photos.mkdir()
        for number in range(20, 26):
            draw_photo(number)[0].save(photos / f"{number}.png")
        shutil.copytree(embedded, tmp_path / "run")
        config = scene[1].with_overrides([f"clusters.support={photos}"])
        return lambda config=config: redone(run_chain(tmp_path / "run", scene[0], config, wanted=("clusters",)))

    def test_it_is_embedded_in_a_run_of_its_own(self, work, tmp_path):
        assert work() == ["clusters"]
        run = Run(tmp_path / "run")
        assert len(Run(run.path / "support").images()) == 6
        assert not Run(run.path / "support").clusters_path.exists()
        assert run.clusters()["mask_id"].tolist() == run.masks()["mask_id"].tolist()
        assert work() == []

    def test_further_photo_in_it_makes_new_clusters(self, work, tmp_path):
        work()
        draw_photo(26)[0].save(tmp_path / "more" / "26.png")
        assert work() == ["clusters"]

    def test_without_it_again_the_clusters_are_as_without_it(self, work, scene, tmp_path, cluster_alone):
        work()
        with_support = (tmp_path / "run" / "space.npz").read_bytes()
        assert with_support != cluster_alone
        assert work(scene[1]) == ["clusters"]
        assert (tmp_path / "run" / "space.npz").read_bytes() == cluster_alone

    @pytest.fixture
    def cluster_alone(self, embedded, scene, tmp_path):
        """space.npz of the run that never had a second folder."""
        shutil.copytree(embedded, tmp_path / "alone")
        run_chain(tmp_path / "alone", *scene, wanted=("clusters",))
        return (tmp_path / "alone" / "space.npz").read_bytes()
