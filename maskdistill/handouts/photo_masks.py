"""The masks of a photo that the steps from the clusters on work with: those that the run's own stages would make of it.

The first steps show the masks as they are cut, under live settings. A run goes on with what its foreground makes of
them, and may judge single objects.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from maskdistill.config import RunConfig
from maskdistill.proposals.live import LiveProposals
from maskdistill.storage.photo_arrays import ArrayStore
from maskdistill.storage.run_folder import Run


def foreground_chance(run: Run, number: int | None, tokens: np.ndarray, num_blocks: int) -> np.ndarray:
    """(rows, cols) float32 probability of each patch to be foreground, by the heads of a run that has them.

    Args:
        run: The run.
        number: Of the photo in the run, where a head that never saw it has judged it; None for a photo of elsewhere.
        tokens: (rows, cols, D) of the photo, as the run's heads read them.
        num_blocks: How many blocks stand side by side in them.
    """
    from maskdistill.proposals.foreground import ForegroundHeads, patch_vectors

    maps = ArrayStore(run.foreground.maps_path)
    if number is not None and not maps.missing([number]):
        found = np.asarray(maps.read(number)[..., 0], np.float32)
        if found.shape == tokens.shape[:2]:
            return found
    heads = ForegroundHeads.load(run.foreground.heads_path)
    return heads.probability(patch_vectors(tokens, num_blocks)).reshape(tokens.shape[:2])


def corrected_masks(
    config: RunConfig, live: LiveProposals, image: Image.Image, tokens: np.ndarray, chance: np.ndarray, num_blocks: int
) -> tuple[np.ndarray, ...]:
    """The masks after the foreground, each (H, W) bool of the size of ``live``, best first.

    Args:
        config: Settings, those of the proposals and the CRF as on show.
        live: The masks as they are cut.
        image: The photo's copy that they fit.
        tokens: Of ``foreground_chance``, as the others.
        chance: What that gives.
        num_blocks: Blocks in the tokens.
    """
    from maskdistill.proposals.foreground import patch_vectors
    from maskdistill.proposals.foreground_masks import CutMask, Seen, correct_masks

    pools = live.proposals.pool if config.proposals.chooses_from_pool else ()
    vectors = patch_vectors(tokens, num_blocks)
    seen = Seen(chance, vectors, live.view.geometry, image, pools)
    cut = [CutMask(item.mask, item.score, item.parts) for item in live.proposals.proposals if item.number is None]
    return tuple(item.mask for item in correct_masks(cut, seen, config))


def single_objects(
    run: Run,
    config: RunConfig,
    live: LiveProposals,
    image: Image.Image,
    number: int | None,
    tokens: np.ndarray,
    chance: np.ndarray,
    num_blocks: int,
    classes: np.ndarray,
) -> Sequence[dict[str, Any]]:
    """The photo's single objects by the run's heads, as COCO annotations of the size of ``classes``, best first.

    Args:
        run: A run that ``has_instances``.
        config: Its settings.
        live: The photo's candidates.
        image: The photo's copy that they fit.
        number: Of ``foreground_chance``, as the others: the head that did not learn from the photo judges it.
        tokens: Likewise.
        chance: What that gives.
        num_blocks: Blocks in the tokens.
        classes: (K + 1, H, W) probabilities of the first model.
    """
    from maskdistill.models.instance_finder import InstanceFinder, Look, describe_instance

    finder = InstanceFinder.load(run.instances, config.instances, num_blocks)
    fold = None if number is None else finder.folds[number]
    size = (classes.shape[1], classes.shape[2])
    look = Look(tokens, chance, live.proposals.pool, size, image)
    return [describe_instance(item, rank, 0) for rank, item in enumerate(finder.find(look, classes, fold))]
