"""The stage ``foreground``: masks after what is learnt across photos, and which masks count when."""

import shutil

import numpy as np
import pytest
from tiny_run import NUM_TRAIN, NUM_VAL, assert_same_artifacts, contents_of, interrupt_stage, redone, run_chain

from maskdistill.datasets import open_source
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.region_metrics import best_iou
from maskdistill.masks import decode_mask
from maskdistill.stages import foreground, shards
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.plan import Plan
from maskdistill.stages.soundness import find_damage
from maskdistill.stages.status import stage_states
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.photo_arrays import ArrayStore
from maskdistill.storage.read_files import read_json, read_table
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import photos_of

ON = ("foreground.enabled=true", "foreground.folds=2", "foreground.steps=20", "foreground.dimensions=8")


@pytest.fixture(scope="module")
def settings(scene):
    return scene[1].with_overrides(ON)


@pytest.fixture(scope="module")
def made(tmp_path_factory, scene, settings):
    """A run with its foreground, to look at only, and what its stages said."""
    path = tmp_path_factory.mktemp("foreground") / "run"
    said = run_chain(path, scene[0], settings, wanted=("embeddings",))
    return Run(path), said


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made[0].path, tmp_path / "run")
    return Run(tmp_path / "run")


def test_maps_and_masks_of_every_photo(made):
    run, _ = made
    maps = ArrayStore(run.foreground.maps_path)
    for number in range(NUM_TRAIN + NUM_VAL):
        values = maps.read(number)
        assert values.shape[2] == 1
        assert ((values >= 0) & (values <= 1)).all()
    table = run.masks()
    assert run.mask_stage == "foreground"
    assert table["part_foreground"].between(0, 1).all()
    assert set(table["mask_id"]) == set(MaskCodes.open(run).ids)
    record = read_json(run.foreground.record_path)
    assert record["used"]
    assert record["recut"] == table["recut"].sum()
    for _, rows in table.groupby("image_id"):
        assert rows["score"].is_monotonic_decreasing
        assert rows["rank"].tolist() == list(range(len(rows)))


def test_proposals_stay_as_they_were_cut(made, scene, tmp_path):
    run, _ = made
    plain = Run(tmp_path / "plain")
    run_chain(plain.path, *scene, wanted=("proposals",))
    for name in ("proposals.json", "masks.parquet", "images.parquet"):
        assert (run.path / name).read_bytes() == (plain.path / name).read_bytes()


def test_what_follows_reads_the_masks_that_count(made):
    run, _ = made
    cut, after = read_table(run.cut_masks_path), run.masks()
    assert not np.allclose(cut["score"], after["score"].reindex(cut.index))
    annotations = read_json(run.codes_path)["annotations"]
    codes = MaskCodes.open(run)
    for item in annotations:
        np.testing.assert_array_equal(codes.decode(item["id"]), decode_mask(item["segmentation"]))
    for mask_id in after["mask_id"]:
        assert run.thumbnail(mask_id).is_file()


@pytest.mark.parametrize("seen", [1, 30, 52, 58])
def test_interrupted_stage_ends_with_the_same_files(made, scene, settings, tmp_path, monkeypatch, seen):
    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 4)
    path = tmp_path / "run"
    interrupt_stage(monkeypatch, "foreground", seen)
    with pytest.raises(KeyboardInterrupt):
        run_chain(path, scene[0], settings, wanted=("embeddings",))
    assert Run(path).mask_stage == "proposals"
    run_chain(path, scene[0], settings, wanted=("embeddings",))
    shutil.rmtree(path / "parts")
    expected = {name: content for name, content in contents_of(made[0]).items() if not name.startswith("parts/")}
    assert contents_of(Run(path)) == expected


@pytest.mark.slow
@pytest.mark.usefixtures("processes_know_the_tiny_transformer")
def test_two_workers_make_the_same_files(made, scene, settings, tmp_path):
    path = tmp_path / "run"
    how = Options(num_workers=2, quiet=True)
    run_stages(Run(path), str(scene[0]), settings, wanted=("embeddings",), options=how)
    assert_same_artifacts(Run(path), made[0])


