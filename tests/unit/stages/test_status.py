import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from maskdistill.config import RunConfig
from maskdistill.datasets import open_source
from maskdistill.errors import RunError
from maskdistill.features.registry import SPECS, BackboneChoice
from maskdistill.files import write_json
from maskdistill.masks import encode_mask
from maskdistill.models.training.checkpoint import write_tensors
from maskdistill.stages.plan import Plan
from maskdistill.stages.stage_list import OF_EVERY_RUN
from maskdistill.stages.status import stage_states
from maskdistill.storage.progress import Reporter
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.run_photos import write_images

CHOICE = BackboneChoice(SPECS["focus_vits14"], "")
CONFIG = RunConfig().with_overrides(["features.backbone=focus_vits14", "features.precision=float32"])


def coco(ids):
    code = encode_mask(np.ones((12, 16), bool))
    items = [{"id": id, "image_id": id // 10, "bbox": [0, 0, 16, 12], "segmentation": code} for id in ids]
    return {"annotations": items}


IN_CLUSTERS = {"mask_id": [0, 1, 10], "cluster": [1, 7, 7], "distance": 0.5, "margin": 0.1, "fitted": True}
BOXES = dict.fromkeys(("bbox_x", "bbox_y", "bbox_w", "bbox_h"), 1)
JUDGED = dict.fromkeys(("score", "iou", "agreement", "distance", "area", "border", "proposal_score"), 0.5)
OF_PHOTO = {"image_id": "a", "image": 0, "rank": 0}
LABELS = {"origin": "proposal", "cluster": 1, "label": 1}
TABLES = {
    "masks.parquet": {"mask_id": [0, 1, 10], **OF_PHOTO, "score": 0.5, "area": 0.1, **BOXES},
    "clusters.parquet": IN_CLUSTERS,
    "classes.parquet": IN_CLUSTERS,
    "candidates.parquet": {"mask_id": [0, 1], **OF_PHOTO, **LABELS, **JUDGED},
    "kept.parquet": {"mask_id": [0, 1], "kept": [True, False], "rule": ""},
}
ARRAYS = {"embeddings.npy": np.zeros((3, 2)), "umap_xy.npy": np.zeros((3, 2))}
SPACE = {**dict.fromkeys(("weights", "mean", "spread", "normalise", "note"), np.zeros(2)), "centres": np.zeros((7, 2))}
JSONS = {
    "proposals.json": coco([0, 1, 10]),
    "candidates.json": coco([0, 1]),
    "foreground.json": {"used": False, "why": "Not used."},
    "instances/record.json": {"used": False, "why": "Off."},
    "embeddings.json": {"folder": "masks", "errors": {}},
    "clusters.json": {"num_classes": 7, "embedding": "CLS 11", "dimensions": 24},
    "classes.json": {"num_classes": 7, "used": [1, 2, 3, 4, 5, 7], "num_edits": 2},
    "pseudo_labels.json": {"photos": [0, 2]},
    "rounds.json": {"rounds": [], "stage2": "", "model": "stage2"},
    "predictions.json": {"photos": [0, 1, 2]},
    "metrics.json": {"ground_truth": True, "reported": {"stage2": {"miou": 0.4567, "num_images": 3}}},
}


def save_settings(run, config):
    run.write_info({**run.info(), "config": config.to_dict()})


def finish(run, names=OF_EVERY_RUN, limit=0):
    """Note of these stages that they were made from what is there now, as the chain does."""
    source = open_source(run.info()["data"])
    source = source.limited(limit) if limit else source
    plan = Plan(run, source, RunConfig.from_dict(run.info()["config"]), CHOICE)
    for name in names:
        write_json(run.stage_path(name), {"fingerprint": plan.key(name), "made_from": plan.made_from(name)})


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "voc"
    for name in ("JPEGImages", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (16, 12), (number * 80, 50, 50)).save(folder / "JPEGImages" / f"{number}.jpg")
        Image.fromarray(np.full((12, 16), number, np.uint8)).save(folder / "SegmentationClass" / f"{number}.png")
    return folder


@pytest.fixture
def run(tmp_path, folder):
    """A finished run, of which there are but the records and small stand-ins of its artifacts."""
    run = Run(tmp_path / "run")
    source = open_source(folder)
    backbone = {"name": "focus_vits14", "weights": "Offline."}
    run.write_info({"data": source.spec, "config": CONFIG.to_dict(), "backbone": backbone})
    write_images(run, source)
    for stage in ("stage1", "stage2"):
        (run.path / stage).mkdir()
        write_tensors(run.path / stage / "model.safetensors", {"a": torch.zeros(3)}, {})
    for name, values in ARRAYS.items():
        np.save(run.path / name, values)
    np.savez(run.path / "space.npz", **SPACE)
    for name, columns in TABLES.items():
        write_table(run.path / name, pd.DataFrame(columns))
    for name, values in JSONS.items():
        write_json(run.path / name, values)
    finish(run)
    return run


def states(run):
    return {item.name: item for item in stage_states(run)}


def reasons(run):
    """Why each stage is stale that is; all others must be done."""
    found = states(run)
    assert {item.state for item in found.values()} <= {"done", "stale"}
    return {name: item.why for name, item in found.items() if item.state == "stale"}


def test_finished_run(run):
    found = states(run)
    assert tuple(found) == OF_EVERY_RUN
    assert {item.state for item in found.values()} == {"done"}
    assert {name: item.text for name, item in found.items() if item.summary} == {
        "proposals": "done: 3 masks of 3 photos",
        "foreground": "done: Not used",
        "clusters": "done: 7 clusters by CLS 11, 24 dimensions",
        "classes": "done: 6 classes, 2 changes by people",
        "instances": "done: Off",
        "candidates": "done: 2 candidates",
        "filter": "done: 1 of 2 masks",
        "pseudo_labels": "done: 2 label maps",
        "rounds": "done: none asked for",
        "predictions": "done: 3 photos",
        "evaluation": "done: mIoU 0.457 on 3 photos",
    }
    assert found["stage1"].text == "done"


def test_new_run_has_made_nothing(tmp_path):
    run = Run(tmp_path)
    with pytest.raises(RunError, match="No run in"):
        stage_states(run)
    run.write_info({"data": "sample", "config": {}, "backbone": {"name": "none"}})
    assert {item.text for item in stage_states(run)} == {"not made"}


AFTER_FILTER = {
    "pseudo_labels": "filter is stale",
    "stage2": "pseudo_labels is stale",
    "rounds": "stage2 is stale",
    "predictions": "stage2 is stale",
    "evaluation": "predictions is stale",
}
AFTER_CLUSTERS = {
    "classes": "clusters is stale",
    "stage1": "clusters is stale",
    "candidates": "stage1 is stale",
    "filter": "candidates is stale",
    **AFTER_FILTER,
    "projection": "clusters is stale",
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("evaluation.num_seeds=7", {"evaluation": "evaluation.num_seeds was changed"}),
        ("projection.min_dist=0.7", {"projection": "projection.min_dist was changed"}),
        ("filter.min_score=0.77", {"filter": "filter.min_score was changed", **AFTER_FILTER}),
        ("labels.border_band=3", {**AFTER_FILTER, "pseudo_labels": "labels.border_band was changed"}),
        ("stage1.checkpoint_seconds=1", {}),  # only how the work is done
        ("crf.iterations=3", {"predictions": "crf.iterations was changed", "evaluation": "predictions is stale"}),
        (
            "features.head_blocks=9",
            {**AFTER_CLUSTERS, "embeddings": "features.head_blocks was changed", "clusters": "embeddings is stale"},
        ),
        (
            "features.tokens=compact",
            {**AFTER_CLUSTERS, "embeddings": "features.tokens was changed", "clusters": "embeddings is stale"},
        ),
        ("clusters.num_classes=9", {**AFTER_CLUSTERS, "clusters": "clusters.num_classes was changed"}),
        ("features.device=cuda", {}),
        (
            "seed=3",
            {**AFTER_CLUSTERS, **dict.fromkeys(("clusters", "stage1", "stage2", "projection"), "seed was changed")},
        ),
    ],
)
def test_changed_setting_is_named_and_what_hangs_on_it(run, change, expected):
    save_settings(run, CONFIG.with_overrides([change]))
    assert reasons(run) == expected


def test_the_chain_would_do_the_stale_stages_and_no_others(run):
    config = CONFIG.with_overrides(["filter.min_score=0.77", "projection.min_dist=0.7"])
    save_settings(run, config)
    plan = Plan(run, open_source(run.info()["data"]), config, CHOICE)
    assert {item.name for item in stage_states(run) if item.state == "done"} == {
        name for name in OF_EVERY_RUN if plan.is_done(name)
    }


def test_changed_proposals_make_all_stale(run):
    save_settings(run, CONFIG.with_overrides(["proposals.tau=0.3"]))
    found = reasons(run)
    assert (found["proposals"], found["embeddings"]) == ("proposals.tau was changed", "proposals is stale")
    assert set(found) == {*OF_EVERY_RUN} - {"instances"}  # which is off
    assert states(run)["proposals"].text == "stale: proposals.tau was changed; 3 masks of 3 photos: of the old state"


def test_stage_that_was_redone_makes_the_next_stale(run):
    config = CONFIG.with_overrides(["filter.min_score=0.77"])
    save_settings(run, config)
    finish(run, ["filter"])
    assert reasons(run) == {**AFTER_FILTER, "pseudo_labels": "filter was redone"}


def test_deleted_artifact(run):
    run.kept_path.unlink()
    found = states(run)
    assert found["filter"].text == "stale: kept.parquet was deleted"
    assert found["pseudo_labels"].text == "stale: filter is stale; 2 label maps: of the old state"
    run.masks_path.unlink()
    assert states(run)["proposals"].state == "missing"
    assert states(run)["embeddings"].why == "proposals is not made"


def test_changed_ground_truth_makes_only_the_report_stale(run, folder):
    os.utime(folder / "SegmentationClass" / "1.png", (1, 1))
    assert reasons(run) == {"evaluation": "the ground truth was changed"}


def test_changed_photos_and_photos_that_are_gone(run, folder):
    Image.new("RGB", (16, 12)).save(folder / "JPEGImages" / "3.jpg")
    assert reasons(run)["proposals"] == "photos were added, removed or changed"
    folder.rename(folder.with_name("moved"))
    assert reasons(run)["proposals"].startswith("the photos cannot be found (No file or folder")
    assert reasons(run)["evaluation"] == "proposals is stale"


def test_run_with_a_limit_is_done(run):
    finish(run, limit=2)
    assert reasons(run) == {}


def test_newer_program_is_said(run):
    for name in ("proposals", "filter"):
        record = read_json(run.stage_path(name))
        write_json(run.stage_path(name), {**record, "made_from": {**record["made_from"], "code": 0}})
    found = reasons(run)
    assert found["proposals"] == found["filter"] == "the program makes it in another way now"


def test_setting_that_a_record_does_not_know_counts_as_changed(run):
    record = read_json(run.stage_path("filter"))
    del record["made_from"]["settings"]["filter"]["keep_share"]
    write_json(run.stage_path("filter"), record)
    assert reasons(run)["filter"] == "filter.keep_share was changed"


def test_running_stage_tells_how_far_it_is(run):
    run.stage_path("stage2").unlink()
    reporter = Reporter(run.progress_path, "stage2", 80, quiet=True, unit="steps")
    reporter.advance(0)
    found = states(run)
    assert (found["stage2"].state, found["stage2"].text) == ("running", "running: 0 of 80 steps")
    assert found["predictions"].why == "stage2 is running"
    reporter.finish("failed", "Out of memory.")
    assert states(run)["stage2"].text == "not finished (failed: Out of memory.)"
    finish(run, ["stage2"])
    assert reasons(run) == {}  # the failure is that of an older try


def test_failure_of_a_stale_stage_is_told(run):
    save_settings(run, CONFIG.with_overrides(["evaluation.num_seeds=7"]))
    Reporter(run.progress_path, "evaluation", 3, quiet=True).finish("stopped", "Stopped; start again to go on.")
    assert reasons(run)["evaluation"] == "evaluation.num_seeds was changed; stopped: Stopped; start again to go on."


def test_tokens_that_are_made_belong_to_the_embeddings(run):
    run.stage_path("embeddings").unlink()
    Reporter(run.progress_path, "features", 3, quiet=True)
    assert states(run)["embeddings"].text == "running: 0 of 3 photos"


def test_damaged_or_missing_summary(run):
    (run.path / "metrics.json").write_text("{}")
    assert states(run)["evaluation"].text == "done"
    (run.path / "metrics.json").write_text("{")
    assert states(run)["evaluation"].state == "stale"
    assert "metrics.json is damaged" in states(run)["evaluation"].why


STATUS = """
import json, sys
from maskdistill.stages.status import stage_states
from maskdistill.storage.run_folder import Run
states = {item.name: item.text for item in stage_states(Run(sys.argv[1]))}
print(json.dumps([states, sorted({"torch", "timm"} & set(sys.modules))]))
"""


def test_file_of_weights_is_compared_without_torch(run, tmp_path):
    path = tmp_path / "own.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, path)
    changes = [f"features.backbone={path}", "features.architecture=vit_small_patch14_dinov2"]
    config = CONFIG.with_overrides(changes)
    save_settings(run, config)
    plan = Plan(run, open_source(run.info()["data"]), config)  # asks timm
    for name in OF_EVERY_RUN:
        write_json(run.stage_path(name), {"fingerprint": plan.key(name), "made_from": plan.made_from(name)})
    command = [sys.executable, "-c", STATUS, str(run.path)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    texts, loaded = json.loads(process.stdout)
    assert loaded == []
    assert all(text.startswith("done") for text in texts.values())
    save_file({"a": np.ones(3, np.float32)}, path)
    assert reasons(run)["proposals"] == "the weights of the backbone were changed"
