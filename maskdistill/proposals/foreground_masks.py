"""Masks corrected by the foreground that is learnt across photos: cut anew from it, or only scored by it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy import ndimage

from maskdistill.config import RunConfig
from maskdistill.datasets.transforms import PatchGeometry, pixels_to_patches
from maskdistill.masks import mask_iou
from maskdistill.proposals import scoring
from maskdistill.proposals.pixel_masks import map_to_pixels, refine_by_crf, shape_parts
from maskdistill.proposals.pool import Pool
from maskdistill.proposals.pool_masks import choose_masks
from maskdistill.proposals.refinement import finer_map, keep_components, normalise_map, refine_patches

SURE = 0.5  # probability from which a patch is foreground
CUT_WEIGHT = 0.4  # of the cut beside the head's probability, where a patch's side is chosen
RING = 2  # patches around a mask that it is compared with
_MOST = 0.999  # probabilities nearer to 0 and 1 count as this in a logit


@dataclass(frozen=True)
class CutMask:
    """A mask of a photo as it was cut."""

    mask: np.ndarray  # (H, W) bool
    score: float
    parts: Mapping[str, float]  # of its score


@dataclass(frozen=True)
class CorrectedMask:
    """The same mask after the foreground; ``source`` is its place among the cut ones, None where there was none."""

    mask: np.ndarray  # (H, W) bool
    score: float
    parts: Mapping[str, float]
    source: int | None
    recut: bool  # whether its shape is the foreground's
    number: int | None = None  # in the pool; None for what was made from the cut


@dataclass(frozen=True)
class Seen:
    """What is known of a photo when its masks are corrected."""

    probability: np.ndarray  # (rows, cols) float32, of each patch to be foreground
    vectors: np.ndarray = field(repr=False)  # (rows * cols, D) unit vectors of the patches
    geometry: PatchGeometry
    image: Image.Image | None = field(default=None, repr=False)  # at full size for the CRF, at any for the pool
    pools: tuple[Pool, ...] = ()  # candidates of each view, where the masks are chosen from them too


def correct_masks(cut: list[CutMask], seen: Seen, config: RunConfig) -> list[CorrectedMask]:
    """The masks of a photo after the foreground, best score first.

    A photo of one mask gets the foreground's shape, one of several new scores, unless ``foreground.masks`` says which.
    Where the head sees nothing the cut's mask stays. With a pool, the photo's mask stays where the best candidate is
    the same object; else the pool's masks are taken in its place.
    """
    found = _correct(cut, seen, config)
    return _choose(found[0] if found else None, seen, config) if seen.pools else found


def _choose(first: CorrectedMask | None, seen: Seen, config: RunConfig) -> list[CorrectedMask]:
    mask, size = None if first is None else first.mask, (seen.geometry.height, seen.geometry.width)
    choice = choose_masks(mask, seen.pools, seen.probability, seen.image, size, config.proposals)
    kept = [first] if choice.keeps_first and first is not None else []
    for item in choice.masks:
        score = min(item.score, kept[-1].score) if kept else item.score  # the order is that of the products
        kept.append(CorrectedMask(item.mask, score, item.parts, None, recut=False, number=item.number))
    return kept


def _correct(cut: list[CutMask], seen: Seen, config: RunConfig) -> list[CorrectedMask]:
    way = config.foreground.masks
    if way == "recut" or (way == "auto" and len(cut) < 2):
        found = recut(cut[0] if cut else None, seen, config)
        if found is not None:
            rest = [_rescored(place, item, seen) for place, item in enumerate(cut) if place]
            return _ordered([found, *rest])
    return _ordered([_rescored(place, item, seen) for place, item in enumerate(cut)])


def recut(cut: CutMask | None, seen: Seen, config: RunConfig) -> CorrectedMask | None:
    """A photo's mask in the shape of its foreground, smoothed and sorted out as a proposal is; None if it sees none."""
    proposals, crf = config.proposals, config.crf
    if not (seen.probability > SURE).any():
        return None
    values = finer_map(signed_map(cut, seen, proposals.refine_steps > 0), smooth=proposals.interpolates)
    seed = _peak(seen, cut) if proposals.seed_component_only else None
    values = keep_components(values, seed, proposals.min_piece)
    fine = map_to_pixels(values, seen.geometry, smooth=proposals.interpolates)
    mask = fine > 0
    if not mask.any():
        return None
    parts = dict(cut.parts) if cut is not None else {}
    if crf.enabled and seen.image is not None:
        refined, parts["crf_agreement"] = refine_by_crf(fine, seen.image, crf)
        mask = mask if parts["crf_agreement"] < crf.min_agreement else refined
    parts |= shape_parts(values, seen.vectors)
    parts["foreground"] = foreground_part(mask, seen)
    if cut is not None:
        parts["cut_agreement"] = mask_iou(mask, cut.mask)
    return CorrectedMask(mask, scoring.combine(parts), parts, 0 if cut is not None else None, recut=True)


def signed_map(cut: CutMask | None, seen: Seen, refine: bool = True) -> np.ndarray:
    """What head and photo say together of each patch, (rows, cols) float32; positive is foreground.

    The head knows what is foreground on other photos, but not where it ends on this one. So each patch also chooses
    between the mean direction of the foreground here and that of the rest, as when a cut is refined; where head and cut
    disagree, the surer one says which patches these means begin with.

    Args:
        cut: The photo's mask as it was cut.
        seen: The photo.
        refine: Whether the photo has its say, or the head alone.
    """
    bounded = seen.probability.clip(1 - _MOST, _MOST)
    values = normalise_map(np.log(bounded / (1 - bounded)))
    if not refine:
        return values
    shares = seen.probability if cut is None else pixels_to_patches(cut.mask, seen.geometry)
    inside = ((1 - CUT_WEIGHT) * seen.probability + CUT_WEIGHT * shares).ravel() > SURE
    if inside.all() or not inside.any():
        return values
    return values + normalise_map(refine_patches(seen.vectors, inside, ~inside, 1).reshape(values.shape))


def foreground_part(mask: np.ndarray, seen: Seen) -> float:
    """Mean probability of the patches inside minus that of the ring around, as a part of a score in [0, 1].

    Args:
        mask: (H, W) bool.
        seen: The photo's.
    """
    shares = pixels_to_patches(mask, seen.geometry)
    inside = shares > 0.5 if (shares > 0.5).any() else shares >= shares.max()
    ring = ndimage.binary_dilation(inside, iterations=RING) & ~inside & (shares < 0.5)
    around = float(seen.probability[ring].mean()) if ring.any() else 0.0
    return float(np.clip(seen.probability[inside].mean() - around, 0, 1))


def _rescored(place: int, item: CutMask, seen: Seen) -> CorrectedMask:
    parts = {**item.parts, "foreground": foreground_part(item.mask, seen)}
    return CorrectedMask(item.mask, scoring.combine(parts), parts, place, recut=False)


def _ordered(found: list[CorrectedMask]) -> list[CorrectedMask]:
    return sorted(found, key=lambda item: -item.score)


def _peak(seen: Seen, cut: CutMask | None) -> tuple[int, int]:
    """The patch that is most surely foreground, of those the cut took where there are any."""
    weight = seen.probability
    if cut is not None:
        weight = weight * pixels_to_patches(cut.mask, seen.geometry)
    row, col = np.unravel_index(int(weight.argmax()), weight.shape)
    return int(row), int(col)
