"""One object, one class: what a model says of a connected piece of foreground as a whole settles its pixels."""

from typing import Self

import numpy as np
from scipy import ndimage

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo
from maskdistill.models import Predictor
from maskdistill.storage.run_folder import Run

POWER = 2  # of the piece's mean probabilities
MOST_MIXED = 0.2  # share of the photos with masks of several classes, up to which a piece is taken for one object


class ObjectPriorPredictor:
    """A model whose probabilities go through ``apply_object_prior``; satisfies ``Predictor``."""

    def __init__(self, model: Predictor) -> None:
        self._model, self.num_classes = model, model.num_classes

    @classmethod
    def where_wanted(cls, model: Predictor, run: Run, config: RunConfig) -> Predictor | Self:
        """The model with the prior where the settings and the run's masks say so, else as it is."""
        return cls(model) if wants_object_prior(run, config) else model

    def probabilities(self, photo: Photo) -> np.ndarray:
        """(K + 1, height, width) float32 at the photo's size, background first."""
        return apply_object_prior(self._model.probabilities(photo))


def apply_object_prior(probabilities: np.ndarray) -> np.ndarray:
    """In each 4-connected piece of predicted foreground, whatever its classes, weigh the classes by their mean there.

    Each pixel's class probabilities are multiplied by the squares of their means over the piece, and scaled so that
    they sum to what they did: foreground stays foreground.

    Args:
        probabilities: (K + 1, H, W), background first; each pixel sums to 1.

    Returns:
        (K + 1, H, W) float32.
    """
    pieces, count = ndimage.label(probabilities.argmax(axis=0) > 0)
    if not count:
        return probabilities
    inside = np.flatnonzero(pieces)
    piece = pieces.ravel()[inside] - 1
    classes = probabilities.reshape(len(probabilities), -1)[1:, inside]  # (K, pixels)
    sums = np.stack([np.bincount(piece, weights=values, minlength=count) for values in classes])
    prior = ((sums / sums.sum(axis=0)) ** POWER).astype(np.float32)
    weighed = classes * prior[:, piece]
    weighed *= classes.sum(axis=0) / weighed.sum(axis=0)
    result = np.array(probabilities, np.float32)
    result.reshape(len(result), -1)[1:, inside] = weighed
    return result


def wants_object_prior(run: Run, config: RunConfig) -> bool:
    """What ``predictions.object_prior`` says; "auto" goes by the share of photos whose masks are of several classes.

    Where photos show several objects, a piece may hold more than one of them. No label is read.
    """
    wanted = config.predictions.object_prior
    return wanted == "always" or (wanted == "auto" and share_of_mixed_photos(run) <= MOST_MIXED)


def share_of_mixed_photos(run: Run) -> float:
    """Share of the photos with a mask whose masks are in more than one class, [0, 1]; 0 without any."""
    table = run.classes()
    kinds = table.groupby(run.photo_of(table["mask_id"].to_numpy()))["cluster"].nunique()
    return float((kinds > 1).mean()) if len(kinds) else 0.0
