"""Whole runs: with bad photos, stopped in a stage, and without labels."""

import json
import shutil

import pandas as pd
import pytest
from PIL import Image
from tiny_run import (
    NUM_PHOTOS,
    NUM_TRAIN,
    NUM_VAL,
    WITHOUT_MAP,
    assert_same_artifacts,
    contents_of,
    draw_voc,
    forget_from,
    interrupt_stage,
    label_maps,
    redone,
    run_chain,
    tiny_config,
)

from maskdistill.datasets import open_source
from maskdistill.stages import worker
from maskdistill.stages.tasks import PhotoResult, photos_of
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run, write_table


def break_photo(path):
    """Cut a file so that its header is sound and its pixels are not."""
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"IDAT") + 4] + bytes(60) + content[-12:])


def test_unreadable_and_empty_photos_do_not_stop_the_run(scene, tmp_path):
    """One photo of each split is damaged inside, and one has nothing to be seen: a single grey."""
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    for id in ("02", "09"):
        break_photo(data / "JPEGImages" / f"{id}.png")
    Image.new("RGB", (64, 56), (110, 110, 110)).save(data / "JPEGImages" / "04.png")
    run_chain(tmp_path / "run", data, scene[1])
    run = Run(tmp_path / "run")
    images = run.images().set_index("id")
    broken = [number for number, photo in enumerate(open_source(data).photos) if not images.loc[photo.id, "readable"]]
    assert images["readable"].tolist().count(False) == 2
    maps = label_maps(run.path / "predictions" / "stage2")
    assert not set(broken) & set(maps)
    assert not set(broken) & set(label_maps(run.path / "pseudo_labels"))
    metrics = read_json(run.path / "metrics.json")
    assert metrics["counts"]["photos"] == len(open_source(data).photos)
    assert metrics["reported"]["stage2"]["num_images"] == len(open_source(data).split("val"))
    assert metrics["counts"]["masks"] == len(run.masks())


