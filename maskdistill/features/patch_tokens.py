"""Patch tokens as the segmentation head reads them: of which blocks, side by side in which order, from which photo."""

from pathlib import Path

import numpy as np
from PIL import Image

from maskdistill.config import FeatureConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.datasets.transforms import PatchGeometry, patch_grid
from maskdistill.features.backbone import Backbone, load_backbone
from maskdistill.features.forward import FeatureRequest, Features
from maskdistill.files import write_json
from maskdistill.storage.read_files import MissingFileError, read_json
from maskdistill.storage.token_store import TOKEN_INFO, TokenAxes, TokenStore, as_stored

DECODE_FACTOR = 2  # a photo is decoded at least so many times larger than the network reads it


class FreshTokens:
    """Patch tokens of a photo by a forward pass, as the stage ``proposals`` stores them.

    Args:
        config: Settings.
        backbone: Of these settings, if it is loaded already.
        axes: Of the run whose heads read them, if its tokens are compact.
    """

    def __init__(self, config: FeatureConfig, backbone: Backbone | None = None, axes: TokenAxes | None = None) -> None:
        self._config, self._axes = config, axes
        self.backbone = backbone or load_backbone(config)
        self.blocks = head_blocks(self.backbone, config)

    def __call__(self, photo: Photo) -> tuple[np.ndarray, PatchGeometry]:
        """(rows, cols, D * blocks) float16 and the grid they lie on."""
        image = read_for_network(photo, self.backbone, self._config)
        return self.of_image(image, photo.height, photo.width)

    def of_image(self, image: Image.Image, height: int, width: int) -> tuple[np.ndarray, PatchGeometry]:
        """The same of an RGB picture that stands for a photo of this size in pixels."""
        geometry = self.backbone.geometry(height, width, self._config)
        features = self.backbone.features(image, geometry, FeatureRequest(token_blocks=self.blocks))
        return as_stored(stack_tokens(features, self.blocks), self._axes), geometry


class StoredTokens:
    """Patch tokens of photos from their files, as the stage ``proposals`` stores them; no model is loaded.

    Args:
        folder: Where they lie.
        config: The settings that they were made by.
    """

    def __init__(self, folder: Path, config: FeatureConfig) -> None:
        self.store, self._config = TokenStore(folder), config
        path = folder / TOKEN_INFO
        try:
            info = read_json(path)
        except FileNotFoundError as error:
            raise MissingFileError(path) from error
        self.patch_size, self.blocks = int(info["patch_size"]), tuple(info["blocks"])

    def read(self, number: int, photo: Photo) -> tuple[np.ndarray, PatchGeometry]:
        """(rows, cols, D * blocks) float16 and the grid they lie on, of the photo that has this number there."""
        return self.store.read(number), self.geometry(photo)

    def geometry(self, photo: Photo) -> PatchGeometry:
        """The grid that a photo's tokens lie on."""
        config = self._config
        sizes = {"shorter_side": config.shorter_side, "patch_size": self.patch_size}
        return patch_grid(photo.height, photo.width, **sizes, mode=config.fit)


def head_blocks(backbone: Backbone, config: FeatureConfig) -> tuple[int, ...]:
    """Blocks whose patch tokens feed the segmentation head.

    Raises:
        ConfigError: If a block number is not one of the backbone's.
    """
    blocks = config.head_blocks or backbone.blocks(backbone.spec.head_blocks)
    backbone.check_blocks(blocks)
    return blocks


def read_for_network(photo: Photo, backbone: Backbone, config: FeatureConfig) -> Image.Image:
    """The photo, decoded no larger than a forward pass has use for."""
    side = config.shorter_side or backbone.spec.shorter_side
    return read_photo(photo, min_short_side=DECODE_FACTOR * side)


def stack_tokens(features: Features, blocks: tuple[int, ...]) -> np.ndarray:
    """(rows, cols, D * blocks) float32 patch tokens of several blocks, side by side."""
    stacked = np.concatenate([features.patch_tokens[block].numpy() for block in blocks], axis=1)
    return stacked.reshape(*features.grid, -1)


def write_token_info(folder: Path, backbone: Backbone, blocks: tuple[int, ...]) -> None:
    """Say beside the tokens what they are, so that a reader needs no model."""
    write_json(folder / TOKEN_INFO, {"patch_size": backbone.patch_size, "blocks": list(blocks)})
