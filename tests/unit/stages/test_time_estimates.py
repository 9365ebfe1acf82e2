import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest
from tiny_run import NUM_TRAIN, NUM_VAL, run_chain

from maskdistill.config import load_preset
from maskdistill.datasets import open_source
from maskdistill.errors import RunError
from maskdistill.files import write_atomically
from maskdistill.stages import time_estimates
from maskdistill.stages.stage_list import NAMES
from maskdistill.stages.time_estimates import (
    KEPT,
    NOTHING,
    UNKNOWN,
    Measured,
    Work,
    _note,
    drivers_of,
    estimate,
    record_speed,
    work_of_run,
    work_of_source,
)
from maskdistill.storage import user_folders
from maskdistill.storage.progress import Progress
from maskdistill.storage.run_folder import Run

CONFIG = load_preset("quick").with_overrides(["features.backbone=focus_vits14", "stage1.epochs=10"])
WORK = Work(num_photos=300, num_training=200, num_masks=400)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("MASKDISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def measure(stage, seconds, units, config=CONFIG):
    _note(Measured(*drivers_of(stage, config), seconds, units))


def estimated(*stages, config=CONFIG):
    found = estimate(WORK, stages, config)
    return found.seconds, found.basis


class TestEstimate:
    def test_never_measured_is_unknown(self):
        assert estimated("proposals") == (None, "unknown")
        assert estimate(WORK, ["proposals"], CONFIG).sentence == UNKNOWN

    @pytest.mark.parametrize(
        ("stage", "units"),
        [("proposals", 300), ("embeddings", 400), ("clusters", 400), ("stage1", 2000), ("candidates", 200)],
    )
    def test_grows_with_photos_masks_or_photos_times_epochs(self, stage, units):
        measure(stage, 50.0, 100)
        assert estimated(stage) == (pytest.approx(units / 2), "measured here")

    def test_more_epochs_take_longer(self):
        measure("stage1", 50.0, 1000)
        assert estimated("stage1", config=CONFIG.with_overrides(["stage1.epochs=20"])) == (200.0, "measured here")

    def test_median_of_the_newest(self):
        for seconds in (1000.0, 10.0, 20.0, 30.0, 40.0, 50.0):
            measure("proposals", seconds, 300)
        assert KEPT == 5
        assert estimated("proposals") == (30.0, "measured here")

    def test_of_two_the_one_that_nothing_disturbed(self):
        for seconds in (70.0, 20.0):
            measure("proposals", seconds, 300)
        assert estimated("proposals")[0] == 20.0

    def test_other_settings_are_rough(self):
        measure("stage1", 20.0, 2000)
        assert estimated("stage1", config=CONFIG.with_overrides(["features.shorter_side=448"])) == (20.0, "rough")
        assert estimated("stage1", config=CONFIG.with_overrides(["stage1.model=deeplabv3"])) == (None, "unknown")

    def test_short_work_is_rough_and_yields_to_longer(self):
        measure("filter", 1.0, 400)
        assert estimated("filter") == (1.0, "rough")
        measure("filter", 3.0, 400)
        assert estimated("filter") == (3.0, "measured here")

    def test_trainings_of_one_model_know_of_each_other(self):
        measure("stage1", 20.0, 2000)
        config = CONFIG.with_overrides(["stage2.epochs=20", "rounds.count=2"])
        assert estimated("stage2", config=config) == (40.0, "measured here")
        assert estimated("rounds", config=config) == (80.0, "measured here")

    def test_settings_left_to_the_machine_are_those_it_came_to(self, monkeypatch):
        """A run has its settings settled; before it is one they say "auto"."""
        monkeypatch.setattr(time_estimates, "likely_auto", lambda: "focus_vits14")
        settled = CONFIG.with_overrides(["features.shorter_side=336", "features.precision=float32"])
        measure("proposals", 20.0, 300, settled)
        assert estimated("proposals", config=load_preset("quick")) == (20.0, "measured here")

    def test_several_stages(self):
        measure("proposals", 90.0, 300)
        assert estimated("proposals", "filter") == (None, "unknown")
        assert "1 min 30 s" in estimate(WORK, ["proposals", "filter"], CONFIG).sentence
        measure("filter", 1.0, 400)
        assert estimated("proposals", "filter") == (91.0, "measured here")  # nearly all of it

    def test_nothing_to_do(self):
        assert estimated() == estimated("rounds") == (0.0, "measured here")
        assert estimate(WORK, ["rounds"], CONFIG).sentence == NOTHING

    def test_loads_no_torch(self):
        code = (
            "import sys; from maskdistill.stages.time_estimates import *; from maskdistill.config import RunConfig; "
            "from maskdistill.stages.time_estimates import Work; from maskdistill.stages.stage_list import NAMES; "
            f"print(estimate({WORK!r}, NAMES, RunConfig()).basis); assert 'torch' not in sys.modules"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "unknown"


class TestFile:
    def test_another_machine_has_its_own(self, monkeypatch):
        measure("proposals", 20.0, 300)
        monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
        assert estimated("proposals") == (None, "unknown")

    @pytest.mark.parametrize(
        "content", ["{", "[]", "{}", '{"version": 1, "machines": {"a": 1}}', '{"version": 2, "machines": {"a": [1]}}']
    )
    def test_content_that_cannot_be_used_is_as_none(self, cache, content):
        cache.mkdir()
        (cache / "speeds.json").write_text(content)
        assert estimated("proposals") == (None, "unknown")
        measure("proposals", 20.0, 300)
        assert estimated("proposals") == (20.0, "measured here")

    def test_folder_that_cannot_be_written_costs_only_the_memory(self, cache, monkeypatch):
        cache.write_text("no folder")
        monkeypatch.setattr(user_folders.tempfile, "gettempdir", lambda: str(cache))
        measure("proposals", 20.0, 300)
        assert estimated("proposals") == (None, "unknown")

    def test_writes_at_once_lose_nothing(self, cache):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda stage: measure(stage, 20.0, 300), [name for name in NAMES if "stage2" not in name]))
        kinds = {drivers_of(name, CONFIG)[0] for name in NAMES}
        assert remembered(cache).keys() == kinds


