import shutil

import numpy as np
import pytest
from tiny_run import redone, run_chain

from maskdistill.datasets import open_source
from maskdistill.models import object_prior
from maskdistill.models.predictor import load_model
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run


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
