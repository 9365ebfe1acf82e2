"""The masks of a photo from the clusters on are those that the run's own stages made of it."""

import numpy as np
import pytest
from tiny_run import draw_voc, run_chain, tiny_config

from app.guide.photo_results import PhotoOnRun, read_trained
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run

ON = (
    *("foreground.enabled=true", "foreground.folds=2", "foreground.steps=20", "foreground.dimensions=8"),
    *("instances.enabled=on", "instances.composites=3", "instances.epochs=1", "proposals.pool=on"),
    *("proposals.pool_depth=3", "proposals.num_objects=1", "candidates.objects=auto"),
    *("stage1.epochs=2", "stage2.epochs=1"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with foreground and single objects up to its final model, to look at only."""
    folder = tmp_path_factory.mktemp("objects")
    run_chain(folder / "run", draw_voc(folder / "voc"), tiny_config(folder).with_overrides(ON), wanted=("stage2",))
    return Run(folder / "run")


def on_run(run, number):
    trained = read_trained(run)
    config = trained.config
    return PhotoOnRun(trained, trained.masks.photos[number], config.proposals, config.crf)


def test_masks_are_those_after_the_foreground(run):
    changed, codes, cut = 0, MaskCodes.open(run), MaskCodes.open(run, "proposals")
    for number in range(len(run.images())):
        found = on_run(run, number).masks
        own = [mask_id for mask_id in codes.ids if mask_id // MASKS_PER_PHOTO == number]
        assert len(found) == len(own)
        for mask, mask_id in zip(found, own, strict=True):
            np.testing.assert_array_equal(mask, codes.decode(mask_id))
            changed += mask_id in cut and codes.code(mask_id) != cut.code(mask_id)
    assert changed


def test_candidates_are_the_single_objects_that_the_run_judged(run):
    table, drawn = run.candidates(), MaskCodes.open(run, "candidates")
    for number in sorted(set(table["image"])):
        seen = on_run(run, number).predicted_masks()
        wanted = table[table["image"] == number]
        np.testing.assert_allclose([item.score for item in seen], wanted["score"], atol=1e-4)
        np.testing.assert_allclose([item.object_score for item in seen], wanted["object_score"], atol=1e-4)
        for item, mask_id in zip(seen, wanted["mask_id"], strict=True):
            np.testing.assert_array_equal(item.mask, drawn.decode(mask_id))