class TestWork:
    def test_of_photos(self, scene):
        work = work_of_source(open_source(str(scene[0])), scene[1])  # two objects a photo are looked for
        assert work == Work(num_photos=NUM_TRAIN + NUM_VAL, num_training=NUM_TRAIN, num_masks=2 * 12)

    def test_of_a_run(self, finished):
        work = work_of_run(finished[0])
        assert work == Work(num_photos=12, num_training=8, num_masks=len(finished[0].masks()))

    def test_of_a_run_without_masks(self, tmp_path):
        with pytest.raises(RunError, match=r"No images\.parquet"):
            work_of_run(Run(tmp_path))


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
    return {item["kind"]: item["seconds"] for machine in content["machines"].values() for item in machine}


class TestRecording:
    def test_a_stage(self, recorded, scene):
        assert recorded() == {"clusters": 8.0}
        assert estimate(work_of_run(recorded.run), ["clusters"], scene[1]).seconds == pytest.approx(8)

    def test_part_of_the_photos(self, recorded, scene):
        assert recorded("proposals", 8.0, num_photos=5) == {}  # too few
        recorded("proposals", 8.0, num_photos=10)
        assert estimate(work_of_run(recorded.run), ["proposals"], scene[1]).seconds == pytest.approx(8 * 12 / 10)

    def test_few_photos_say_nothing(self, recorded, monkeypatch):
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

    def test_stages_report_it_where_that_is_asked_for(self, recorded, scene, cache):
        changed = scene[1].with_overrides(["clusters.num_rounds=5"])
        run_chain(recorded.run.path, scene[0], changed, on_finished=record_speed)
        later = {"clusters", "classes", "candidates", "filter", "pseudo_labels", "predictions", "evaluation"}
        # A training of a second may well end before it has a rate.
        assert remembered(cache).keys() - {"training of patch_head"} == later
        run_chain(cache.parent / "fresh", *scene, wanted=("embeddings",), on_finished=record_speed)
        assert "proposals" in remembered(cache)
