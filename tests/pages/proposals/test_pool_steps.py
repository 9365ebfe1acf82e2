"""The pool of candidates in the derivation: without a run, and of a run whose masks were chosen from it."""

import math

import numpy as np
import pytest
from tiny_run import run_chain

from app.proposals import page
from maskdistill.config import RunConfig
from maskdistill.proposals.scoring import PART_NAMES
from maskdistill.stages import foreground
from maskdistill.storage.run_folder import Run


@pytest.fixture
def shown(monkeypatch):
    """The sections that the page hands to the derivation."""
    seen = {}
    monkeypatch.setattr(
        page, "step_gallery", lambda _photo, _grid, sections, **_options: seen.update(sections=sections)
    )
    return seen


def pool_of(shown):
    return next(section for section in shown["sections"] if section.steps and section.steps[0].title.startswith("Pool"))


def factors(step):
    """Score and factors that a caption names."""
    score, _, product = step.caption.removeprefix("Score ").partition(" = ")
    return float(score), [float(factor.split()[-1].rstrip(".")) for factor in product.split(" × ")]


def test_best_candidates_are_ranked_and_their_scores_explained(open_proposals, shown):
    assert not open_proposals("proposals.num_objects=auto").exception
    section = pool_of(shown)
    candidates = section.steps[1:]
    assert candidates
    scores = [factors(step)[0] for step in candidates]
    assert scores == sorted(scores, reverse=True)
    for step in candidates:
        score, values = factors(step)
        assert score == pytest.approx(math.prod(values), abs=0.02)
        assert np.asarray(step.image).any()
    assert np.asarray(section.steps[0].image).max() == len(candidates)


def test_no_pool_no_section(open_proposals, shown):
    open_proposals("proposals.num_objects=2")
    assert not any("Pool" in step.title for section in shown["sections"] for step in section.steps)


def test_run_scores_them_by_its_foreground(open_page, whole_run, runs_folder, monkeypatch, shown):
    monkeypatch.setattr(foreground, "FEWEST_PHOTOS", 4)
    info = whole_run.info()
    changes = ["foreground.enabled=true", "foreground.folds=2", "foreground.steps=20", "proposals.num_objects=auto"]
    config = RunConfig.from_dict(info["config"]).with_overrides(changes)
    run_chain(runs_folder / "tiny", info["data"], config, wanted=("foreground",), limit=11)
    run = Run(runs_folder / "tiny")
    table = run.masks()
    photo = table.loc[table["pool"] >= 0, "image_id"].iloc[0]
    assert not open_page("proposals", run=run.name, photo=photo).exception
    section = pool_of(shown)
    assert all(PART_NAMES["pool_inside"].lower() in step.caption for step in section.steps[1:])
    taken = [step.title for step in section.steps[1:] if "mask" in step.title]
    assert len(taken) == ((table["image_id"] == photo) & (table["pool"] >= 0)).sum()
