"""Shares of masks in several clusterings, from the stage ``clusters`` to what the first model learns."""

import shutil

import numpy as np
import pytest
from tiny_run import contents_of, interrupt_stage, redone, run_chain

from maskdistill.datasets import open_source
from maskdistill.models.patch_head import SoftLabels
from maskdistill.review.decisions import Action, Mark, Scope, adopt, decide, exclude, gather, merge, read_classes, undo
from maskdistill.review.mask_table import read_mask_table
from maskdistill.stages import train
from maskdistill.stages.chain import Options
from maskdistill.stages.cluster import recluster
from maskdistill.stages.label import clustered_labels
from maskdistill.stages.plan import Plan, read_record
from maskdistill.stages.status import stage_states
from maskdistill.storage.read_files import DamagedFileError
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.shares import own_share, shares_of, shares_of_mask

SOFT = ("clusters.soft_runs=5", "clusters.num_rounds=2", "clusters.num_classes=4")  # few rounds, so that they differ


@pytest.fixture(scope="module")
def soft(tmp_path_factory, scene):
    """A run up to its classes, to look at only."""
    path = tmp_path_factory.mktemp("shares") / "run"
    run_chain(path, scene[0], scene[1].with_overrides(list(SOFT)), wanted=("classes",))
    return Run(path)


@pytest.fixture
def again(soft, scene, tmp_path):
    """Works on a copy."""
    shutil.copytree(soft.path, tmp_path / "again")

    def go_on(*assignments, wanted=("classes",)):
        config = scene[1].with_overrides([*SOFT, *assignments])
        return redone(run_chain(tmp_path / "again", scene[0], config, wanted=wanted))

    go_on.run = Run(tmp_path / "again")
    return go_on


def read_shares(run):
    return shares_of(run.clusters(), run.clusters_path)


def class_shares(run):
    """(N, C) in the order of clusters.parquet; zeros where a mask is in no class."""
    found = shares_of_mask(run)
    return np.stack([found.get(id, np.zeros(run.num_classes)) for id in run.clusters()["mask_id"].tolist()])


def mark_of(run, mask_id, action, cluster=None):
    row = run.masks().set_index("mask_id").loc[mask_id]
    return Mark(int(mask_id), row["image_id"], tuple(int(row[f"bbox_{name}"]) for name in "xywh"), action, cluster)


def undecided(run):
    """A mask that the clusterings part on, its cluster, and another one."""
    shares, table = read_shares(run), run.clusters()
    row = int(shares.max(axis=1).argmin())
    own = int(table["cluster"].iloc[row])
    assert shares[row].max() < 1, "the clusterings agree on every mask: the test needs others"
    return int(table["mask_id"].iloc[row]), own, own % 4 + 1


def test_each_mask_has_shares_that_are_fifths(soft):
    shares = read_shares(soft)
    assert shares.shape == (len(soft.clusters()), 4)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(shares * 5, np.round(shares * 5), atol=1e-5)
    assert (own_share(shares, soft.clusters()["cluster"].to_numpy()) >= 0.2 - 1e-6).all()  # the medoid is one of them
    assert (shares.max(axis=1) < 1).any()
    assert soft.classes().equals(soft.clusters())


def test_clusters_are_those_of_the_medoid_whatever_asks(soft, scene):
    config = scene[1].with_overrides(list(SOFT))
    context = Plan(soft, open_source(str(scene[0])), config).context("clusters", Options(num_workers=1, quiet=True))
    fitted = soft.clusters().query("fitted").set_index("mask_id")["cluster"].to_dict()
    assert recluster(context, [config.seed]) == {config.seed: fitted}


def test_interrupted_and_started_again_it_has_the_same_bytes(soft, scene, tmp_path, monkeypatch):
    config = scene[1].with_overrides(list(SOFT))
    shutil.copytree(soft.path, tmp_path / "run")
    for name in ("clusters.parquet", "clusters.json", "classes.parquet", "classes.json", "stages/clusters.json"):
        (tmp_path / "run" / name).unlink()
    interrupt_stage(monkeypatch, "clusters", 6)
    with pytest.raises(KeyboardInterrupt):
        run_chain(tmp_path / "run", scene[0], config, wanted=("classes",))
    run_chain(tmp_path / "run", scene[0], config, wanted=("classes",))
    found, wanted = contents_of(Run(tmp_path / "run")), contents_of(soft)
    assert {name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)} == set()


def test_turned_off_there_are_none_and_runs_of_before_the_setting_stay_as_they_are(again):
    assert again("clusters.soft_runs=0") == ["clusters", "classes"]
    assert "soft_runs" not in read_record(again.run, "clusters")["made_from"]["settings"]["clusters"]
    assert read_shares(again.run) is None
    assert shares_of_mask(again.run) == {}
    assert read_mask_table(again.run).frame["share"].isna().all()


def test_table_of_masks_says_how_many_agree(soft):
    frame = read_mask_table(soft).frame.set_index("mask_id")
    table = soft.clusters()
    wanted = own_share(read_shares(soft), table["cluster"].to_numpy())
    np.testing.assert_array_equal(frame.loc[table["mask_id"], "share"], wanted)


