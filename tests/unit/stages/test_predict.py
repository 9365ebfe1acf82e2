"""Label maps of every photo of a run, and the object prior that may change those of the final model."""

import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_run import (
    CLASSES,
    NUM_PHOTOS,
    NUM_TRAIN,
    assert_fits_photos,
    assert_same_artifacts,
    forget_from,
    label_maps,
    redone,
    run_chain,
)

from maskdistill.config import RunConfig
from maskdistill.datasets import open_source
from maskdistill.models import object_prior
from maskdistill.models.predictor import load_model
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.stages.chain import Options
from maskdistill.stages.plan import Plan
from maskdistill.stages.predict import predict_photos
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run


class TestPredictions:
    def test_a_map_of_every_photo_and_the_crf_on_val(self, run, scene):
        made = read_json(run.path / "predictions.json")
        assert made["photos"] == list(range(NUM_PHOTOS))
        for kind in ("stage1", "stage2"):
            maps = label_maps(run.path / "predictions" / kind)
            assert sorted(maps) == made["photos"]
            assert_fits_photos(maps, scene)
            assert all(labels.max() <= len(CLASSES) for labels in maps.values())
        crf = label_maps(run.path / "predictions" / "stage2_crf")
        assert sorted(crf) == made["crf"]
        pytest.importorskip("pydensecrf")
        assert made["crf"] == list(range(NUM_TRAIN, NUM_PHOTOS))

    def test_deleted_tokens_are_made_again_first(self, run, scene, tmp_path):
        """Else the photo would pass for one that cannot be read."""
        shutil.copytree(run.path, tmp_path / "copy")
        copy = Run(tmp_path / "copy")
        forget_from(copy, "predictions")
        for path in copy.path.glob("features/*/00000/00000[39].npy"):
            path.unlink()
        run_chain(copy.path, *scene)
        assert_same_artifacts(copy, run)

    @pytest.mark.slow
    def test_several_processes_refine_to_the_same_maps(self, run, scene, tmp_path):
        pytest.importorskip("pydensecrf")
        shutil.copytree(run.path, tmp_path / "copy")
        copy = Run(tmp_path / "copy")
        shutil.rmtree(copy.path / "predictions")
        config = RunConfig.from_dict(run.info()["config"])
        context = Plan(copy, open_source(scene[0]), config).context("predictions", Options(num_workers=2, quiet=True))
        predict_photos(context)
        shutil.rmtree(copy.parts_path("predictions", context.key))  # as the chain does once a stage is done
        assert_same_artifacts(copy, run)

    def test_they_are_palette_pictures(self, run):
        labels = read_label_png(run.prediction("stage2", 0))
        with Image.open(run.prediction("stage2", 0)) as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(labels, np.asarray(image))


def turn(probabilities):
    """Each class's probabilities as another's, in place of the prior: it must be seen in every photo."""
    return np.concatenate([probabilities[:1], np.roll(probabilities[1:], 1, axis=0)])


@pytest.fixture
def with_prior(finished, scene, tmp_path, monkeypatch):
    """The finished run after its predictions were made with a prior, and what the stages said."""
    monkeypatch.setattr(object_prior, "apply_object_prior", turn)
    shutil.copytree(finished[0].path, tmp_path / "run")
    data, config = scene
    said = run_chain(tmp_path / "run", data, config.with_overrides(["predictions.object_prior=always"]))
    return Run(tmp_path / "run"), said


def test_the_object_prior_is_the_final_model_s_alone_and_makes_the_predictions_only(with_prior, finished, scene):
    run, said = with_prior
    assert redone(said) == ["predictions", "evaluation"]
    assert read_json(run.path / "predictions.json")["object_prior"] is True
    assert read_json(finished[0].path / "predictions.json")["object_prior"] is False
    changed = 0
    for number, photo in enumerate(open_source(str(scene[0])).photos):
        before, now = (read_label_png(item.prediction("stage2", number)) for item in (finished[0], run))
        plain = load_model(run, "stage2", object_prior=False).probabilities(photo)
        np.testing.assert_array_equal(before, plain.argmax(axis=0))
        np.testing.assert_array_equal(now, turn(plain).argmax(axis=0))
        np.testing.assert_array_equal(now, load_model(run).probabilities(photo).argmax(axis=0))
        np.testing.assert_array_equal(now > 0, before > 0)
        changed += int((now != before).sum())
        first = [read_label_png(item.prediction("stage1", number)) for item in (finished[0], run)]
        np.testing.assert_array_equal(*first)
    assert changed
