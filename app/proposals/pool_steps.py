"""The pool of the photo on show: its best candidates as pictures, and what the score of each is made of."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from app.proposals.run_foreground import RunForeground
from app.proposals.step_gallery import Section
from maskdistill.machine import one_thread
from maskdistill.pictures import drawing
from maskdistill.pictures.colors import mask_color
from maskdistill.pictures.derivation import DerivationStep
from maskdistill.proposals.live import LiveProposals
from maskdistill.proposals.pool import Pool, describe_pool, onto, suppress
from maskdistill.proposals.pool_masks import find_view, score_views, spread_over_views
from maskdistill.proposals.scoring import PART_NAMES
from maskdistill.proposals.tree import pairwise_iou

SHOWN = 8  # candidates, each with a picture of its own
_SIDE = 320  # pixels, longest side of a picture
_MOST_OVERLAP = 0.5  # IoU of two candidates that are both shown


@dataclass(frozen=True)
class _Candidate:
    shape: np.ndarray  # (h, w) bool
    score: float
    parts: dict[str, float]
    mask: int | None  # the rank of the mask that it became


def pool_section(live: LiveProposals, found: RunForeground | None, number: int) -> Section | None:
    """The pool as a section of the derivation; None where there is none.

    Args:
        live: What is on show.
        found: The run's foreground, by which the candidates are scored; None scores them without.
        number: Of the section.
    """
    pools = live.proposals.pool
    if not sum(map(len, pools)):
        return None
    probability = None if found is None else found.probability
    taken = _taken(live) if found is None else {item.pool: rank for rank, item in enumerate(found.after)}
    best = _best(live, pools, probability, taken)
    text = (
        f"{sum(map(len, pools))} candidates of every size: each side of a cut is cut again, in "
        f"{'both views' if len(pools) > 1 else 'one view'} of the photo. The score of a candidate is the product of "
        "the numbers below it. The mask of the cut stays where the best candidate is the same object; further "
        "candidates are taken that come near the best and lie mostly outside of what is taken."
    )
    steps = [_outlines(best, sum(map(len, pools))), *(_step(rank, item) for rank, item in enumerate(best))]
    return Section(f"{number}. The pool of candidates", text, steps, min_width=150)


def _taken(live: LiveProposals) -> dict[int, int]:
    masks = enumerate(live.proposals.proposals)
    return {item.number: rank for rank, item in masks if item.number is not None}


def _best(
    live: LiveProposals, pools: tuple[Pool, ...], probability: np.ndarray | None, taken: dict[int, int]
) -> list[_Candidate]:
    """The best candidates that are not nearly the same; those that were taken in any case."""
    size = (live.view.geometry.height, live.view.geometry.width)
    height, width = (max(1, round(side * _SIDE / max(size))) for side in size)
    scores = np.concatenate(score_views(pools, probability))
    parts = [describe_pool(*item) for item in zip(pools, spread_over_views(pools, probability), strict=True)]
    order = np.argsort(-scores, kind="stable")[: 6 * SHOWN].tolist()
    order = sorted({*order, *(number for number in taken if 0 <= number < len(scores))}, key=lambda n: -scores[n])
    places = [find_view(pools, number) for number in order]
    shapes = np.array([onto(pools[v].values[n], pools[v].content, (height, width)) > 0 for v, n in places])
    with one_thread():  # two wait for each other longer than one takes, where something else is at work
        overlaps = pairwise_iou(shapes, shapes)
    kept = suppress(overlaps, scores[order], _MOST_OVERLAP, SHOWN)
    found = []
    for place in kept:
        view, row = places[place]
        values = {name: float(item[row]) for name, item in parts[view].items()}
        found.append(_Candidate(shapes[place], float(scores[order[place]]), values, taken.get(order[place])))
    return found


def _outlines(best: list[_Candidate], count: int) -> DerivationStep:
    index = np.zeros(best[0].shape.shape, np.uint8) if best else np.zeros((1, 1), np.uint8)
    for rank in reversed(range(len(best))):
        index[drawing.outline(best[rank].shape, 2)] = rank + 1
    caption = f"Outlines of the {len(best)} best that are not nearly the same."
    image = drawing.label_layer(Image.fromarray(index))
    return DerivationStep(f"Pool: {count} candidates", caption, image, on_patches=False)


def _step(rank: int, item: _Candidate) -> DerivationStep:
    factors = " × ".join(f"{PART_NAMES[name].lower()} {value:.2f}" for name, value in item.parts.items())
    became = "not taken" if item.mask is None else f"mask {item.mask + 1}"
    caption = f"Score {item.score:.3f} = {factors}."
    image = drawing.mask_layer(item.shape, mask_color(rank))
    return DerivationStep(f"{rank + 1}: {became}", caption, image, on_patches=False)
