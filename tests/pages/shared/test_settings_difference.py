"""The table of settings in which two differ."""

from app.settings_difference import differences
from maskdistill.config import RunConfig


def test_differences_are_those_settings_and_no_others():
    after = RunConfig().with_overrides(["stage2.epochs=3", "seed=4", "clusters.whiten=false", "predictions.crf=false"])
    table = differences(("Job 1", RunConfig().to_dict()), ("Job 2", after.to_dict()))
    assert table["Name"].tolist() == ["seed", "clusters.whiten", "stage2.epochs", "predictions.crf"]
    assert table["Job 1"].tolist() == ["0", "on", "10", "on"]
    assert table["Job 2"].tolist() == ["4", "off", "3", "off"]
    assert table["Setting"].tolist()[2:] == ["Stage 2: epochs", "Predictions: CRF"]


def test_setting_of_an_older_version_is_a_difference():
    after = RunConfig().to_dict()
    after["stage1"]["annealing"] = 0.5
    table = differences(("Before", RunConfig().to_dict()), ("After", after))
    assert table[["Name", "Before", "After"]].to_numpy().tolist() == [["stage1.annealing", "–", "0.5"]]


def test_same_settings_differ_in_nothing():
    settings = RunConfig().to_dict()
    assert differences(("Job 1", settings), ("Job 2", settings)).empty
