import math

import numpy as np
import pytest
from filter_cases import random_signals, signals_of

from maskdistill.config import FilterConfig
from maskdistill.errors import ConfigError
from maskdistill.pseudo_labels.filter import filter_masks
from maskdistill.pseudo_labels.filter_presets import (
    BUILT_IN,
    KIND,
    PresetResult,
    compare,
    describe,
    from_values,
    presets,
    save_preset,
    to_values,
)
from maskdistill.storage.run_folder import Run
from maskdistill.storage.saved_views import delete_view, save_view

OWN = FilterConfig(min_score=0.4)
STRICT = FilterConfig(min_score=0.8, min_per_cluster=30, empty_photos="none")


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "run")
    run.write_info({"data": "sample"})
    return run


def test_built_in_presets_come_first_and_the_saved_ones_by_name(run):
    save_preset(run, "strict", STRICT)
    save_preset(run, "Area only", FilterConfig(min_area=0.01))
    found = presets(run, OWN)
    assert list(found) == [*BUILT_IN, "Area only", "strict"]
    assert found["published (0.9)"] == FilterConfig(min_score=0.9)
    assert found["the run's own"] == OWN
    assert found["strict"] == STRICT


def test_saving_again_replaces_and_deleting_forgets(run):
    save_preset(run, "strict", STRICT)
    save_preset(run, " strict ", OWN)
    assert presets(run, OWN)["strict"] == OWN
    delete_view(run, KIND, "strict")
    assert list(presets(run, OWN)) == list(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_presets_stay(run, name):
    with pytest.raises(ConfigError, match="is built in and stays as it is. Choose another name"):
        save_preset(run, f" {name}", STRICT)


def test_preset_of_another_version_is_left_out(run):
    save_view(run, KIND, "odd", {"min_belief": 0.5})
    save_view(run, KIND, "list", [1, 2])
    save_view(run, KIND, "wild", {"min_score": 7})
    assert list(presets(run, OWN)) == list(BUILT_IN)


@pytest.mark.parametrize("config", [FilterConfig(), OWN, STRICT])
def test_values_come_back(config):
    assert from_values(to_values(config)) == config


def test_only_what_does_something_is_kept_and_told():
    assert to_values(FilterConfig()) == {}
    assert to_values(OWN) == {"min_score": 0.4}
    assert describe(FilterConfig()) == "no thresholds"
    assert describe(STRICT) == "min_score 0.8, min_per_cluster 30, empty photos stay empty"


def test_comparison_by_hand():
    signals = signals_of([0.9, 0.8, 0.3, 0.2], cluster=[1, 1, 2, 3], image=[0, 1, 1, 2])
    configs = {
        "all": FilterConfig(),
        "half": FilterConfig(min_score=0.5, empty_photos="none"),
        "none": FilterConfig(min_score=1, empty_photos="none"),
    }
    results = {name: filter_masks(signals, config) for name, config in configs.items()}
    found = compare(results, results["half"])
    assert found["all"] == PresetResult(masks=4, photos=3, least=1, weakest=2, empty=0, shared=0.5)
    assert found["half"] == PresetResult(masks=2, photos=2, least=0, weakest=2, empty=2, shared=1.0)
    assert found["none"] == PresetResult(masks=0, photos=0, least=0, weakest=1, empty=3, shared=0.0)
    assert math.isnan(compare({"none": results["none"]}, results["none"])["none"].shared)


def test_comparison_counts_what_the_filter_keeps():
    signals = random_signals(4)
    configs = {str(low): FilterConfig(min_score=low / 10) for low in range(0, 10, 3)}
    results = {name: filter_masks(signals, config) for name, config in configs.items()}
    reference = results["3"].kept
    found = compare(results, results["3"])
    for name, result in results.items():
        assert found[name].masks == result.kept.sum()
        assert found[name].photos == result.photos().kept
        assert found[name].least == min(count.kept for count in result.clusters().values())
        assert found[name].shared == np.sum(result.kept & reference) / np.sum(result.kept | reference)
