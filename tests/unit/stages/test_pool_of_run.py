"""The candidates of a run's photos: stored by the stage ``proposals``, chosen from by the stage ``foreground``."""

import shutil

import numpy as np
import pytest
from tiny_run import assert_same_artifacts, contents_of, interrupt_stage, redone, run_chain

from maskdistill.config import RunConfig
from maskdistill.datasets import open_source
from maskdistill.features.registry import choose_backbone
from maskdistill.proposals.pool import Pool
from maskdistill.stages import shards
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.foreground import as_cut
from maskdistill.stages.mask_inputs import describe_inputs
from maskdistill.storage.photo_arrays import PoolStore
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run

CHANGES = (
    *("proposals.num_objects=auto", "proposals.tau=0.9", "proposals.pool_share=0.05"),
    *("foreground.enabled=true", "foreground.folds=2", "foreground.steps=20", "foreground.dimensions=8"),
)


@pytest.fixture(scope="module")
def settings(scene):
    return scene[1].with_overrides(CHANGES)


@pytest.fixture(scope="module")
def made(tmp_path_factory, scene, settings):
    """A run with a pool, to look at only."""
    path = tmp_path_factory.mktemp("pool") / "run"
    run_chain(path, scene[0], settings, wanted=("foreground",))
    return Run(path)


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made.path, tmp_path / "run")
    return Run(tmp_path / "run")


def annotations(path):
    found = {}
    for item in read_json(path)["annotations"]:
        found.setdefault(item["image_id"], []).append(item)
    return found


def without_parts(run):
    return {name: content for name, content in contents_of(run).items() if not name.startswith("parts/")}


def test_every_photo_has_its_candidates(made):
    store = PoolStore(made.pool)
    for number in range(len(made.images())):
        pools = [Pool.from_arrays(arrays) for arrays in store.read(number)]
        assert len(pools) == 2
        assert all(np.isfinite(pool.agreement).all() for pool in pools)


def test_cut_comes_first_and_is_never_replaced_without_the_foreground(made):
    for items in annotations(made.proposals_path).values():
        assert [item["id"] % MASKS_PER_PHOTO for item in items] == list(range(len(items)))
        assert [item["pool"] < 0 for item in items] == [True] + [False] * (len(items) - 1)
        assert as_cut(items) == items[:1]
        scores = [item["score"] for item in items]
        assert scores == sorted(scores, reverse=True)


def test_masks_after_the_foreground_name_their_candidate(made):
    known = {item["id"]: item["pool"] for items in annotations(made.proposals_path).values() for item in items}
    found = annotations(made.codes_path)
    assert any(item["pool"] >= 0 for items in found.values() for item in items)
    for items in found.values():
        assert len(items) <= MASKS_PER_PHOTO
        for item in items:
            assert set(item["parts"]) >= {"pool_inside", "pool_edge"} or item["pool"] < 0
            assert item["cut_id"] < 0 or known[item["cut_id"]] == item["pool"]
    table = made.masks()
    assert set(table["pool"]) == {item["pool"] for items in found.values() for item in items}


@pytest.mark.parametrize("stage", ["proposals", "foreground"])
def test_interrupted_stage_ends_with_the_same_files(made, scene, settings, tmp_path, monkeypatch, stage):
    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 4)
    interrupt_stage(monkeypatch, stage, 7)
    with pytest.raises(KeyboardInterrupt):
        run_chain(tmp_path / "run", scene[0], settings, wanted=("foreground",))
    run_chain(tmp_path / "run", scene[0], settings, wanted=("foreground",))
    assert without_parts(Run(tmp_path / "run")) == without_parts(made)


def test_shards_make_the_same_files(made, scene, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 4)
    path = tmp_path / "run"
    for index in (1, 2):
        how = Options(shard=shards.Shard(index, 2), num_workers=1, quiet=True)
        run_stages(Run(path), str(scene[0]), settings, wanted=("proposals",), options=how)
    run_chain(path, scene[0], settings, wanted=("foreground",))
    assert without_parts(Run(path)) == without_parts(made)


@pytest.mark.parametrize("damage", ["deleted", "cut off"])
def test_candidates_of_a_photo_are_made_again_the_same(copy, made, scene, settings, damage):
    path = PoolStore(copy.pool).path(3)
    content = path.read_bytes()
    path.unlink() if damage == "deleted" else path.write_bytes(content[: len(content) // 2])
    assert redone(run_chain(copy.path, scene[0], settings, wanted=("foreground",))) == ["foreground"]
    assert_same_artifacts(copy, made)


def test_pool_that_was_given_up_is_made_again_when_it_is_wanted(copy, made, scene, settings):
    shutil.rmtree(copy.pool)
    assert redone(run_chain(copy.path, scene[0], settings, wanted=("foreground",))) == []
    changed = settings.with_overrides(["seed=1"])
    run_chain(copy.path, scene[0], changed, wanted=("foreground",))
    run_chain(copy.path, scene[0], settings, wanted=("foreground",))
    found, wanted = contents_of(copy), contents_of(made)
    names = [name for name in wanted if name.startswith(("pool/", "foreground/"))]
    assert len(names) > len(made.images())
    assert [name for name in names if found[name] != wanted[name]] == []


@pytest.mark.parametrize("change", ["proposals.pool_keep=1", "proposals.pool_share=0.5"])
def test_other_choice_takes_no_new_candidates(copy, made, scene, settings, change):
    changed = settings.with_overrides([change])
    assert redone(run_chain(copy.path, scene[0], changed, wanted=("foreground",))) == ["foreground"]
    assert redone(run_chain(copy.path, scene[0], settings, wanted=("foreground",))) == ["foreground"]
    assert read_json(copy.codes_path)["annotations"] == read_json(made.codes_path)["annotations"]


def test_without_a_pool_a_photo_has_one_mask(scene, settings, tmp_path):
    run_chain(tmp_path / "run", scene[0], settings.with_overrides(["proposals.pool=off"]), wanted=("foreground",))
    run = Run(tmp_path / "run")
    assert not (run.path / "pool").exists()
    assert run.masks().groupby("image_id").size().max() == 1
    assert "pool" not in run.masks()


def test_runs_of_earlier_versions_are_not_stale(scene, settings):
    """What they were made from knew no pool."""
    config = settings.with_overrides(["proposals.num_objects=1"])
    choice = choose_backbone(config.features.backbone, config.features.architecture)
    made_from = describe_inputs(open_source(str(scene[0])), config, choice)
    assert not [name for name in made_from["proposals"] if name.startswith("pool")]
    again = RunConfig.from_dict({**config.to_dict(), "proposals": made_from["proposals"]})
    assert describe_inputs(open_source(str(scene[0])), again, choice) == made_from