def test_no_label_reaches_it(made, scene, settings, tmp_path):
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    shutil.rmtree(data / "SegmentationClass")
    (data / "SegmentationClass").mkdir()
    run_chain(tmp_path / "run", data, settings, wanted=("foreground",))
    run = Run(tmp_path / "run")
    found, wanted = contents_of(run), contents_of(made[0])
    assert read_json(run.codes_path)["annotations"] == read_json(made[0].codes_path)["annotations"]
    names = [name for name in wanted if name.startswith("foreground/") and name != "foreground/masks.json"]
    assert names
    assert [name for name in names if found[name] != wanted[name]] == []


def test_photos_outside_of_the_train_split_teach_nothing(made, scene, settings, tmp_path):
    """Heads must be those of the train split alone."""
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    (data / "ImageSets/Segmentation/val.txt").write_text("08\n09")
    run_chain(tmp_path / "run", data, settings, wanted=("foreground",))
    assert Run(tmp_path / "run").foreground.heads_path.read_bytes() == made[0].foreground.heads_path.read_bytes()


class TestSwitchedOff:
    def test_it_says_so_and_masks_stay_as_cut(self, scene, tmp_path):
        said = run_chain(tmp_path / "run", *scene, wanted=("embeddings",))
        run = Run(tmp_path / "run")
        assert said["foreground"].startswith("Not used")
        assert (run.mask_stage, run.masks_path) == ("proposals", run.cut_masks_path)
        assert not run.foreground.path.exists()

    def test_runs_made_before_are_not_stale(self, finished, scene):
        """Their records know nothing of the stage, and their settings lack its section."""
        run, _ = finished
        embeddings = read_json(run.stage_path("embeddings"))["made_from"]
        assert list(embeddings["from"]) == ["proposals"]
        plan = Plan(run, open_source(str(scene[0])), scene[1].with_overrides(["foreground.steps=7", "seed=0"]))
        assert plan.is_done("embeddings")
        assert plan.is_done("foreground")

    def test_on_and_off_again_gives_the_files_of_before(self, copy, made, scene, settings):
        assert redone(run_chain(copy.path, *scene, wanted=("embeddings",))) == ["foreground", "embeddings"]
        assert copy.mask_stage == "proposals"
        assert redone(run_chain(copy.path, scene[0], settings, wanted=("embeddings",))) == ["foreground", "embeddings"]
        for name in ("foreground/masks.json", "foreground/masks.parquet", "foreground/heads.npz"):
            assert (copy.path / name).read_bytes() == (made[0].path / name).read_bytes()

    def test_turning_it_on_makes_what_follows_stale(self, scene, settings, finished):
        plan = Plan(finished[0], open_source(str(scene[0])), settings)
        assert plan.is_done("proposals")
        assert not any(plan.is_done(name) for name in ("foreground", "embeddings", "clusters"))


def test_too_few_photos_are_left_out_with_a_reason(scene, settings, tmp_path):
    said = run_chain(tmp_path / "run", scene[0], settings, wanted=("embeddings",), limit=5)
    assert said["foreground"].startswith("Left out")
    run = Run(tmp_path / "run")
    assert run.mask_stage == "proposals"
    state = {item.name: item for item in stage_states(run)}["foreground"]
    assert (state.state, state.summary.startswith("Left out")) == ("done", True)


def test_new_proposals_drop_the_masks_made_from_the_old(copy, scene, settings, monkeypatch):
    """Between the two no page may show masks of one kind with the clusters or boxes of the other."""
    changed = settings.with_overrides(["proposals.tau=0.9"])
    run_chain(copy.path, scene[0], changed, wanted=("proposals",))
    assert copy.mask_stage == "proposals"
    assert not copy.foreground.masks_path.exists()
    said = run_chain(copy.path, scene[0], changed, wanted=("embeddings",))
    assert redone(said) == ["foreground", "embeddings"]
    assert copy.mask_stage == "foreground"


