import errno
import logging
import shutil

import numpy as np
import pandas as pd
import pytest
from tiny_run import NUM_TRAIN, interrupt_stage, redone, run_chain, weights_of

from maskdistill.config import RunConfig
from maskdistill.datasets import open_source
from maskdistill.models.training.checkpoint import read_history
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.stages import samples
from maskdistill.stages.chain import Options
from maskdistill.stages.plan import Plan
from maskdistill.stages.samples import SamplePhoto, SampleWriter, choose_samples, read_samples
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run

ABOUT = {"training": "monday", "num_epochs": 2, "num_classes": 3}


def table(*rows):
    """clusters.parquet from (photo, rank, cluster, distance)."""
    ids = [photo * MASKS_PER_PHOTO + rank for photo, rank, _, _ in rows]
    return pd.DataFrame(
        {"mask_id": ids, "cluster": [row[2] for row in rows], "distance": [row[3] for row in rows], "fitted": True}
    )


class TestChoice:
    def test_largest_clusters_first_each_by_its_nearest_mask(self):
        clusters = table((0, 0, 1, 0.5), (1, 0, 2, 0.4), (2, 0, 2, 0.1), (3, 0, 2, 0.3), (4, 0, 1, 0.2), (5, 0, 3, 0.9))
        assert choose_samples(range(6), clusters, 3) == [2, 4, 5]
        assert choose_samples(range(6), clusters.sample(frac=1, random_state=0), 3) == [2, 4, 5]

    def test_clusters_have_their_turns_again_until_there_are_enough(self):
        clusters = table((0, 0, 1, 0.5), (1, 0, 2, 0.4), (2, 0, 2, 0.1), (3, 0, 2, 0.3), (4, 0, 1, 0.2))
        assert choose_samples(range(5), clusters, 4) == [2, 4, 3, 0]

    def test_no_photo_twice_and_none_that_is_not_trained_on(self):
        clusters = table((0, 0, 1, 0.1), (0, 1, 2, 0.1), (1, 0, 2, 0.2), (7, 0, 2, 0.0))
        assert choose_samples([0, 1], clusters, 6) == [0, 1]

    def test_photos_without_a_clustered_mask_are_spread_evenly(self):
        clusters = table((4, 0, 1, 0.1))
        assert choose_samples(range(10), clusters, 4) == [4, 0, 3, 7]  # thirds of the nine others
        assert choose_samples([5, 6], clusters, 4) == [5, 6]


