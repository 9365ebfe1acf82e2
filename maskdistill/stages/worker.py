"""What one process does with one photo: read, extract features, propose, encode, write the thumbnails."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskdistill.clustering.mask_embeddings import embed_masks
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.features.backbone import load_backbone
from maskdistill.features.patch_tokens import FreshTokens, head_blocks, read_for_network, stack_tokens, write_token_info
from maskdistill.masks import decode_mask, describe_mask
from maskdistill.proposals.propose import Proposal, Recipe, extract_views, find_pool, propose_from_views
from maskdistill.proposals.thumbnails import write_thumbnail
from maskdistill.stages.photo_failures import PHOTO_ERRORS, describe_failure, is_missed
from maskdistill.stages.tasks import PhotoResult
from maskdistill.storage.photo_arrays import ArrayStore, PoolStore, VectorStore
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, thumbnail_in
from maskdistill.storage.token_store import TokenStore

SAMPLE_PATCHES = 480  # of a photo, of as many as its grid has


class PhotoWorker:
    """A loaded backbone and the settings, applied to one photo after the other."""

    def __init__(
        self, run: Path, config: RunConfig, thumbs: Path, pool: Path | None = None, tokens: Path | None = None
    ) -> None:
        self._thumbs, self._config = thumbs, config
        self._pool = None if pool is None else PoolStore(pool)
        self._backbone = load_backbone(config.features)
        self._recipe = Recipe.resolve(config.proposals, config.crf, self._backbone)
        self._tokens = None if tokens is None else TokenStore(tokens)
        self._blocks = head_blocks(self._backbone, config.features)
        if tokens is not None:
            write_token_info(tokens, self._backbone, self._blocks)

    def __call__(self, number: int, photo: Photo) -> PhotoResult:
        """Masks of one photo; whatever is wrong with it is returned, not raised."""
        try:
            image = self._read(photo)
            return self._propose(number, photo, image)
        except PHOTO_ERRORS as error:
            return PhotoResult(number, error=describe_failure(photo, error), missed=is_missed(photo, error))

    def _read(self, photo: Photo) -> Image.Image:
        if self._config.crf.enabled:
            return read_photo(photo)
        return read_for_network(photo, self._backbone, self._config.features)

    def _propose(self, number: int, photo: Photo, image: Image.Image) -> PhotoResult:
        size = (photo.height, photo.width)
        request = self._recipe.request
        if self._tokens is not None:
            blocks = tuple(sorted({*request.token_blocks, *self._blocks}))
            request = replace(request, token_blocks=blocks)
        first, second = extract_views(
            self._backbone, image, size, self._config.features, request, view_scale=self._recipe.view_scale
        )
        if self._tokens is not None:
            self._tokens.write(number, stack_tokens(first.features, self._blocks))
        found = propose_from_views(first, second, image, self._recipe)
        if self._pool is not None:
            self._pool.write(number, [item.to_arrays() for item in found.pool])
        annotations = [_annotation(number, rank, item) for rank, item in enumerate(found.proposals)]
        if self._config.proposals.chooses_from_pool:
            for annotation, item in zip(annotations, found.proposals, strict=True):
                annotation["pool"] = -1 if item.number is None else item.number
        for annotation in annotations:
            write_thumbnail(thumbnail_in(self._thumbs, annotation["id"]), image, annotation["bbox"], size)
        return PhotoResult(number, annotations, found.problem)


class SampleWorker:
    """Writes some patches of photos, which the axes of compact tokens are found on."""

    def __init__(self, run: Path, config: RunConfig, sample: Path) -> None:
        self._sample, self._fresh = ArrayStore(sample), FreshTokens(config.features)

    def __call__(self, number: int, photo: Photo) -> PhotoResult:
        """Write (1, N, D) tokens of one photo; the result says whether it could be read."""
        try:
            values, _ = self._fresh(photo)
        except PHOTO_ERRORS as error:
            return PhotoResult(number, error=describe_failure(photo, error), missed=is_missed(photo, error))
        patches = values.reshape(1, -1, values.shape[-1])
        drawn = np.random.default_rng(number).permutation(patches.shape[1])[:SAMPLE_PATCHES]
        self._sample.write(number, patches[:, np.sort(drawn)])
        return PhotoResult(number)


class TokenWorker:
    """Writes the patch tokens of photos whose masks are there but whose tokens are not."""

    def __init__(self, run: Path, config: RunConfig, tokens: Path) -> None:
        self._tokens, self._fresh = TokenStore(tokens), FreshTokens(config.features)
        write_token_info(tokens, self._fresh.backbone, self._fresh.blocks)

    def __call__(self, number: int, photo: Photo) -> PhotoResult:
        """Write the tokens of one photo; the result says whether it could be read."""
        try:
            values, _ = self._fresh(photo)
        except PHOTO_ERRORS as error:
            return PhotoResult(number, error=describe_failure(photo, error), missed=is_missed(photo, error))
        self._tokens.write(number, values)
        return PhotoResult(number)


class PoolWorker:
    """Writes the candidates of photos whose masks are there but whose candidates are not."""

    def __init__(self, run: Path, config: RunConfig, pool: Path) -> None:
        self._pool, self._features = PoolStore(pool), config.features
        self._backbone = load_backbone(config.features)
        self._recipe = Recipe.resolve(config.proposals, config.crf, self._backbone)

    def __call__(self, number: int, photo: Photo) -> PhotoResult:
        """Write the candidates of one photo; the result says whether it could be read."""
        try:
            image = read_for_network(photo, self._backbone, self._features)
            size, scale = (photo.height, photo.width), self._recipe.view_scale
            views = extract_views(self._backbone, image, size, self._features, self._recipe.request, view_scale=scale)
            found = find_pool(*views, self._recipe)
        except PHOTO_ERRORS as error:
            return PhotoResult(number, error=describe_failure(photo, error), missed=is_missed(photo, error))
        self._pool.write(number, [item.to_arrays() for item in found])
        return PhotoResult(number)


class EmbedWorker:
    """Writes the vectors of a photo's masks."""

    def __init__(self, run: Path, config: RunConfig, tokens: Path, vectors: Path) -> None:
        self._config, self._tokens, self._vectors = config, TokenStore(tokens), VectorStore(vectors)
        self._backbone = load_backbone(config.features)
        self._blocks = head_blocks(self._backbone, config.features)

    def __call__(self, number: int, photo: Photo, codes: list[dict[str, Any]]) -> PhotoResult:
        """Write the vectors of one photo's masks; the result says whether it could be read."""
        geometry = self._backbone.geometry(photo.height, photo.width, self._config.features)
        try:
            masks = [decode_mask(code) for code in codes]
            tokens = self._tokens.read(number)
            image = read_photo(photo)
            found = embed_masks(self._backbone, image, masks, tokens, geometry, self._config.embeddings, self._blocks)
        except PHOTO_ERRORS as error:
            return PhotoResult(number, error=describe_failure(photo, error), missed=is_missed(photo, error))
        self._vectors.write(number, found)
        return PhotoResult(number)


def _annotation(number: int, rank: int, proposal: Proposal) -> dict[str, Any]:
    return {
        "id": number * MASKS_PER_PHOTO + rank,
        "image_id": number,
        "category_id": 1,
        **describe_mask(proposal.mask),
        "score": round(proposal.score, 6),
        "parts": {name: round(float(value), 6) for name, value in proposal.parts.items()},
    }