@pytest.mark.parametrize("name", ["foreground.json", "foreground/masks.parquet", "foreground/heads.npz"])
@pytest.mark.parametrize("damage", ["deleted", "cut off"])
def test_damaged_file_is_made_again_the_same(copy, made, scene, settings, name, damage):
    path = copy.path / name
    content = path.read_bytes()
    path.unlink() if damage == "deleted" else path.write_bytes(content[: len(content) // 2])
    assert find_damage(copy, "foreground") is not None
    assert redone(run_chain(copy.path, scene[0], settings, wanted=("embeddings",))) == ["foreground"]
    assert_same_artifacts(copy, made[0])


def test_damaged_map_is_made_again(copy, made, scene, settings):
    path = ArrayStore(copy.foreground.maps_path).path(3)
    path.write_bytes(b"no array")
    assert redone(run_chain(copy.path, scene[0], settings, wanted=("embeddings",))) == ["foreground"]
    assert_same_artifacts(copy, made[0])


def test_photo_that_cannot_be_judged_keeps_its_mask(copy, made, scene, settings, monkeypatch):
    from maskdistill.proposals.foreground import ForegroundHeads

    judge = ForegroundHeads.probability
    calls = []

    def failing(self, vectors, fold=None):
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("odd photo")
        return judge(self, vectors, fold)

    monkeypatch.setattr(ForegroundHeads, "probability", failing)
    copy.stage_path("foreground").unlink()
    said = run_chain(copy.path, scene[0], settings, wanted=("foreground",))
    assert "1 photos could not be judged" in said["foreground"]
    cut, after = MaskCodes.open(copy, "proposals"), MaskCodes.open(copy)
    assert set(cut.ids) <= set(after.ids)
    table = copy.masks()
    assert table["part_foreground"].isna().sum() == (cut.images == 2).sum()


def test_memory_is_bounded_by_a_sample(monkeypatch, scene, settings, tmp_path):
    monkeypatch.setattr(foreground, "MOST_PHOTOS", 3)
    monkeypatch.setattr(foreground, "MOST_BYTES", 60 * 2 * 64)
    seen = []
    fit = foreground.fit_heads
    monkeypatch.setattr(foreground, "fit_heads", lambda *given: seen.append(given) or fit(*given))
    run_chain(tmp_path / "run", scene[0], settings, wanted=("foreground",))
    assert seen[0][0].shape == (60, 64)
    assert Run(tmp_path / "run").mask_stage == "foreground"


def test_report_has_both_masks(copy, scene, settings):
    run_chain(copy.path, scene[0], settings.with_overrides(["evaluation.num_seeds=0"]))
    metrics = read_json(copy.path / "metrics.json")
    assert metrics["cut_masks"].keys() == metrics["masks"].keys()
    truth = GroundTruth(open_source(str(scene[0])))
    photos = photos_of(copy)
    for part, path in (("masks", copy.codes_path), ("cut_masks", copy.proposals_path)):
        best = {}
        for item in read_json(path)["annotations"]:
            best.setdefault(item["image_id"], decode_mask(item["segmentation"]))
        ious = [best_iou(best[number], truth.read(photos[number])) for number in range(NUM_TRAIN, NUM_TRAIN + NUM_VAL)]
        assert metrics[part]["mean_best_iou"] == pytest.approx(np.mean(ious))
    assert find_damage(copy, "evaluation") is None


@pytest.mark.parametrize(
    "change",
    [
        "features.store=false",
        "features.fit=pad",
        "features.head_blocks=[2]",
        "proposals.smooth=false",
        "proposals.refine_steps=0",
        "proposals.num_objects=1",
        "foreground.masks=recut",
        "foreground.masks=rank",
        "foreground.dimensions=4096",
        "foreground.steps=1",
    ],
)
def test_it_works_with_other_settings(scene, settings, tmp_path, change):
    run_chain(tmp_path / "run", scene[0], settings.with_overrides([change]), wanted=("foreground",))
    run = Run(tmp_path / "run")
    table = run.masks()
    assert run.mask_stage == "foreground"
    assert table["score"].between(0, 1).all()
    assert find_damage(run, "foreground") is None
    if change.endswith(("recut", "rank")):
        assert table["recut"].any() == change.endswith("recut")
    if change == "foreground.masks=rank":
        codes, cut = MaskCodes.open(run), MaskCodes.open(run, "proposals")
        for mask_id, cut_id in zip(table["mask_id"], table["cut_id"], strict=True):
            assert codes.code(mask_id) == cut.code(cut_id)


def test_more_folds_than_photos_is_said(scene, settings, tmp_path):
    said = run_chain(
        tmp_path / "run", scene[0], settings.with_overrides(["foreground.folds=20"]), wanted=("foreground",)
    )
    assert "20 are needed" in said["foreground"]


def test_run_in_a_folder_named_from_here(scene, settings, tmp_path, monkeypatch):
    """A stage that was never made looks for what it left before: that such a file is missing was a fault."""
    monkeypatch.chdir(tmp_path)
    assert redone(run_chain("run", scene[0], settings, wanted=("foreground",))) == ["proposals", "foreground"]