def test_photos_without_a_mask_are_predicted_but_not_trained_on(scene, tmp_path, run):
    """Their annotations are taken away, as if no object had been found there."""
    shutil.copytree(run.path, tmp_path / "run")
    copy = Run(tmp_path / "run")
    coco = read_json(copy.proposals_path)
    coco["annotations"] = [item for item in coco["annotations"] if item["image_id"] not in (3, 10)]
    copy.proposals_path.write_text(json.dumps(coco))
    masks = copy.masks()
    write_table(copy.masks_path, masks[~(masks["mask_id"] // MASKS_PER_PHOTO).isin((3, 10))])
    run_chain(copy.path, scene[0], scene[1].with_overrides(["embeddings.mirror=false"]))
    metrics = read_json(copy.path / "metrics.json")
    assert set(copy.clusters()["mask_id"] // MASKS_PER_PHOTO) == set(range(NUM_PHOTOS)) - {3, 10}
    assert metrics["counts"]["training_photos"] == NUM_TRAIN - 1
    assert sorted(label_maps(copy.path / "predictions" / "stage2")) == list(range(NUM_PHOTOS))
    assert metrics["reported"]["stage2"]["num_images"] == NUM_VAL


@pytest.mark.parametrize(
    ("stage", "count"),
    [
        ("embeddings", 5),
        ("clusters", 3),
        pytest.param("stage1", 1, marks=pytest.mark.slow),
        ("stage1", 4),
        ("candidates", 3),
        ("pseudo_labels", 4),
        ("stage2", 5),
        ("predictions", 6),
        pytest.param("predictions", 11, marks=pytest.mark.slow),
        pytest.param("evaluation", 2, marks=pytest.mark.slow),
        ("evaluation", 8),
    ],
)
def test_interrupted_stage_goes_on_and_ends_with_the_same_files(run, scene, tmp_path, monkeypatch, stage, count):
    shutil.copytree(run.path, tmp_path / "copy")
    copy = Run(tmp_path / "copy")
    forget_from(copy, stage)
    interrupt_stage(monkeypatch, stage, count)
    with pytest.raises(KeyboardInterrupt):
        run_chain(copy.path, *scene)
    assert not copy.stage_path(stage).exists()
    assert redone(run_chain(copy.path, *scene)) == list(WITHOUT_MAP[WITHOUT_MAP.index(stage) :])
    assert_same_artifacts(copy, run)


def test_labels_never_leak(run, scene, tmp_path):
    """The same photos without ground truth: all but the report is the same, bit by bit."""
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    shutil.rmtree(data / "SegmentationClass")
    (data / "classes.txt").unlink()
    run_chain(tmp_path / "run", data, scene[1])
    unlabelled = Run(tmp_path / "run")
    assert not unlabelled.info()["source"]["has_labels"]
    found, wanted = contents_of(unlabelled), contents_of(run)
    report = {"metrics.json", "stages/evaluation.json", "photo_counts.parquet", "mask_truth.parquet"}
    assert found.keys() == wanted.keys() - {"mask_truth.parquet"}
    different = {name for name in wanted if found.get(name) != wanted[name]}
    name_the_folder = {"run.json", "run.copy.json", "images.parquet", "proposals.json"}
    assert different == name_the_folder | report
    assert run.images().drop(columns="path").equals(unlabelled.images().drop(columns="path"))
    assert read_json(run.proposals_path)["annotations"] == read_json(unlabelled.proposals_path)["annotations"]
    pd.testing.assert_frame_equal(run.masks(), unlabelled.masks())
    metrics = read_json(unlabelled.path / "metrics.json")
    assert not metrics["ground_truth"]
    assert metrics["counts"] == read_json(run.path / "metrics.json")["counts"]


def test_photo_whose_vectors_cannot_be_made_is_not_trained_on(tmp_path, monkeypatch):
    data = draw_voc(tmp_path / "voc")
    call = worker.EmbedWorker.__call__

    def fail(self, number, *rest):
        return PhotoResult(number, error="No memory.") if number == 2 else call(self, number, *rest)

    monkeypatch.setattr(worker.EmbedWorker, "__call__", fail)
    said = run_chain(tmp_path / "run", data, tiny_config(tmp_path))
    run = Run(tmp_path / "run")
    assert read_json(run.path / "embeddings.json")["errors"] == {"02": "No memory."}
    assert "on 7 photos" in said["stage1"]
    assert 2 not in read_json(run.path / "pseudo_labels.json")["photos"]
    assert 2 in label_maps(run.path / "predictions" / "stage2")  # its tokens are there: the models can label it


@pytest.mark.parametrize("place", [worker.PhotoWorker, worker.EmbedWorker])
def test_photo_that_was_gone_in_a_stage_takes_part_as_soon_as_it_is_back(tmp_path, monkeypatch, place):
    data, config = draw_voc(tmp_path / "voc"), tiny_config(tmp_path)
    whole = run_chain(tmp_path / "whole", data, config)
    path = data / "JPEGImages" / "02.png"
    call, content = place.__call__, path.read_bytes()

    def work(self, *task):
        if any(photo.path == path for photo in photos_of(task)):
            path.unlink()
        return call(self, *task)

    monkeypatch.setattr(place, "__call__", work)
    said = run_chain(tmp_path / "run", data, config)
    assert "on 7 photos" in said["stage1"]
    monkeypatch.undo()
    path.write_bytes(content)
    said = run_chain(tmp_path / "run", data, config)
    assert set(redone(said)) >= {"clusters", "stage1", "stage2", "predictions"}
    assert said["stage1"].partition("(")[0] == whole["stage1"].partition("(")[0]
    run, undisturbed = Run(tmp_path / "run"), Run(tmp_path / "whole")
    assert run.proposals_path.read_bytes() == undisturbed.proposals_path.read_bytes()
    assert (run.path / "metrics.json").read_bytes() == (undisturbed.path / "metrics.json").read_bytes()
    assert redone(run_chain(tmp_path / "run", data, config)) == []
