"""What the two trainings of a run leave, and what is said of them."""

import json

import pytest
from tiny_run import NUM_TRAIN

from maskdistill.models.training.task import TrainResult
from maskdistill.stages.train import _sentence
from maskdistill.storage.read_files import read_json


class TestTraining:
    @pytest.mark.parametrize("stage", ["stage1", "stage2"])
    def test_history_and_settings(self, run, scene, stage):
        history = [json.loads(line) for line in (run.path / stage / "history.jsonl").read_text().splitlines()]
        assert [row["epoch"] for row in history] == [1, 2, 3]
        assert history[-1]["step"] == 3 * NUM_TRAIN // 4
        assert 0 <= history[-1]["metrics"]["agreement"] <= 1
        assert history[-1]["losses"]["total"] < history[0]["losses"]["total"]
        assert read_json(run.path / stage / "config.json")["hidden"] == 16


def test_model_whose_history_is_lost_is_told(tmp_path):
    assert "3 photos" in _sentence(TrainResult(tmp_path / "model.safetensors", (), 0), 3)
