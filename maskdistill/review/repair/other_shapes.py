"""Other shapes that a photo holds where a mask is: to be taken in its place."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from maskdistill.masks import mask_iou
from maskdistill.proposals.pool import Pool, common_grid, shapes_on, suppress
from maskdistill.proposals.pool_masks import find_view, score_views, sharpen
from maskdistill.proposals.refinement import resize_map
from maskdistill.proposals.tree import pairwise_iou
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.mask_tables import has_masks
from maskdistill.storage.photo_arrays import ArrayStore, PoolStore
from maskdistill.storage.run_folder import FINAL_KINDS, Run

Origin = Literal["mask", "cut", "pool", "second_view", "other_tau", "stage1", "prediction", "instance"]
Shape = tuple[Origin, np.ndarray]  # (H, W) bool

MOST = 9  # as many as there are digits
SAME = 0.95  # IoU from which two shapes are one
LEAST = 0.2  # IoU with the mask, for a shape to be one of the same object
POOL_SAME = 0.8  # the same as ``SAME`` among the candidates of the pool, which are many
_POOL = 6  # candidates of the pool at most


@dataclass(frozen=True, eq=False)
class Alternative:
    """Another shape, and who made it."""

    mask: np.ndarray  # (H, W) bool
    origin: Origin  # another mask of the photo, one as it was cut, a candidate of the pool, ...
    overlap: float  # IoU with the mask that it would replace; 0 where there is none


def alternatives(
    run: Run,
    number: int,
    mask: np.ndarray,
    image: Image.Image | None = None,
    limit: int = MOST,
    *,
    more: Iterable[Shape] = (),
) -> list[Alternative]:
    """What a run holds of a photo at the place of a mask, most like the mask first.

    The masks of the photo that count, those as cut, what the first model draws, the final prediction's region, the
    single objects, and the candidates of the repeated cuts in both views; those that the run has.

    Args:
        run: The run.
        number: Of the photo.
        mask: (H, W) bool, at the photo's size.
        image: The photo, whose edges the candidates follow, at any size; None leaves them interpolated.
        limit: Alternatives at most.
        more: Other shapes, as those of ``other_cuts``; where there is room, they come behind.

    Raises:
        RunError: If a file of the run is damaged.
    """
    return rank_alternatives(mask, _shapes(run, number, mask, image), limit, behind=more)


def rank_alternatives(
    mask: np.ndarray, shapes: Iterable[Shape], limit: int = MOST, *, behind: Iterable[Shape] = ()
) -> list[Alternative]:
    """Shapes of the object that a mask is of, most like the mask first, without doubles.

    Args:
        mask: (H, W) bool.
        shapes: Origin and (H, W) bool of each; of two that are the same the first stays.
        limit: Alternatives at most.
        behind: Further ones, which come after all these.
    """
    first = _distinct(mask, shapes, ())
    return [*first, *_distinct(mask, behind, first)][:limit]


def _distinct(mask: np.ndarray, shapes: Iterable[Shape], known: Sequence[Alternative]) -> list[Alternative]:
    """Those that are of the object, are not the mask itself and not known, most like the mask first."""
    found: list[Alternative] = []
    for origin, shape in shapes:
        overlap = mask_iou(mask, shape)
        if LEAST <= overlap < SAME and all(mask_iou(shape, other.mask) < SAME for other in (*known, *found)):
            found.append(Alternative(shape, origin, overlap))
    return sorted(found, key=lambda item: -item.overlap)


def _shapes(run: Run, number: int, mask: np.ndarray, image: Image.Image | None) -> Iterator[Shape]:
    files: tuple[tuple[Origin, Path], ...] = (
        ("mask", run.codes_path),
        ("cut", run.proposals_path),
        ("stage1", run.candidate_masks_path),
        ("instance", run.instances.codes_path),
    )
    for origin, path in files:
        if has_masks(path):
            codes = MaskCodes.of_file(path)
            ids = codes.ids[codes.images == number].tolist()
            yield from ((origin, codes.decode(mask_id)) for mask_id in ids if _boxes_meet(codes.box(mask_id), mask))
    for kind in ("stage1", FINAL_KINDS):
        shape = _predicted(run, (kind,) if isinstance(kind, str) else kind, number, mask)
        if shape is not None:
            yield "stage1" if kind == "stage1" else "prediction", shape
    yield from _of_pool(run, number, mask, image)


def _boxes_meet(box: tuple[int, int, int, int], mask: np.ndarray) -> bool:
    x, y, width, height = box
    return bool(mask[y : y + height, x : x + width].any())


def _predicted(run: Run, kinds: Sequence[str], number: int, mask: np.ndarray) -> np.ndarray | None:
    """The connected region of one class of the first label map that there is, which the mask overlaps best."""
    path = next((path for kind in kinds if (path := run.prediction(kind, number)).is_file()), None)
    if path is None:
        return None
    labels = read_label_png(path)
    if labels.shape != mask.shape:
        return None
    inside = np.bincount(labels[mask], minlength=256)
    inside[[0, 255]] = 0
    if not inside.any():
        return None
    parts, _ = ndimage.label(labels == inside.argmax())
    touched = [part for part in np.unique(parts[mask]) if part]
    return max((parts == part for part in touched), key=lambda part: mask_iou(part, mask))


def _of_pool(run: Run, number: int, mask: np.ndarray, image: Image.Image | None) -> list[Shape]:
    """The candidates most like the mask, no two of them nearly the same."""
    store = PoolStore(run.pool)
    if not store.path(number).is_file():
        return []
    pools = [Pool.from_arrays(arrays) for arrays in store.read(number)]
    grid = common_grid(pools[0])
    shapes = np.concatenate([shapes_on(pool, grid) for pool in pools])
    small = resize_map(mask.astype(np.float32), *grid) > 0.5
    overlaps = pairwise_iou(shapes, small[None])[:, 0] if len(shapes) else np.zeros(0, np.float32)
    overlaps[overlaps < LEAST] = 0
    maps = ArrayStore(run.foreground.maps_path)
    known = np.asarray(maps.read(number)[..., 0], np.float32) if maps.path(number).is_file() else None
    worth = overlaps * np.sqrt(np.concatenate(score_views(pools, known)).clip(0, 1))
    best = np.argsort(-worth, kind="stable")[: 10 * _POOL]  # enough to choose from
    kept = best[suppress(pairwise_iou(shapes[best], shapes[best]), worth[best], POOL_SAME, _POOL)]
    size = (mask.shape[0], mask.shape[1])
    found = sharpen(kept.tolist(), pools, known, image, size)
    return [("second_view" if find_view(pools, item.number)[0] else "pool", item.mask) for item in found]
