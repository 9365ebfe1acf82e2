"""What one process does for the stage ``instances``: make composites, find the objects of photos."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.datasets.transforms import pixels_to_patches
from maskdistill.features.patch_tokens import FreshTokens, StoredTokens
from maskdistill.masks import decode_mask
from maskdistill.models.composites import Cutout, compose, cut_out
from maskdistill.models.instance_finder import GUIDE_SIDE, InstanceFinder, Look, describe_instance
from maskdistill.models.instance_head import FEWEST_PATCHES, InstanceHead
from maskdistill.models.instances import read_pools
from maskdistill.models.predictor import load_model
from maskdistill.proposals.foreground import ForegroundHeads, patch_vectors
from maskdistill.stages.photo_failures import PHOTO_ERRORS, describe_failure
from maskdistill.stages.tasks import PhotoResult
from maskdistill.storage.photo_arrays import ArrayStore, PoolStore, VectorStore
from maskdistill.storage.run_folder import INSTANCES_PER_PHOTO, Run
from maskdistill.storage.token_store import run_axes

STAGE1 = "stage1"
COMPOSITE_SIDE = 480  # pixels, shorter side of a composite


class CompositeWorker:
    """Makes one photo of others, and writes what the head learns from it."""

    def __init__(self, run: Path, config: RunConfig) -> None:
        axes = run_axes(Run(run), config.features)
        self._fresh, self._seed = FreshTokens(config.features, axes=axes), config.seed
        self._foreground = ForegroundHeads.load(Run(run).foreground.heads_path)
        folders = [Run(run).instances.head(head) for head in range(config.instances.folds)]
        self._heads = [InstanceHead.load(folder.start_path) for folder in folders]
        self._stores = [VectorStore(folder.composites_path) for folder in folders]

    def __call__(self, number: int, head: int, background: Photo, objects: list[tuple[Photo, dict[str, Any]]]) -> bool:
        """Make a composite; whether that could be done.

        Args:
            number: Of the composite.
            head: That learns from it.
            background: The photo that objects are pasted into.
            objects: The photo of each, and its mask there.
        """
        try:
            cutouts = [cutout for photo, code in objects if (cutout := self._cut_out(photo, code)) is not None]
            if not cutouts:
                return False
            picture, masks = compose(_small(background), cutouts, np.random.default_rng((self._seed, number, 1)))
            tokens, geometry = self._fresh.of_image(Image.fromarray(picture), *picture.shape[:2])
        except PHOTO_ERRORS as error:
            describe_failure(background, error)
            return False
        self._write(number, head, tokens, [pixels_to_patches(mask, geometry) for mask in masks])
        return True

    def _cut_out(self, photo: Photo, code: dict[str, Any]) -> Cutout | None:
        pixels = _small(photo)
        mask = Image.fromarray(decode_mask(code)).resize(pixels.shape[1::-1], Image.Resampling.NEAREST)
        return cut_out(pixels, np.asarray(mask))

    def _write(self, number: int, head: int, tokens: np.ndarray, masks: list[np.ndarray]) -> None:
        grid = tokens.shape[:2]
        vectors = patch_vectors(tokens, len(self._fresh.blocks))
        probability = self._foreground.probability(vectors).reshape(grid)
        points = self._heads[head].points_of(vectors, probability)
        seen = [mask.ravel() for mask in masks if np.count_nonzero(mask > 0.5) >= FEWEST_PATCHES]
        arrays = {
            "points": points.reshape(len(vectors), -1),
            "masks": np.array(seen, np.float32).reshape(-1, len(vectors)),
            "grid": np.array([grid]),
        }
        self._stores[head].write(number, arrays)


class InstanceWorker:
    """Finds the objects of one photo after the other."""

    def __init__(self, run: Path, config: RunConfig, tokens: Path) -> None:
        self._run, self._config = Run(run), config
        self._tokens, self._maps = StoredTokens(tokens, config.features), ArrayStore(self._run.foreground.maps_path)
        self._pools = PoolStore(self._run.pool)
        self._finder = InstanceFinder.load(self._run.instances, config.instances, len(self._tokens.blocks))
        self._number = 0  # of the photo at hand
        self._classes = load_model(self._run, STAGE1, lambda photo: self._tokens.read(self._number, photo))

    def __call__(self, number: int, photo: Photo, fold: int | None) -> PhotoResult:
        """The objects of one photo; whatever is wrong with it is returned, not raised.

        Args:
            number: Of the photo in the run.
            photo: The photo.
            fold: The head that did not learn from it; None where none did.
        """
        self._number = number
        try:
            look = Look(
                self._tokens.store.read(number),
                self._maps.read(number)[..., 0].astype(np.float32),
                read_pools(self._pools, number),
                (photo.height, photo.width),
                read_photo(photo, min_short_side=GUIDE_SIDE),
            )
            found = self._finder.find(look, self._classes.probabilities(photo), fold)
        except PHOTO_ERRORS as error:
            return PhotoResult(number, error=describe_failure(photo, error))
        first = number * INSTANCES_PER_PHOTO
        return PhotoResult(number, [describe_instance(item, first + rank, number) for rank, item in enumerate(found)])


def _small(photo: Photo) -> np.ndarray:
    """(H, W, 3) uint8 of a photo, its shorter side at most ``COMPOSITE_SIDE``."""
    image = read_photo(photo, min_short_side=COMPOSITE_SIDE)
    scale = COMPOSITE_SIDE / min(image.size)
    if scale < 1:
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    return np.asarray(image)
