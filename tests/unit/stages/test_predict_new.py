"""Label maps of photos that a run never saw."""

import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_run import CLASSES, NUM_TRAIN, NUM_VAL, draw_photo, interrupt_stage

from maskdistill.errors import ConfigError, DatasetError, RunError
from maskdistill.evaluation.report import evaluate
from maskdistill.stages import predict_new, shards
from maskdistill.stages.predict_new import NewPhotoWorker, predict_folder
from maskdistill.stages.shards import Shard
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_lock import RunBusyError

VAL = range(NUM_TRAIN, NUM_TRAIN + NUM_VAL)


def test_crf_without_its_package_is_told(run, val_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(predict_new, "crf_available", lambda: False)
    with pytest.raises(ConfigError, match="pip install pydensecrf2"):
        predict_folder(run, str(val_photos), tmp_path / "out", crf=True, quiet=True)
    assert not (tmp_path / "out").exists()


def test_run_that_is_not_trained_is_told(run, val_photos, tmp_path):
    copy = Run(shutil.copytree(run.path, tmp_path / "copy"))
    shutil.rmtree(copy.path / "stage2")
    with pytest.raises(RunError, match=r"model\.safetensors in .*Make it with: maskdistill train-stage2"):
        predict_folder(copy, str(val_photos), tmp_path / "out", quiet=True)
    assert not list((tmp_path / "out").glob("*"))


def slow_miou(pairs, matching):
    """Mean IoU of background and the classes, by comparing whole pictures."""
    truth, found = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    ious = []
    for name in ("background", *CLASSES):
        clusters = [int(cluster) for cluster, label in matching.items() if label == name]
        here = truth == ("background", *CLASSES).index(name)
        there = np.isin(found, clusters)
        if (here | there).any():
            ious.append((here & there).sum() / (here | there).sum())
    return np.mean(ious)


@pytest.mark.parametrize("crf", [False, True])
def test_predicted_pictures_measure_as_the_evaluation_says(run, val_photos, tmp_path, crf):
    if crf:
        pytest.importorskip("pydensecrf")
    sentence = predict_folder(run, str(val_photos), tmp_path / "out", crf=crf, quiet=True)
    assert sentence == f"4 label maps in {tmp_path / 'out'}."
    pairs = []
    for number in VAL:
        with Image.open(tmp_path / "out" / f"{number:02d}.png") as image:
            assert image.mode == "P"
            pairs.append((draw_photo(number)[1], np.array(image)))
        assert pairs[-1][0].shape == pairs[-1][1].shape
    found = evaluate(run, crf=crf)
    assert slow_miou(pairs, found["matching"]) == pytest.approx(found["miou"], abs=1e-6)


def test_predicted_pictures_are_those_of_the_run(run, val_photos, tmp_path):
    predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
    for number in VAL:
        with Image.open(tmp_path / "out" / f"{number:02d}.png") as image:
            stored = np.asarray(Image.open(run.prediction("stage2", number)))
            np.testing.assert_array_equal(np.asarray(image), stored)


def test_nothing_else_is_left_in_the_folder_and_subfolders_are_kept(run, val_photos, tmp_path):
    (val_photos / "more").mkdir()
    (val_photos / "09.png").rename(val_photos / "more" / "09.png")
    predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["08.png", "10.png", "11.png", "more/09.png"]


def test_one_photo(run, val_photos, tmp_path):
    predict_folder(run, str(val_photos / "08.png"), tmp_path / "out", quiet=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["08.png"]


def test_photos_of_one_name_do_not_overwrite_each_other(run, val_photos, tmp_path):
    """A jpg and a png of one stem: both would be 08.png."""
    draw_photo(3)[0].save(val_photos / "08.jpg")
    predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["08.jpg.png", "08.png.png", "09.png", "10.png", "11.png"]


def test_photo_that_cannot_be_read_is_named_and_the_others_are_labelled(run, val_photos, tmp_path):
    path = val_photos / "09.png"
    path.write_bytes(path.read_bytes()[:300])
    sentence = predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
    assert sentence.startswith(f"3 label maps in {tmp_path / 'out'}. 1 left out, the first: {path}")
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == ["08.png", "10.png", "11.png"]


def test_photo_that_goes_away_is_named(run, val_photos, tmp_path, monkeypatch):
    opened = predict_new.open_source

    def open_and_lose(spec):
        source = opened(spec)
        (val_photos / "10.png").unlink()
        return source

    monkeypatch.setattr(predict_new, "open_source", open_and_lose)
    sentence = predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
    assert sentence.startswith(f"3 label maps in {tmp_path / 'out'}. 1 left out, the first: {val_photos / '10.png'} (")


def test_folder_without_photos_is_told(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty"):
        predict_folder(run, str(tmp_path / "empty"), tmp_path / "out", quiet=True)


class TestShares:
    @pytest.fixture(autouse=True)
    def small_parts(self, monkeypatch):
        monkeypatch.setattr(shards, "PHOTOS_PER_PART", 1)

    @pytest.fixture
    def labelled(self, monkeypatch):
        """Numbers of the photos that were labelled, as they come."""
        numbers, label = [], NewPhotoWorker.__call__

        def note(self, number, photo):
            numbers.append(number)
            return label(self, number, photo)

        monkeypatch.setattr(NewPhotoWorker, "__call__", note)
        return numbers

    def test_shards_make_the_pictures_of_one_process(self, run, val_photos, tmp_path):
        predict_folder(run, str(val_photos), tmp_path / "one", quiet=True)
        said = [
            predict_folder(run, str(val_photos), tmp_path / "out", shard=Shard(index, 3), quiet=True)
            for index in (2, 3, 1)
        ]
        assert said[:2] == ["3 photos left to other shards.", "2 photos left to other shards."]
        assert said[2] == f"4 label maps in {tmp_path / 'out'}."
        found, wanted = (
            {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("out", "one")
        )
        assert found == wanted

    def test_stopped_it_goes_on(self, run, val_photos, tmp_path, monkeypatch, labelled):
        interrupt_stage(monkeypatch, "predict", 3)
        with pytest.raises(KeyboardInterrupt):
            predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
        assert labelled == [0, 1, 2]
        (tmp_path / "out" / "09.png").unlink()
        assert predict_folder(run, str(val_photos), tmp_path / "out", quiet=True).startswith("4 label maps")
        assert labelled == [0, 1, 2, 1, 3]
        assert not (tmp_path / "out" / predict_new.UNFINISHED).exists()

    def test_of_another_model_nothing_is_kept(self, run, val_photos, tmp_path, monkeypatch, labelled):
        interrupt_stage(monkeypatch, "predict", 3)
        with pytest.raises(KeyboardInterrupt):
            predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
        predict_folder(run, str(val_photos), tmp_path / "out", stage="stage1", quiet=True)
        assert labelled == [0, 1, 2, 0, 1, 2, 3]

    def test_two_models_that_were_stopped_do_not_mix(self, run, val_photos, tmp_path, monkeypatch, labelled):
        for stage in ("stage2", "stage1"):
            interrupt_stage(monkeypatch, "predict", 3)
            with pytest.raises(KeyboardInterrupt):
                predict_folder(run, str(val_photos), tmp_path / "out", stage=stage, quiet=True)
        predict_folder(run, str(val_photos), tmp_path / "out", stage="stage2", quiet=True)
        assert labelled == [0, 1, 2, 0, 1, 2, 0, 1, 2, 3]

    @pytest.mark.parametrize("shard", [None, Shard(1, 2)])
    def test_two_at_once_do_not_mix(self, run, val_photos, tmp_path, monkeypatch, shard):
        label, asked = NewPhotoWorker.__call__, []

        def start_another(self, number, photo):
            with pytest.raises(RunBusyError):
                predict_folder(run, str(val_photos), tmp_path / "out", shard=shard, quiet=True)
            asked.append(number)
            return label(self, number, photo)

        monkeypatch.setattr(NewPhotoWorker, "__call__", start_another)
        predict_folder(run, str(val_photos), tmp_path / "out", shard=shard, quiet=True)
        assert len(asked) == (4 if shard is None else 2)
