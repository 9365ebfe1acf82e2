"""The Proposals page of a run whose masks went through the stage ``foreground``."""

import numpy as np
import pytest
from tiny_run import run_chain

from app.proposals import page, run_foreground
from maskdistill.config import RunConfig
from maskdistill.masks import decode_mask
from maskdistill.stages import foreground
from maskdistill.storage.photo_arrays import ArrayStore
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run


@pytest.fixture
def run(whole_run, runs_folder, monkeypatch):
    """A run on eleven of the photos, with its foreground."""
    monkeypatch.setattr(foreground, "FEWEST_PHOTOS", 4)
    info = whole_run.info()
    changes = ["foreground.enabled=true", "foreground.folds=2", "foreground.steps=20", "proposals.num_objects=1"]
    config = RunConfig.from_dict(info["config"]).with_overrides(changes)
    run_chain(runs_folder / "tiny", info["data"], config, wanted=("foreground",), limit=11)
    return Run(runs_folder / "tiny")


@pytest.fixture
def shown(monkeypatch):
    """What the page hands to the photo and to the derivation."""
    seen = {}
    monkeypatch.setattr(page, "photo_view", lambda *_args, more=(), **_options: seen.update(more=more))
    monkeypatch.setattr(
        page, "step_gallery", lambda _photo, _grid, sections, **_options: seen.update(sections=sections)
    )
    return seen


def test_map_and_both_masks_are_shown(open_page, run, shown):
    images = run.images()
    number = len(images) - 1  # of the run, which leaves a photo of the folder out
    app = open_page("proposals", run=run.name, photo=images["id"].iloc[number])
    assert not app.exception
    (view,) = shown["more"]
    assert view.name == run_foreground.TITLE
    assert [layer.name for layer in view.layers] == ["Mask 1", ""]
    assert "Foreground" in {part.name for part in view.layers[0].parts}
    steps = shown["sections"][2].steps
    values = ArrayStore(run.foreground.maps_path).read(number)[..., 0]
    assert steps[0].image.size == values.shape[::-1]
    for path, step in ((run.proposals_path, steps[1]), (run.codes_path, steps[2])):
        best = next(item for item in read_json(path)["annotations"] if item["image_id"] == number)
        np.testing.assert_array_equal(np.asarray(step.image) > 0, decode_mask(best["segmentation"]))
        assert f"{best['score']:.2f}" in step.caption


def test_run_without_it_has_no_such_view(open_page, finished_run, shown):
    app = open_page("proposals", run=finished_run.name)
    assert not app.exception
    assert shown["more"] == ()
    assert len(shown["sections"]) == 2


def test_patch_comes_after_it(open_page, run, shown):
    open_page("proposals", run=run.name, patch="1-1")
    assert [section.title[:2] for section in shown["sections"]] == ["1.", "2.", "3.", "4."]


def test_damaged_map_is_named_and_the_page_stays(open_page, run, shown):
    path = ArrayStore(run.foreground.maps_path).path(0)
    path.write_bytes(b"no array")
    app = open_page("proposals", run=run.name, photo=run.images()["id"].iloc[0])
    assert not app.exception
    assert shown["more"] == ()
    assert any(path.name in item.value for item in [*app.warning, *app.info, *app.error])
