"""The segmentation models of both stages, behind one small interface. Importing this loads no torch."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np

from maskdistill.datasets import Photo


class Predictor(Protocol):
    """A trained model, ready to label photos."""

    num_classes: int  # K, background not counted

    def probabilities(self, photo: Photo) -> np.ndarray:
        """(K + 1, height, width) float32 at the photo's size, background first; each pixel sums to 1."""
        ...


class Candidate(NamedTuple):
    """One object that a model finds in a photo."""

    mask: np.ndarray  # (H, W) bool at the photo's size
    label: int  # 1 to K
    score: float  # [0, 1]


def paint_probabilities(candidates: Iterable[Candidate], num_classes: int, height: int, width: int) -> np.ndarray:
    """Scores of the topmost candidate of each pixel as probabilities.

    Returns:
        (num_classes + 1, height, width) float32: the candidate's class has its score, the background the rest, so
        that argmax leaves out what scores below a half.
    """
    probabilities = np.zeros((num_classes + 1, height, width), np.float32)
    probabilities[0] = 1
    for candidate in sorted(candidates, key=lambda item: item.score):
        probabilities[:, candidate.mask] = 0
        probabilities[candidate.label, candidate.mask] = candidate.score
        probabilities[0, candidate.mask] = 1 - candidate.score
    return probabilities
