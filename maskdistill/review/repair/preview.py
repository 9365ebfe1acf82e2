"""What a browser needs to show beforehand what a click would do: which patches are alike, a byte for each pair.

The preview is coarser than ``Mender.mend``: whole cells, no colours. It needs no answer from the server, so that it
follows the pointer at once.
"""

from dataclasses import dataclass, field

import numpy as np

from maskdistill.errors import ShapeError
from maskdistill.review.repair.likeness import TAU
from maskdistill.review.repair.mender import LEAST_WAY, NOISE, REACH_IN_WAYS

MOST_CELLS = 1000  # of the preview's grid: it takes their square in bytes, and a good deal less as a PNG


@dataclass(frozen=True, eq=False)
class Preview:
    """The likeness of all pairs of cells, and the constants of the Gaussian process.

    A click on cell c asks of cell x ``values[c, x] / 255 * exp(-d**2 / (2 * (reach * way)**2))`` of the change at c.
    There d is their distance, and way that of c to the nearest cell on the other side of the mask's border, at least
    ``least_way`` shorter sides.
    """

    rows: int
    cols: int
    values: np.ndarray = field(repr=False)  # (rows * cols, rows * cols) uint8, 255 for cells that are equal
    reach: float = REACH_IN_WAYS
    least_way: float = LEAST_WAY
    noise: float = NOISE


def make_preview(
    tokens: np.ndarray, content: tuple[float, float] = (1.0, 1.0), most_cells: int = MOST_CELLS
) -> Preview:
    """Compare the patches of a photo, several in one cell where there are many.

    Args:
        tokens: (rows, cols, C) floats, patch tokens of the frozen transformer's last block.
        content: Share of the rows and of the cols that is no padding.
        most_cells: Of the preview's grid.

    Raises:
        ShapeError: If ``tokens`` has another shape.
    """
    if tokens.ndim != 3 or not tokens.size:
        raise ShapeError("tokens", "(rows, cols, C)", tokens.shape)
    rows, cols = (max(1, round(side * share)) for side, share in zip(tokens.shape[:2], content, strict=True))
    step = 1
    while -(-rows // step) * -(-cols // step) > most_cells:
        step += 1
    vectors = _merge(np.asarray(tokens[:rows, :cols], np.float32), step)
    flat = vectors.reshape(-1, vectors.shape[2])
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    values = np.exp((np.minimum(flat @ flat.T, 1) - 1) / TAU)
    return Preview(vectors.shape[0], vectors.shape[1], np.round(255 * values).astype(np.uint8))


def _merge(vectors: np.ndarray, step: int) -> np.ndarray:
    """The means of squares of patches; the last row and column may be of fewer."""
    if step == 1:
        return vectors
    starts = [np.arange(0, side, step) for side in vectors.shape[:2]]
    sums = np.add.reduceat(np.add.reduceat(vectors, starts[0], axis=0), starts[1], axis=1)
    counts = [np.diff([*start, side]) for start, side in zip(starts, vectors.shape[:2], strict=True)]
    return sums / (counts[0][:, None, None] * counts[1][None, :, None])
