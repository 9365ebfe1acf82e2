"""Masks by several processes; what cannot work is refused, and a lack of disk or memory is told."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file
from six_photos import NUM_PHOTOS, assert_same_results, interrupt_after, make_masks

from maskdistill.config import CrfConfig, FeatureConfig, RunConfig
from maskdistill.datasets import images, open_source
from maskdistill.errors import CheckpointError, ConfigError, MaskDistillError, OutOfMemoryError
from maskdistill.stages import propose, worker
from maskdistill.stages.batches import map_batches
from maskdistill.stages.pool import Workers
from maskdistill.stages.tasks import Batch, WorkerSpec
from maskdistill.stages.worker import PhotoResult, PhotoWorker
from maskdistill.storage.progress import read_progress_file
from maskdistill.storage.run_folder import Run


def test_crf_without_its_package_is_refused_before_anything_is_done(start, config, tmp_path, monkeypatch):
    monkeypatch.setattr(propose, "crf_available", lambda: False)
    with pytest.raises(ConfigError, match="pip install pydensecrf2"):
        start(config=dataclasses.replace(config, crf=CrfConfig(enabled=True)))
    assert not (tmp_path / "run").exists()


def test_full_disk_is_told_and_can_be_mended(start, tmp_path, monkeypatch):
    interrupt_after(monkeypatch, 3, OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        start()
    progress = read_progress_file(Run(tmp_path / "run").progress_path)
    assert progress.state == "failed"
    assert " is full (" in progress.message
    assert start().num_new == 3


def test_file_that_cannot_be_weights_is_refused_before_anything_is_written(start, config, tmp_path):
    page = tmp_path / "page.pth"
    page.write_text("<!DOCTYPE html>")
    for path, what in ((page, "web page"), (tmp_path / "gone.pth", "No file"), (tmp_path, "folder")):
        link = tmp_path / f"{what}.pth"
        link.symlink_to(path)
        with pytest.raises(CheckpointError, match=what):
            start(config=config.with_overrides([f"features.backbone={link}"]))
    assert not (tmp_path / "run").exists()


def test_setting_that_the_worker_refuses_is_told_by_the_progress_file(start, config, tmp_path):
    with pytest.raises(MaskDistillError) as info:
        start(config=config.with_overrides(["proposals.blocks=40"]))
    progress = read_progress_file(Run(tmp_path / "run").progress_path)
    assert (progress.state, progress.message) == ("failed", str(info.value))


@pytest.mark.slow
def test_setting_that_the_workers_refuse_is_told_by_several_processes_too(tmp_path, photos):
    config = RunConfig(features=FeatureConfig(backbone="/nowhere/gone.pth", architecture="vit_tiny_patch16_224"))
    with pytest.raises(CheckpointError, match=r"No file of weights at /nowhere/gone.pth"):
        make_masks(Run(tmp_path / "run"), open_source(photos), config, workers=Workers(2))


@pytest.mark.slow
def test_several_processes_make_the_same_files_as_one(tmp_path, photos, config):
    import timm

    save_file(timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(), tmp_path / "a.safetensors")
    changes = [f"features.backbone={tmp_path / 'a.safetensors'}", "features.architecture=vit_tiny_patch16_224"]
    config = config.with_overrides([*changes, "features.shorter_side=64"])
    source = open_source(photos)
    for name, count in (("one", 1), ("two", 2)):
        make_masks(Run(tmp_path / name), source, config, workers=Workers(count))
    assert_same_results(Run(tmp_path / "one"), Run(tmp_path / "two"))


def test_one_worker_runs_in_this_process_and_in_order(tmp_path, photos, config, monkeypatch):
    monkeypatch.setattr(PhotoWorker, "__call__", lambda _self, batch: [PhotoResult(batch.photos[0][0])])
    spec = WorkerSpec("maskdistill.stages.worker:PhotoWorker", tmp_path, config, {"thumbs": tmp_path / "thumbs"})
    results = map_batches(spec, open_source(photos).photos, range(NUM_PHOTOS), Workers(1))
    assert [result.number for result in results] == list(range(NUM_PHOTOS))


def test_failure_of_one_photo_is_returned_with_its_reason(tmp_path, photos, config, monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("no eigenvalues")

    monkeypatch.setattr(worker, "propose_from_views", fail)
    work = PhotoWorker(tmp_path, config, tmp_path / "thumbs")
    assert work(Batch.of(3, open_source(photos).photos[3])) == [PhotoResult(3, error="RuntimeError: no eigenvalues")]


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("CPU: can't allocate memory")],
)
def test_lack_of_memory_is_no_fault_of_the_photo(start, tmp_path, monkeypatch, seen, error):
    """It is tried again; then it ends the stage. Finished photos are kept, and the next run does that one too."""

    def fail(*_arguments, **_options):
        raise error

    with monkeypatch.context() as patch:
        interrupt_after(patch, 3, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            start()
        patch.setattr(worker, "propose_from_views", fail)
        with pytest.raises(OutOfMemoryError, match="memory for photo 3,"):
            start()
    assert read_progress_file(Run(tmp_path / "run").progress_path).state == "failed"
    seen.clear()
    summary = start()
    assert (summary.num_new, summary.num_skipped) == (3, 1)  # the one file that is cut short
    assert seen == ["3.png", "4.png", "5-grey.jpg"]


def test_picture_for_which_there_is_no_memory_is_not_damaged(photos, monkeypatch):
    def fail(_decoded, *, factor):
        raise MemoryError

    monkeypatch.setattr(images, "to_rgb", fail)
    with pytest.raises(OutOfMemoryError):
        images.read_photo(open_source(photos).photos[0])
