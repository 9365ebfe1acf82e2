"""Clusters of the masks, made again by the same seed, and with a second folder of photos."""

import shutil

import numpy as np
import pytest
from tiny_run import CLASSES, NUM_PHOTOS, NUM_TRAIN, draw_photo, redone, run_chain

from maskdistill.clustering.embedding_candidates import candidate_embeddings
from maskdistill.clustering.embedding_space import EmbeddingSpace
from maskdistill.clustering.stored_vectors import read_vectors
from maskdistill.datasets import open_source
from maskdistill.errors import RunError
from maskdistill.files import write_json
from maskdistill.stages.chain import Options
from maskdistill.stages.cluster import make_clusters, recluster
from maskdistill.stages.plan import Plan
from maskdistill.storage.photo_arrays import VectorStore
from maskdistill.storage.progress import read_progress_file
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run


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


def fitted_clusters(run):
    """Mask id -> cluster of the masks of the training photos."""
    table = run.clusters()
    return table[table["fitted"]].set_index("mask_id")["cluster"].to_dict()


class TestClusters:
    """What a whole run has of them."""

    def test_table(self, run):
        table = run.clusters()
        assert list(table) == ["mask_id", "cluster", "distance", "margin", "fitted"]
        assert table["mask_id"].tolist() == run.masks()["mask_id"].tolist()
        assert set(table["cluster"]) <= set(range(1, len(CLASSES) + 1))
        assert set(table.loc[table["fitted"], "cluster"]) == set(range(1, len(CLASSES) + 1))
        assert (table["distance"] >= 0).all()

    def test_fitted_are_the_masks_of_the_training_photos(self, run):
        table = run.clusters()
        assert table["fitted"].tolist() == (table["mask_id"] // MASKS_PER_PHOTO < NUM_TRAIN).tolist()

    def test_distances_and_vectors_belong_to_the_centres(self, run):
        table, vectors = run.clusters(), np.load(run.path / "embeddings.npy")
        arrays = np.load(run.path / "space.npz")
        centres = arrays["centres"]
        assert vectors.shape == (len(table), centres.shape[1])
        for row, vector in zip(table.itertuples(), vectors, strict=True):
            distances = [float(np.linalg.norm(vector - centre)) for centre in centres]
            assert row.distance == pytest.approx(distances[row.cluster - 1], abs=1e-5)
            others = distances[: row.cluster - 1] + distances[row.cluster :]
            assert row.margin == pytest.approx(min(others) - row.distance, abs=1e-5)
            if not row.fitted:
                assert row.margin >= 0

    def test_space_gives_the_vectors_again(self, run):
        record = read_json(run.path / "clusters.json")
        store = VectorStore(run.path / "features" / read_json(run.path / "embeddings.json")["folder"])
        raw = candidate_embeddings(store.read(range(NUM_PHOTOS)))[record["embedding"]]
        space = EmbeddingSpace.from_arrays(np.load(run.path / "space.npz"))
        np.testing.assert_array_equal(space.transform(raw), np.load(run.path / "embeddings.npy"))

    def test_summary(self, run):
        record, table = read_json(run.path / "clusters.json"), run.clusters()
        assert (record["num_classes"], record["dimensions"], record["num_classes_curve"]) == (len(CLASSES), 4, None)
        assert record["embedding"] in {row["name"] for row in record["embeddings"]}
        fitted = table[table["fitted"]]
        for row in record["clusters"]:
            members = fitted.loc[fitted["cluster"] == row["cluster"], "mask_id"]
            assert row["size"] == len(members)
            assert set(row["exemplars"]) | set(row["borderline"]) <= set(members)


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
    found = recluster(context, [7, context.config.seed])
    assert list(found) == [7, context.config.seed]
    assert found[7].keys() == found[context.config.seed].keys()
    assert found[context.config.seed] == fitted_clusters(context.run)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [((), 3), (("clusters.dimensions=0",), 18), (("clusters.embedding=CLS 2", "clusters.dimensions=-1"), 1)],
)
def test_progress_counts_the_embeddings_that_are_tried(cluster_again, changes, wanted):
    """It went by all embeddings in all dimensions, and so ended early where the settings name one."""
    progress = read_progress_file(cluster_again(*changes).run.progress_path)
    assert (progress.stage, progress.state) == ("clusters", "done")
    assert (progress.done, progress.total) == (wanted, wanted)


def test_suggested_number_of_classes_is_recorded_with_its_curve(cluster_again):
    context = cluster_again("clusters.num_classes=0")
    record = read_json(context.run.path / "clusters.json")
    curve = record["num_classes_curve"]
    assert record["num_classes"] == curve["suggested"] == context.run.clusters()["cluster"].max()
    assert len(curve["values"]) == len(curve["agreement"]) == len(curve["silhouette"]) == len(curve["inertia"])


def test_clusters_made_of_first_masks_take_the_others_in(cluster_again):
    everything = cluster_again().run.clusters()
    context = cluster_again("clusters.fit_to=first")
    table = context.run.clusters()
    first = {items[0]["id"] for items in context.annotations.values()}
    assert set(table.loc[table["fitted"], "mask_id"]) == first & set(everything.loc[everything["fitted"], "mask_id"])
    assert table["mask_id"].equals(everything["mask_id"])
    assert table["fitted"].sum() < everything["fitted"].sum()
    assert table["cluster"].between(1, 3).all()


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


def test_vectors_that_do_not_fit_the_masks_are_told(cluster_again, tmp_path):
    store = read_vectors(Run(tmp_path / "run"))
    store.write(0, {name: values[:0] for name, values in store.read([0]).items()})
    with pytest.raises(RunError, match=r"000000\.npz is damaged .*maskdistill embed"):
        cluster_again()


def test_clusters_of_other_masks_than_there_are_now_are_told(cluster_again):
    context = cluster_again()
    read_vectors(context.run).path(2).unlink()
    with pytest.raises(RunError, match=r"clusters\.parquet is damaged .*maskdistill cluster"):
        recluster(context, [1])


def test_second_folder_without_a_mask_changes_nothing(cluster_again, tmp_path):
    alone = fitted_clusters(cluster_again().run)
    (tmp_path / "run" / "support").mkdir()
    write_json(tmp_path / "run" / "support" / "embeddings.json", {"folder": "masks-0", "errors": {}})
    assert fitted_clusters(cluster_again("clusters.support=elsewhere").run) == alone


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

        def work(config=config):
            return redone(run_chain(tmp_path / "run", scene[0], config, wanted=("clusters",)))

        work.config = config
        return work

    def test_it_is_embedded_in_a_run_of_its_own(self, work, tmp_path):
        assert work() == ["clusters"]
        run = Run(tmp_path / "run")
        assert len(Run(run.path / "support").images()) == 6
        assert not Run(run.path / "support").clusters_path.exists()
        assert run.clusters()["mask_id"].tolist() == run.masks()["mask_id"].tolist()
        assert work() == []

    @pytest.mark.parametrize("changes", [(), ("clusters.method=kmeans", "clusters.num_seeds=3")])
    def test_clustering_again_uses_it_too(self, work, scene, tmp_path, changes):
        """The seeds of the report were clustered without it: other clusters than those that were trained on."""
        config = work.config.with_overrides(["clusters.num_classes=5", *changes])
        work(config)
        run = Run(tmp_path / "run")
        context = Plan(run, open_source(str(scene[0])), config).context("evaluation", Options(quiet=True))
        assert recluster(context, [config.seed])[config.seed] == fitted_clusters(run)

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
