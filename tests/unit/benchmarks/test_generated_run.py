"""The run that the pages are measured on is what the program's own code would have made."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import generated_run
from benchmarks.generated_run import generate_run, kept_run
from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.mask_truth import make_truth, read_truth
from maskdistill.evaluation.photo_metrics import make_photo_results, read_photo_results
from maskdistill.review import decisions
from maskdistill.review.decisions import Action, Mark, Scope


def test_figures_are_those_of_the_programs_own_code(tmp_path):
    run = generate_run(tmp_path, 480)
    truth = GroundTruth(open_source(str(tmp_path / "data")))
    found, results = read_truth(run), read_photo_results(run)
    made, remade = make_truth(run, truth), make_photo_results(run, truth)
    pd.testing.assert_frame_equal(found.frame.reset_index(drop=True), made.frame.reset_index(drop=True))
    for name in ("counts", "changes"):
        pd.testing.assert_frame_equal(
            getattr(results, name), getattr(remade, name), check_dtype=False, check_categorical=False
        )


def test_later_photos_repeat_what_was_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(generated_run, "COUNTED", 20)
    run = generate_run(tmp_path, 400)
    counts = read_photo_results(run).counts
    assert counts["number"].nunique() == 50
    first, later = (counts[counts["number"] == number].drop(columns="number").to_numpy() for number in (3, 23))
    assert np.array_equal(first, later)
    assert counts.loc[counts["kind"] == "pseudo_labels", "number"].max() == 39  # the last training photo


def test_kept_run_is_used_again_without_decisions(tmp_path):
    run = kept_run(tmp_path, 80)
    made = run.masks_path.stat().st_mtime_ns
    row = run.masks().iloc[0]
    box = tuple(int(row[name]) for name in ("bbox_x", "bbox_y", "bbox_w", "bbox_h"))
    decisions.decide(run, "ann", [Mark(int(row["mask_id"]), row["image_id"], box, Action.REJECT)], scope=Scope.LABELS)
    again = kept_run(tmp_path, 80)
    assert again.masks_path.stat().st_mtime_ns == made
    assert not len(decisions.read_marks(again))
    with pytest.raises(ConfigError, match="holds a run of 80 masks, not of 90"):
        kept_run(tmp_path, 90)
