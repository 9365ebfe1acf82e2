"""A small run whose artifacts are stand-ins, and what would be started on it."""

import pandas as pd
import pytest
from training_page import CONFIG, add_job
from whole_tables import write_whole_table

from app import stage_jobs
from maskdistill.datasets import open_source
from maskdistill.features.registry import SPECS, BackboneChoice
from maskdistill.files import write_json
from maskdistill.jobs import Submitted, list_jobs
from maskdistill.stages import soundness, status
from maskdistill.stages.plan import Plan
from maskdistill.stages.stage_list import BY_NAME, OF_EVERY_RUN
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import write_images

CHOICE = BackboneChoice(SPECS["focus_vits14"], "")
MASKS = pd.DataFrame({"mask_id": [0, 10, 20], "image_id": ["ant", "bee", "cow"]})


@pytest.fixture
def make_run(runs_folder, photo_folder, monkeypatch):
    """``make_run()``: a finished run named sheep; ``make_run(until="clusters")``: one that went so far only."""
    for module in (soundness, status):
        monkeypatch.setattr(module, "find_damage", lambda _run, _stage: None)  # stand-ins are sound
    monkeypatch.setattr(status, "SUMMARIES", {})  # they hold no rows to count

    def make(until=OF_EVERY_RUN[-1], config=CONFIG):
        run = Run(runs_folder / "sheep")
        source = open_source(str(photo_folder))
        backbone = {"name": "focus_vits14", "weights": "Offline."}
        run.write_info({"data": source.spec, "config": config.to_dict(), "backbone": backbone, "preset": "quick"})
        write_images(run, source)
        write_whole_table(run.masks_path, MASKS)
        plan = Plan(run, source, config, CHOICE)
        for name in OF_EVERY_RUN[: OF_EVERY_RUN.index(until) + 1]:
            for artifact in BY_NAME[name].artifacts:
                (run.path / artifact).parent.mkdir(parents=True, exist_ok=True)
                (run.path / artifact).write_text('{"num_classes": 2, "photos": [0, 1, 2]}')
            write_json(run.stage_path(name), {"fingerprint": plan.key(name), "made_from": plan.made_from(name)})
        return run

    return make


@pytest.fixture
def calls(monkeypatch):
    """What would be started, in place of starting it."""
    found = []

    def note(run, *arguments, **options):
        found.append((arguments, options))
        add_job(run, arguments=["run"], state="queued")
        return Submitted(list_jobs(run)[0], True)

    monkeypatch.setattr(stage_jobs, "submit_run", note)
    monkeypatch.setattr(stage_jobs, "submit_command", note)
    return found