class TestStage1:
    @pytest.fixture
    def taught(self, monkeypatch):
        lessons = []
        monkeypatch.setattr(train, "_train", lambda lesson: lessons.append(lesson) or "")
        return lessons

    def test_learns_the_shares_of_each_mask(self, again, taught):
        again(wanted=("stage1",))
        (lesson,) = taught
        shares, clusters = shares_of_mask(again.run), again.run.class_of_mask()
        for number in lesson.numbers:
            found = lesson.soft_of(number)
            assert isinstance(found, SoftLabels)
            ids = [item["id"] for item in lesson.context.annotations[number]]
            np.testing.assert_array_equal(found.classes[0], [1, 0, 0, 0, 0])
            np.testing.assert_array_equal(found.classes[1:, 1:], [shares[id] for id in ids])
            assert not found.classes[1:, 0].any()
            of_region = np.array([0, *(clusters[id] for id in ids)])
            np.testing.assert_array_equal(of_region[found.regions], clustered_labels(lesson.context, number, clusters))

    def test_learns_whole_clusters_without_them(self, again, taught):
        again("clusters.soft_runs=0", wanted=("stage1",))
        assert taught[0].soft_of is None

    def test_other_shares_make_another_model(self, again):
        assert again(wanted=("stage1",)) == ["stage1"]
        weights = (again.run.path / "stage1" / "model.safetensors").read_bytes()
        mask_id, own, _ = undecided(again.run)
        training = again.run.clusters().query("fitted").set_index("mask_id")
        shares = shares_of_mask(again.run)
        torn = [id for id in training.index if shares[id].max() < 1]
        mask_id, own = torn[0], int(training.at[torn[0], "cluster"])
        decide(again.run, "ann", [mark_of(again.run, mask_id, Action.RELABEL, own)], scope=Scope.CLUSTERS)
        assert again(wanted=("stage1",)) == ["classes", "stage1"]
        assert (again.run.path / "stage1" / "model.safetensors").read_bytes() != weights


class TestPeople:
    def test_merged_clusters_add_up_and_undone_are_as_before(self, again, soft):
        before = read_shares(again.run)
        merge(again.run, "ann", [1, 3])
        assert again() == ["classes"]
        found = class_shares(again.run)
        np.testing.assert_allclose(found, before @ [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], atol=1e-6)
        undo(again.run, "ann", scope=Scope.CLUSTERS)
        again()
        assert again.run.classes().equals(soft.classes())

    def test_excluded_ones_drop(self, again):
        before = read_shares(again.run)
        mask_id, own, _ = undecided(again.run)
        row = again.run.clusters()["mask_id"].tolist().index(mask_id)
        other = int(np.flatnonzero((before[row] > 0) & (np.arange(1, 5) != own))[0]) + 1
        exclude(again.run, "ann", other, True)
        again()
        found = shares_of_mask(again.run)
        assert set(found) == set(again.run.clusters().query("cluster != @other")["mask_id"])
        wanted = before[row].copy()
        wanted[other - 1] = 0
        np.testing.assert_allclose(found[mask_id], wanted / wanted.sum(), atol=1e-6)

    def test_mask_given_a_class_is_wholly_there_its_own_too(self, again):
        mask_id, own, other = undecided(again.run)
        for cluster in (own, other):
            decide(again.run, "ann", [mark_of(again.run, mask_id, Action.RELABEL, cluster)], scope=Scope.CLUSTERS)
            assert again() == ["classes"]
            np.testing.assert_array_equal(shares_of_mask(again.run)[mask_id], np.eye(4)[cluster - 1])

    def test_accepted_mask_keeps_its_shares_and_nothing_is_stale(self, again):
        mask_id, _, _ = undecided(again.run)
        decide(again.run, "ann", [mark_of(again.run, mask_id, Action.ACCEPT)], scope=Scope.CLUSTERS)
        assert again() == []

    def test_gathered_masks_are_wholly_in_their_new_class(self, again):
        before = read_shares(again.run)
        mask_id, _, _ = undecided(again.run)
        gather(again.run, "ann", [mask_id], "odd ones")
        again()
        found = class_shares(again.run)
        row = again.run.clusters()["mask_id"].tolist().index(mask_id)
        np.testing.assert_array_equal(found[row], [0, 0, 0, 0, 1])
        others = np.arange(len(found)) != row
        np.testing.assert_allclose(found[others, :4], before[others], atol=1e-6)

    def test_clustering_that_people_took_over_has_none(self, again):
        table = again.run.clusters()
        adopt(again.run, "ann", table["mask_id"], table["cluster"], 4, 0)
        again()
        assert read_classes(again.run).shares is None
        assert shares_of_mask(again.run) == {}


class TestDamage:
    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda table: table.drop(columns="share_2"), "no share_2"),
            (lambda table: table.assign(share_1=0.7, share_2=0.7), "do not sum to 1"),
            (lambda table: table.assign(share_3=np.nan), "do not sum to 1"),
            (lambda table: table.drop(columns="share_4").assign(share_1=1.0, share_2=0.0, share_3=0.0), "in 3 classes"),
        ],
    )
    def test_is_told_and_mended(self, again, soft, change, why):
        write_table(again.run.clusters_path, change(again.run.clusters()))
        states = {item.name: item for item in stage_states(again.run)}
        assert why in states["clusters"].why
        again()
        assert again.run.clusters().equals(soft.clusters())

    def test_names_the_file_where_it_is_read(self, again):
        write_table(again.run.clusters_path, again.run.clusters().assign(share_1=2.0))
        with pytest.raises(DamagedFileError, match=r"clusters\.parquet is damaged"):
            read_classes(again.run)
