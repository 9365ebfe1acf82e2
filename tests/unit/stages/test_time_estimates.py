import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest
import timm
import torch
from tiny_run import NUM_TRAIN, NUM_VAL, run_chain

from maskdistill.clustering.embedding_candidates import candidate_embeddings
from maskdistill.clustering.find_clusters import DIMENSIONS
from maskdistill.clustering.model_selection import MOST_ROWS
from maskdistill.config import FeatureConfig, load_preset
from maskdistill.datasets import open_source
from maskdistill.datasets.transforms import patch_grid
from maskdistill.errors import ConfigError, RunError
from maskdistill.features.registry import SPECS
from maskdistill.files import write_atomically
from maskdistill.stages import machine_speed, time_estimates
from maskdistill.stages.cost_model import MOST_COMPARED, NUM_DIMENSIONS, Cost, Network, Work, cost_of, stages_with_costs
from maskdistill.stages.machine_speed import KEPT, Measured, Speeds, time_products
from maskdistill.stages.stage_list import NAMES
from maskdistill.stages.time_estimates import (
    drivers_of,
    estimate,
    estimate_stages,
    record_speed,
    work_of_run,
    work_of_source,
)
from maskdistill.storage.progress import Progress
from maskdistill.storage.run_folder import Run

CONFIG = load_preset("quick").with_overrides(["features.backbone=focus_vits14", "clusters.num_classes=14"])
MSRC = Work(
    num_photos=328,
    num_training=246,
    num_labelled=246,
    num_reported=82,
    num_masks=328,
    num_training_masks=246,
    num_classes=14,
    height=213,
    width=320,
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, and a benchmark that finds the reference machine at once."""
    monkeypatch.setenv("MASKDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(machine_speed, "time_products", lambda: machine_speed.REFERENCE_GFLOPS)
    return tmp_path / "cache"


class TestSpeeds:
    def test_median_of_the_newest(self):
        here = Speeds(2)
        for seconds in (1000.0, 10.0, 20.0, 30.0, 40.0, 50.0):
            here.note(Measured("clusters", {"open": True}, seconds, 10.0))
        assert KEPT == 5
        assert here.slowness("clusters", {"open": True}) == (3.0, True)
        assert Speeds(2).slowness("clusters", {"open": True}) == (3.0, True)

    def test_of_two_the_one_that_nothing_disturbed(self):
        for seconds in (70.0, 20.0):
            Speeds(2).note(Measured("clusters", {}, seconds, 10.0))
        assert Speeds(2).slowness("clusters", {}) == (2.0, True)

    def test_other_drivers_are_better_than_nothing(self):
        here = Speeds(2)
        assert here.slowness("clusters", {"open": True}) is None
        here.note(Measured("clusters", {"open": False}, 20.0, 10.0))
        assert here.slowness("clusters", {"open": True}) == (2.0, False)
        here.note(Measured("clusters", {"open": True}, 30.0, 10.0))
        assert here.slowness("clusters", {"open": True}) == (3.0, True)
        assert here.slowness("training", {"open": True}) is None

    def test_what_is_not_asked_for_agrees_with_anything(self):
        here = Speeds(2)
        here.note(Measured("training", {"model": {"name": "head", "precision": "float32"}}, 20.0, 10.0))
        assert here.slowness("training", {"model": {"name": "head", "precision": None}}) == (2.0, True)
        assert here.slowness("training", {"model": {"name": "head", "precision": "float16"}}) == (2.0, False)
        assert here.slowness("training", {"model": {"name": "head"}}) == (2.0, False)

    def test_another_machine_has_its_own(self, monkeypatch):
        Speeds(2).note(Measured("clusters", {}, 20.0, 10.0))
        assert Speeds(4).slowness("clusters", {}) is None
        monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
        assert Speeds(2).slowness("clusters", {}) is None

    def test_benchmark_is_timed_once(self, monkeypatch):
        times = iter([machine_speed.REFERENCE_GFLOPS / 2])
        monkeypatch.setattr(machine_speed, "time_products", lambda: next(times))
        assert Speeds(2).benchmark() == Speeds(2).benchmark() == 2.0

    def test_the_benchmark_itself(self):
        began = time.monotonic()
        found = time_products()
        assert time.monotonic() - began < 5  # a third of a second where nothing else is at work
        assert 0.1 < found < 5000

    @pytest.mark.parametrize("content", ["{", "[]", '{"version": 0, "machines": {"a": 1}}'])
    def test_file_that_cannot_be_used_is_as_none(self, cache, content):
        cache.mkdir()
        (cache / "speeds.json").write_text(content)
        here = Speeds(2)
        assert here.slowness("clusters", {}) is None
        here.note(Measured("clusters", {}, 20.0, 10.0))
        assert here.slowness("clusters", {}) == (2.0, True)

    def test_folder_that_cannot_be_written_costs_only_the_memory(self, cache):
        cache.write_text("no folder")
        here = Speeds(2)
        here.note(Measured("clusters", {}, 20.0, 10.0))
        assert here.slowness("clusters", {}) is None
        assert here.benchmark() == 1.0


class TestCosts:
    def test_every_stage_has_one(self):
        assert sorted(stages_with_costs()) == sorted(NAMES)

    def test_whole_run_on_the_reference_machine(self):
        """Seconds of a run on the 328 MSRC photos that had its two cores to itself."""
        measured = {
            "proposals": 246,
            "embeddings": 86,
            "clusters": 12,
            "stage1": 19,
            "candidates": 8,
            "predictions": 43,
            "evaluation": 10,
            "projection": 20,
        }
        found = {stage: cost_of(stage, MSRC, CONFIG).seconds(2) for stage in measured}
        assert found == pytest.approx(measured, rel=0.3)

    @pytest.mark.parametrize("stage", [name for name in NAMES if name != "rounds"])
    def test_more_work_takes_longer(self, stage):
        counts = {name: 3 * value for name, value in asdict(MSRC).items() if name.startswith("num_")}
        more = cost_of(stage, replace(MSRC, **counts), CONFIG)
        assert more.seconds(2) > cost_of(stage, MSRC, CONFIG).seconds(2)
        assert more.seconds(8) <= more.seconds(2)

    @pytest.mark.parametrize(
        ("stage", "assignment"),
        [
            ("proposals", "features.shorter_side=640"),
            ("proposals", "crf.enabled=true"),
            ("embeddings", "embeddings.crop_side=448"),
            ("clusters", "clusters.num_classes=0"),
            ("stage1", "stage1.epochs=20"),
            ("stage2", "stage2.model=deeplabv3"),
            ("stage2", "stage2.model=mask_rcnn"),
            ("rounds", "rounds.count=2"),
            ("pseudo_labels", "labels.min_probability=0.5"),
            ("predictions", "rounds.count=1"),
            ("evaluation", "evaluation.probe=true"),
            ("projection", "projection.num_epochs=500"),
        ],
    )
    def test_settings_that_cost(self, stage, assignment):
        changed = CONFIG.with_overrides([assignment])
        assert cost_of(stage, MSRC, changed).seconds(2) > 1.1 * cost_of(stage, MSRC, CONFIG).seconds(2)

    def test_no_round_costs_nothing(self):
        assert cost_of("rounds", MSRC, CONFIG) == Cost()
        assert estimate(MSRC, "rounds", CONFIG).sentence == "Nothing to do."
        assert estimate_stages(MSRC, ["rounds"], CONFIG) == estimate_stages(MSRC, [], CONFIG)

    def test_numbers_of_the_clustering(self):
        assert MOST_COMPARED == MOST_ROWS
        assert len(DIMENSIONS) == NUM_DIMENSIONS

    def test_names_of_the_embeddings(self):
        vectors = {f"{kind}{block}": torch.zeros(2, 3).numpy() for kind in ("cls",) for block in (9, 10, 11, 12)}
        vectors |= {f"{kind}{block}": torch.zeros(2, 3).numpy() for kind in ("crop", "photo") for block in (9, 12)}
        assert len(candidate_embeddings(vectors)) == 15

    @pytest.mark.parametrize("name", [*SPECS, "vit_base_patch14_dinov2.lvd142m", "vit_large_patch16_224"])
    def test_networks_are_guessed_right(self, name):
        network = Network.of(FeatureConfig(backbone=name))
        with torch.device("meta"):
            model = timm.create_model(SPECS[name].architecture if name in SPECS else name.split(".")[0])
        found = (network.patch_size, network.dimensions, network.depth)
        assert found == (model.patch_embed.patch_size[0], model.embed_dim, len(model.blocks))
        side = SPECS[name].shorter_side if name in SPECS else 336
        grid = patch_grid(213, 320, shorter_side=side, patch_size=network.patch_size, mode="resize")
        assert network.patches(MSRC.ratio) == pytest.approx(grid.rows * grid.cols, rel=0.05)


class TestWork:
    def test_of_photos(self, scene):
        work = work_of_source(open_source(str(scene[0])), scene[1])
        assert (work.num_photos, work.num_training, work.num_reported) == (NUM_TRAIN + NUM_VAL, NUM_TRAIN, NUM_VAL)
        assert (work.num_masks, work.num_training_masks) == (2 * 12, 2 * 8)  # two objects a photo are looked for
        assert work.num_classes == 3
        assert (work.height, work.width) == (60, 62)

    def test_of_a_run(self, finished, scene):
        work = work_of_run(finished[0], scene[1])
        masks = finished[0].masks()
        assert (work.num_photos, work.num_training, work.num_reported) == (12, 8, 4)
        assert work.num_masks == len(masks) < 24
        assert work.num_training_masks == int((masks["mask_id"] // 10 < NUM_TRAIN).sum())
        assert work.num_labelled == len(list(finished[0].path.glob("pseudo_labels/*/*.png")))
        assert work_of_run(finished[0], scene[1].with_overrides(["clusters.num_classes=0"])).num_classes == 3

    def test_of_a_split_that_is_not_there(self, scene):
        config = scene[1].with_overrides(["predictions.split=test"])
        assert work_of_source(open_source(str(scene[0])), config).num_reported == 0

    def test_of_a_run_without_masks(self, tmp_path, scene):
        with pytest.raises(RunError, match="No images.parquet"):
            work_of_run(Run(tmp_path), scene[1])


class TestEstimate:
    def test_rough_by_the_benchmark(self, monkeypatch):
        expected = cost_of("clusters", MSRC, CONFIG).seconds(4)
        monkeypatch.setattr(time_estimates, "usable_cores", lambda: 4)
        monkeypatch.setattr(machine_speed, "time_products", lambda: machine_speed.REFERENCE_GFLOPS / 3)
        found = estimate(MSRC, "clusters", CONFIG)
        assert (found.seconds, found.basis) == (pytest.approx(3 * expected), "rough")
        assert found.sentence == "Roughly 40 s, by a benchmark of this machine."

    def test_by_what_was_measured_here(self, monkeypatch):
        monkeypatch.setattr(time_estimates, "usable_cores", lambda: 2)
        expected = cost_of("stage1", MSRC, CONFIG).seconds(2)
        Speeds(2).note(Measured(*drivers_of("stage1", CONFIG), 2 * expected, expected))
        found = estimate(MSRC, "stage1", CONFIG)
        assert (found.seconds, found.basis) == (pytest.approx(2 * expected), "measured here")
        assert found.sentence == "About 36 s, by what this machine did before."
        assert estimate(MSRC, "stage2", CONFIG) == found  # the same model, from the same photos
        longer = estimate(MSRC, "stage1", CONFIG.with_overrides(["stage1.epochs=20"]))
        assert found.seconds < longer.seconds < 2 * found.seconds
        assert longer.basis == "measured here"
        other = estimate(MSRC, "stage1", CONFIG.with_overrides(["features.shorter_side=448"]))
        assert other.basis == "rough"
        assert other.sentence.endswith("by what this machine did with other settings.")
        assert estimate(MSRC, "clusters", CONFIG).basis == "rough"
        network = estimate(MSRC, "stage1", CONFIG.with_overrides(["stage1.model=deeplabv3"]))
        assert network.sentence.endswith("by a benchmark of this machine.")  # a small head tells nothing of it

    def test_settings_left_to_the_machine_are_those_it_came_to(self, monkeypatch):
        """A run has its settings settled; before it is one they say "auto"."""
        monkeypatch.setattr("maskdistill.stages.cost_model.likely_auto", lambda: "focus_vits14")
        settled = CONFIG.with_overrides(["features.shorter_side=336", "features.precision=float32"])
        Speeds(time_estimates.usable_cores()).note(Measured(*drivers_of("proposals", settled), 20.0, 10.0))
        assert estimate(MSRC, "proposals", load_preset("quick")).basis == "measured here"

    def test_gpu_that_was_not_measured(self):
        found = estimate(MSRC, "stage2", CONFIG.with_overrides(["features.device=cuda"]))
        assert found.sentence.startswith("At most ")
        assert "GPU" in found.sentence
        assert "GPU" not in estimate(MSRC, "clusters", CONFIG.with_overrides(["features.device=cuda"])).sentence

    def test_no_such_stage(self):
        with pytest.raises(ConfigError, match="No stage 'stage3'. There are: proposals"):
            estimate(MSRC, "stage3", CONFIG)

    def test_several_stages(self):
        stages = ("proposals", "embeddings", "filter")
        found = estimate_stages(MSRC, stages, CONFIG)
        assert found.seconds == pytest.approx(sum(estimate(MSRC, stage, CONFIG).seconds for stage in stages))
        assert found.basis == "rough"
        assert found.sentence.endswith("of them for proposals.")
        for stage in ("proposals", "embeddings"):
            Speeds(time_estimates.usable_cores()).note(Measured(*drivers_of(stage, CONFIG), 10.0, 10.0))
        assert estimate_stages(MSRC, stages, CONFIG).basis == "measured here"  # a second of three hundred is not

    def test_loads_no_torch(self):
        code = (
            "import sys; from maskdistill.stages.time_estimates import *; from maskdistill.config import RunConfig; "
            f"print(estimate({MSRC!r}, 'stage1', RunConfig()).basis); assert 'torch' not in sys.modules"
        )
        code = f"from maskdistill.stages.cost_model import Work; {code}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "rough"


@pytest.fixture
def recorded(finished, scene, cache, monkeypatch):
    """Records a stage of the finished run, and tells what is remembered: kind -> seconds."""
    monkeypatch.setattr(time_estimates, "FEWEST", 10)
    run = Run(shutil.copytree(finished[0].path, cache.parent / "run"))

    def record(stage="clusters", seconds=8.0, progress=None, **options):
        if progress is not None:
            write_atomically(run.progress_path, json.dumps(asdict(progress)))
        record_speed(run, stage, scene[1], seconds, **options)
        return remembered(cache)

    record.run = run
    return record


def remembered(cache):
    path = cache / "speeds.json"
    content = json.loads(path.read_text()) if path.is_file() else {"machines": {}}
    return {item["kind"]: item["seconds"] for machine in content["machines"].values() for item in machine["measured"]}


class TestRecording:
    def test_a_stage(self, recorded, scene):
        assert recorded() == {"clusters": 8.0}
        assert estimate(work_of_run(recorded.run, scene[1]), "clusters", scene[1]).seconds == pytest.approx(8, rel=0.01)

    def test_part_of_the_photos(self, recorded, scene):
        assert recorded("proposals", 8.0, num_photos=5) == {}  # too few
        recorded("proposals", 8.0, num_photos=10)
        work = work_of_run(recorded.run, scene[1])
        assert estimate(work, "proposals", scene[1]).seconds > 8

    def test_short_or_small_work_says_nothing(self, recorded, monkeypatch):
        assert recorded(seconds=1.9) == {}
        monkeypatch.setattr(time_estimates, "FEWEST", 13)
        assert recorded() == {}

    @pytest.mark.parametrize(
        ("rate", "seconds", "known"),
        [
            (10.0, 12.0, True),  # a hundred steps in ten seconds, and two of preparation
            (10.0, 6.0, False),  # half of them were found done
            (0.0, 12.0, False),  # one step was left
        ],
    )
    def test_resumed_training_is_not_taken_for_a_whole_one(self, recorded, rate, seconds, known):
        progress = Progress("stage1", 100, 100, rate, 0.0, "done")
        assert recorded("stage1", seconds, progress) == ({"training of patch_head": seconds} if known else {})

    def test_progress_of_another_stage(self, recorded):
        assert recorded("stage1", 12.0, Progress("clusters", 9, 9, 1.0, 0.0, "done")) == {}

    def test_rounds_end_when_they_like(self, recorded):
        assert recorded("rounds", 12.0) == {}

    def test_run_that_lost_a_file_is_no_failure(self, recorded):
        recorded.run.images_path.unlink()
        assert recorded() == {}

    def test_the_stages_do_it_themselves(self, recorded, scene, cache, monkeypatch):
        monkeypatch.setattr(time_estimates, "SHORTEST", 0.0)
        run_chain(recorded.run.path, scene[0], scene[1].with_overrides(["clusters.num_rounds=5"]))
        later = {"clusters", "classes", "candidates", "filter", "pseudo_labels", "predictions", "evaluation"}
        # A training of a second may well end before it has a rate.
        assert remembered(cache).keys() - {"training of patch_head"} == later
        run_chain(cache.parent / "fresh", *scene, wanted=("embeddings",))
        assert "proposals" in remembered(cache)