@pytest.fixture
def writer(tmp_path):
    """Makes writers for one photo of 480 x 640 pixels and a small one; the model says ``epoch`` everywhere."""
    said = {}

    def label_of(number):
        labels = np.zeros((480, 640) if number == 3 else (10, 8), np.uint8)
        labels[: len(labels) // 2] = 2
        return labels

    def predict(number, size):
        said[number] = size
        probabilities = np.zeros((4, *size), np.float32)
        probabilities[make.epoch] = 1
        return probabilities

    def make(**about):
        photos = [SamplePhoto(3, "a.jpg", 480, 640), SamplePhoto(8, "b.jpg", 10, 8)]
        write = SampleWriter(Run(tmp_path), "stage1", {**ABOUT, **about}, photos, label_of, predict)

        def at(epoch):
            make.epoch = epoch
            write(epoch)

        return at

    make.run, make.said = Run(tmp_path), said
    return make


class TestWriter:
    def test_label_maps_and_targets_at_reduced_size(self, writer):
        write = writer()
        write(0)
        write(1)
        found = read_samples(writer.run, "stage1")
        assert (found.training, found.num_epochs, found.num_classes) == ("monday", 2, 3)
        assert [(photo.number, photo.id, photo.height, photo.width) for photo in found.photos] == [
            (3, "a.jpg", 240, 320),
            (8, "b.jpg", 10, 8),
        ]
        assert writer.said == {3: (240, 320), 8: (10, 8)}
        assert found.epochs == [0, 1]
        for photo in found.photos:
            assert (read_label_png(found.label_map(1, photo)) == np.ones((photo.height, photo.width))).all()
            target = read_label_png(found.target(photo))
            assert target.shape == (photo.height, photo.width)
            half = photo.height // 2
            assert (target[:half] == 2).all()
            assert (target[half:] == 0).all()

    def test_nothing_there_yet(self, writer):
        assert read_samples(writer.run, "stage1") is None

    def test_another_training_removes_the_old_ones(self, writer):
        write = writer()
        write(0)
        write(1)
        writer(training="friday")(0)
        found = read_samples(writer.run, "stage1")
        assert (found.training, found.epochs) == ("friday", [0])

    def test_going_on_without_what_was_written_before(self, writer):
        """A full disk, or a person, may have left nothing of the earlier epochs."""
        writer(training="friday")(1)
        writer()(2)
        found = read_samples(writer.run, "stage1")
        assert (found.training, found.epochs) == ("monday", [2])
        assert found.target(found.photos[0]).is_file()

    def test_going_back_to_an_older_checkpoint_removes_what_came_later(self, writer):
        write = writer()
        for epoch in (0, 1, 2, 1):
            write(epoch)
        assert read_samples(writer.run, "stage1").epochs == [0, 1]

    def test_unfinished_epoch_is_left_out(self, writer):
        write = writer()
        write(0)
        write(1)
        found = read_samples(writer.run, "stage1")
        found.label_map(1, found.photos[1]).unlink()
        assert found.epochs == [0]

    def test_damaged_index_is_as_none(self, writer):
        writer()(0)
        (writer.run.path / "stage1" / "samples" / "samples.json").write_text("{")
        assert read_samples(writer.run, "stage1") is None

    @pytest.mark.parametrize("name", ["write_label_png", "write_json"])
    def test_full_disk_is_named_and_made_good_for_later(self, writer, monkeypatch, caplog, name):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        write = writer()
        monkeypatch.setattr(samples, name, full)
        with caplog.at_level(logging.WARNING):
            write(0)
        assert "epoch 0 cannot be kept" in caplog.text
        assert "No space left on device" in caplog.text
        assert read_samples(writer.run, "stage1") is None
        monkeypatch.undo()
        write(1)
        assert read_samples(writer.run, "stage1").epochs == [1]


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_a_run_keeps_them_and_the_last_are_what_the_trained_model_says(finished, stage):
    run = finished[0]
    found = read_samples(run, stage)
    assert found.epochs == [0, 1, 2, 3]
    assert (found.num_epochs, found.num_classes, len(found.photos)) == (3, 3, 6)
    taught = {int(path.stem) for path in run.path.glob("pseudo_labels/*/*.png")}
    assert {photo.number for photo in found.photos} <= (taught if stage == "stage2" else set(range(NUM_TRAIN)))
    for photo in found.photos:
        last = read_label_png(found.label_map(3, photo))
        assert np.array_equal(last, read_label_png(run.prediction(stage, photo.number)))
        before = read_label_png(found.label_map(0, photo))
        assert before.shape == last.shape == (photo.height, photo.width)
    assert any(
        not np.array_equal(read_label_png(found.label_map(0, photo)), read_label_png(found.label_map(3, photo)))
        for photo in found.photos
    )


def test_weights_of_each_epoch_are_kept_and_the_last_are_the_trained_ones(finished):
    run = finished[0]
    found = read_samples(run, "stage1")
    assert weights_of(found.weights(3))[1] == weights_of(run.path / "stage1" / "model.safetensors")[1]
    assert weights_of(found.weights(0))[1] != weights_of(found.weights(1))[1]


def test_targets_are_what_is_taught(finished):
    run = finished[0]
    for photo in read_samples(run, "stage2").photos:
        target = read_samples(run, "stage2").target(photo)
        assert np.array_equal(read_label_png(target), read_label_png(run.pseudo_label(photo.number)))


@pytest.fixture
def copy(finished, scene, tmp_path):
    """Trains the first model of a copy of the finished run, with changed settings."""
    shutil.copytree(finished[0].path, tmp_path / "copy")

    def train(*assignments):
        config = scene[1].with_overrides(list(assignments))
        return run_chain(tmp_path / "copy", scene[0], config, wanted=("stage1",))

    train.run = Run(tmp_path / "copy")
    return train


def test_averaged_weights_are_the_ones_looked_at(copy):
    copy("stage1.ema=0.9")
    found, info = read_samples(copy.run, "stage1"), copy.run.info()
    plan = Plan(copy.run, open_source(info["data"]), RunConfig.from_dict(info["config"]))
    context = plan.context("candidates", Options(quiet=True))
    predictor = context.predictor("stage1")
    for photo in found.photos:
        says = predictor.probabilities(context.photo(photo.number)).argmax(axis=0)
        assert np.array_equal(read_label_png(found.label_map(3, photo)), says)


# By model: settings that keep it small. The two networks take half a minute each.
MODELS = {
    "patch_head": ("stage1.ema=0.5",),
    "deeplabv3": ("stage1.model=deeplabv3", "stage1.image_side=32", "stage1.epochs=2"),
    "mask_rcnn": ("stage1.model=mask_rcnn", "stage1.image_side=32", "stage1.epochs=2"),
}


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=pytest.mark.slow if name != "patch_head" else ()) for name in MODELS]
)
def test_training_ends_with_the_same_weights_as_without(copy, monkeypatch, model):
    assert redone(copy(*MODELS[model])) == ["stage1"]
    epochs = list(range(3 if model != "patch_head" else 4))
    assert read_samples(copy.run, "stage1").epochs == epochs
    folder = copy.run.path / "stage1"
    with_samples, history = weights_of(folder / "model.safetensors"), read_history(folder)
    shutil.rmtree(folder)
    monkeypatch.setattr(SampleWriter, "__call__", lambda *_: None)
    assert redone(copy(*MODELS[model])) == ["stage1"]
    assert read_samples(copy.run, "stage1") is None
    assert weights_of(folder / "model.safetensors") == with_samples
    assert [item.losses for item in read_history(folder)] == [item.losses for item in history]
    assert [item.metrics for item in read_history(folder)] == [item.metrics for item in history]


def test_stopped_and_resumed_training_keeps_the_earlier_ones(copy, monkeypatch):
    interrupt_stage(monkeypatch, "stage1", 5)  # of six steps: in the third epoch
    with pytest.raises(KeyboardInterrupt):
        copy("stage1.learning_rate=0.02")
    found = read_samples(copy.run, "stage1")
    assert found.epochs == [0, 1, 2]  # the third is not that of the training before
    times = {path: path.stat().st_mtime_ns for path in found.folder.rglob("*.png")}
    copy("stage1.learning_rate=0.02")
    assert read_samples(copy.run, "stage1") == found
    assert found.epochs == [0, 1, 2, 3]
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_epoch_whose_folder_is_removed_meanwhile_is_not_there(finished, monkeypatch, tmp_path):
    """A page lists the epochs while a training begins anew."""
    found = read_samples(finished[0], "stage1")
    folders = samples._epoch_folders(found.folder)
    monkeypatch.setattr(samples, "_epoch_folders", lambda _folder: {**folders, 9: tmp_path / "epoch-009"})
    assert found.epochs == list(folders)
