"""What belongs to a click: how like it each point of a photo is in patch tokens and colour, and how near."""

from functools import lru_cache

import numpy as np
from PIL import Image
from skimage.color import rgb2lab

from maskdistill.errors import ShapeError
from maskdistill.review.repair.clicks import Size, pixel_at

CELLS = 40_000  # of the working grid at most; a smaller photo has its pixels for cells
TAU = 0.7  # 1 - cosine of two tokens at which likeness has fallen to 1 / e
COLOUR = 100.0  # the same of the distance of two colours in CIE Lab
MOST_MARGIN = 2.0  # of a signed map of mean absolute value 1, beyond which a cell is no surer
_LAST = 8  # clicks whose likeness is remembered


class PhotoLikeness:
    """One photo on its working grid, whose cells are compared.

    Args:
        tokens: (rows, cols, C) floats, patch tokens of the frozen transformer's last block.
        photo: (H, W, 3) uint8 RGB, upright.
        content: Share of the rows and of the cols that is no padding.

    Raises:
        ShapeError: If one has another shape.
    """

    def __init__(self, tokens: np.ndarray, photo: np.ndarray, content: tuple[float, float]) -> None:
        if tokens.ndim != 3 or not tokens.size:
            raise ShapeError("tokens", "(rows, cols, C)", tokens.shape)
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
            raise ShapeError("photo", "(H, W, 3), of type uint8", (*photo.shape, str(photo.dtype)))
        self.size: Size = (photo.shape[0], photo.shape[1])
        scale = min(1.0, (CELLS / (self.size[0] * self.size[1])) ** 0.5)
        self.grid: Size = (max(1, round(self.size[0] * scale)), max(1, round(self.size[1] * scale)))
        rows, cols = (max(1, round(side * share)) for side, share in zip(tokens.shape[:2], content, strict=True))
        self.tokens = _unit(np.asarray(tokens[:rows, :cols], np.float32))  # (rows, cols, C)
        small = Image.fromarray(photo).resize(self.grid[::-1], Image.Resampling.BOX)
        self._colours = rgb2lab(np.asarray(small)).astype(np.float32)
        self.log_likeness = lru_cache(_LAST)(self._log_likeness)

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """(row, col) of the cell under a point of the photo in pixels."""
        row, col = pixel_at(x, y, self.size)
        return row * self.grid[0] // self.size[0], col * self.grid[1] // self.size[1]

    def _log_likeness(self, cell: tuple[int, int]) -> np.ndarray:
        """How like a cell all others are, (h, w) float32: 0 for its equals, below 0 for others."""
        cosines = _resize(self.tokens @ self._token_at(cell), self.grid)
        colours = np.sqrt(((self._colours - self._colours[cell]) ** 2).sum(axis=-1))
        found = (np.minimum(cosines, 1) - 1) / TAU - colours / COLOUR
        found.flags.writeable = False  # it is remembered
        return found

    def squared_distance(self, cell: tuple[int, int]) -> np.ndarray:
        """(h, w) float32, in cells."""
        rows, cols = (np.arange(side, dtype=np.float32) - place for side, place in zip(self.grid, cell, strict=True))
        return rows[:, None] ** 2 + cols[None] ** 2

    def margin(self, mask: np.ndarray) -> np.ndarray:
        """Whether the tokens are nearer to the mean direction of a mask or to that of the rest.

        Args:
            mask: (H, W) bool.

        Returns:
            (h, w) float32 on the working grid, positive for the mask, mean absolute value about 1; 0 everywhere where
            the mask is empty or the whole photo.
        """
        shares = _resize(mask, self.tokens.shape[:2], Image.Resampling.BOX)[..., None]
        if not (shares > 0).any() or not (shares < 1).any():
            return np.zeros(self.grid, np.float32)
        inside, outside = (_unit((self.tokens * part).sum(axis=(0, 1))) for part in (shares, 1 - shares))
        margin = self.tokens @ (inside - outside)
        margin = margin / max(float(np.abs(margin).mean()), 1e-6)
        return np.clip(_resize(margin, self.grid), -MOST_MARGIN, MOST_MARGIN)

    def to_grid(self, mask: np.ndarray) -> np.ndarray:
        """A mask as a signed map of the cells, (h, w) float32 from -1 outside to 1 inside."""
        return 2 * _resize(mask, self.grid, Image.Resampling.BOX) - 1

    def to_pixels(self, values: np.ndarray) -> np.ndarray:
        """A map of the cells at the photo's size, (H, W) float32."""
        return _resize(values, self.size)

    def _token_at(self, cell: tuple[int, int]) -> np.ndarray:
        """The unit token at the middle of a cell, between those of the four patches around it."""
        rows, cols = self.tokens.shape[:2]
        row, col = (
            (place + 0.5) * side / of - 0.5 for place, side, of in zip(cell, (rows, cols), self.grid, strict=True)
        )
        total = np.zeros(self.tokens.shape[2], np.float32)
        for r in (int(np.floor(row)), int(np.floor(row)) + 1):
            for c in (int(np.floor(col)), int(np.floor(col)) + 1):
                weight = (1 - abs(row - r)) * (1 - abs(col - c))
                total += np.float32(weight) * self.tokens[min(max(r, 0), rows - 1), min(max(c, 0), cols - 1)]
        return _unit(total)


def _resize(values: np.ndarray, size: tuple[int, ...], how: Image.Resampling = Image.Resampling.BICUBIC) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((size[1], size[0]), how))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
