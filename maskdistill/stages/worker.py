"""What one process does with photos: read, extract features, propose, encode, write the thumbnails."""

import logging
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskdistill.clustering.mask_embeddings import embed_masks
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.features.backbone import load_backbone
from maskdistill.features.forward import FeatureRequest
from maskdistill.features.patch_tokens import FreshTokens, head_blocks, read_for_network, stack_tokens, write_token_info
from maskdistill.masks import decode_mask, describe_mask
from maskdistill.proposals.propose import Proposal, Recipe, find_pool, propose_from_views
from maskdistill.proposals.thumbnails import write_thumbnail
from maskdistill.proposals.views import Views, extract_views_of
from maskdistill.stages.photo_failures import PHOTO_ERRORS, describe_failure, is_missed
from maskdistill.stages.tasks import Batch, PhotoResult
from maskdistill.storage.photo_arrays import ArrayStore, PoolStore, VectorStore
from maskdistill.storage.read_files import first_line
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, thumbnail_in
from maskdistill.storage.token_store import TokenStore

logger = logging.getLogger(__name__)

SAMPLE_PATCHES = 480  # of a photo, of as many as its grid has


class BatchWorker:
    """A loaded backbone, applied to one batch of photos after the other.

    Attributes of a subclass say what is extracted; its ``finish`` makes the result of each photo.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config, self._backbone = config, load_backbone(config.features)
        self._blocks = head_blocks(self._backbone, config.features)
        self._request = FeatureRequest(token_blocks=self._blocks)
        self._view_scale: float | None = None

    def __call__(self, batch: Batch) -> list[PhotoResult]:
        """Results of the photos that are wanted; whatever is wrong with one is returned, not raised."""
        failed: list[PhotoResult] = []
        images: dict[int, Image.Image] = {}
        for number, photo in batch.photos:
            try:
                images[number] = self.read(photo)
            except PHOTO_ERRORS as error:
                failed.append(_failure(number, photo, error))
        photos = tuple((number, photo) for number, photo in batch.photos if number in images)
        found = self._finish_all(photos, batch.wanted, images)
        if found is None:
            found = [result for single in Batch(photos, batch.wanted).singles() for result in self(single)]
        return [result for result in failed + found if result.number in batch.wanted]

    def read(self, photo: Photo) -> Image.Image:
        """The photo, upright RGB, as large as it is needed."""
        return read_for_network(photo, self._backbone, self._config.features)

    def finish(self, number: int, photo: Photo, image: Image.Image, views: Views) -> PhotoResult:
        """Write what is made of a photo's features."""
        raise NotImplementedError

    def _finish_all(
        self, photos: Sequence[tuple[int, Photo]], wanted: Set[int], images: Mapping[int, Image.Image]
    ) -> list[PhotoResult] | None:
        """Results of photos that are read; None if they cannot be sent through the transformer together."""
        sizes = [(photo.height, photo.width) for _, photo in photos]
        try:
            views = extract_views_of(
                self._backbone,
                [images[number] for number, _ in photos],
                sizes,
                self._config.features,
                self._request,
                view_scale=self._view_scale,
            )
        except (*PHOTO_ERRORS, MemoryError) as error:
            if len(photos) > 1:
                logger.warning("%d photos fail together, each is tried alone: %s.", len(photos), first_line(error))
                return None
            return [_failure(number, photo, error) for number, photo in photos]
        results = []
        for (number, photo), seen in zip(photos, views, strict=True):
            if number in wanted:
                try:
                    results.append(self.finish(number, photo, images[number], seen))
                except PHOTO_ERRORS as error:
                    results.append(_failure(number, photo, error))
        return results


class PhotoWorker(BatchWorker):
    """Writes candidates, tokens and thumbnails of photos; their masks are the results."""

    def __init__(
        self, run: Path, config: RunConfig, thumbs: Path, pool: Path | None = None, tokens: Path | None = None
    ) -> None:
        super().__init__(config)
        self._thumbs = thumbs
        self._pool = None if pool is None else PoolStore(pool)
        self._tokens = None if tokens is None else TokenStore(tokens)
        self._recipe = Recipe.resolve(config.proposals, config.crf, self._backbone)
        self._view_scale = self._recipe.view_scale
        request = self._recipe.request
        self._request = request if tokens is None else request.joined(self._request)
        if tokens is not None:
            write_token_info(tokens, self._backbone, self._blocks)

    def read(self, photo: Photo) -> Image.Image:
        """At full size for the CRF."""
        return read_photo(photo) if self._config.crf.enabled else super().read(photo)

    def finish(self, number: int, photo: Photo, image: Image.Image, views: Views) -> PhotoResult:
        """The masks of a photo."""
        if self._tokens is not None:
            self._tokens.write(number, stack_tokens(views[0].features, self._blocks))
        found = propose_from_views(*views, image, self._recipe)
        if self._pool is not None:
            self._pool.write(number, [item.to_arrays() for item in found.pool])
        annotations = [_annotation(number, rank, item) for rank, item in enumerate(found.proposals)]
        if self._config.proposals.chooses_from_pool:
            for annotation, item in zip(annotations, found.proposals, strict=True):
                annotation["pool"] = -1 if item.number is None else item.number
        size = (photo.height, photo.width)
        for annotation in annotations:
            write_thumbnail(thumbnail_in(self._thumbs, annotation["id"]), image, annotation["bbox"], size)
        return PhotoResult(number, annotations, found.problem)


class TokenWorker(BatchWorker):
    """Writes the patch tokens of photos whose masks are there but whose tokens are not."""

    def __init__(self, run: Path, config: RunConfig, tokens: Path) -> None:
        super().__init__(config)
        self._tokens = TokenStore(tokens)
        write_token_info(tokens, self._backbone, self._blocks)

    def finish(self, number: int, photo: Photo, image: Image.Image, views: Views) -> PhotoResult:
        """The result says no more than that they are written."""
        self._tokens.write(number, stack_tokens(views[0].features, self._blocks))
        return PhotoResult(number)


class PoolWorker(BatchWorker):
    """Writes the candidates of photos whose masks are there but whose candidates are not."""

    def __init__(self, run: Path, config: RunConfig, pool: Path) -> None:
        super().__init__(config)
        self._pool = PoolStore(pool)
        self._recipe = Recipe.resolve(config.proposals, config.crf, self._backbone)
        self._request, self._view_scale = self._recipe.request, self._recipe.view_scale

    def finish(self, number: int, photo: Photo, image: Image.Image, views: Views) -> PhotoResult:
        """The result says no more than that they are written."""
        self._pool.write(number, [item.to_arrays() for item in find_pool(*views, self._recipe)])
        return PhotoResult(number)


class SampleWorker:
    """Writes some patches of photos, which the axes of compact tokens are found on."""

    def __init__(self, run: Path, config: RunConfig, sample: Path) -> None:
        self._sample, self._fresh = ArrayStore(sample), FreshTokens(config.features)

    def __call__(self, number: int, photo: Photo) -> PhotoResult:
        """Write (1, N, D) tokens of one photo; the result says whether it could be read."""
        try:
            values, _ = self._fresh(photo)
        except PHOTO_ERRORS as error:
            return _failure(number, photo, error)
        patches = values.reshape(1, -1, values.shape[-1])
        drawn = np.random.default_rng(number).permutation(patches.shape[1])[:SAMPLE_PATCHES]
        self._sample.write(number, patches[:, np.sort(drawn)])
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
            return _failure(number, photo, error)
        self._vectors.write(number, found)
        return PhotoResult(number)


def _failure(number: int, photo: Photo, error: Exception) -> PhotoResult:
    return PhotoResult(number, error=describe_failure(photo, error), missed=is_missed(photo, error))


def _annotation(number: int, rank: int, proposal: Proposal) -> dict[str, Any]:
    return {
        "id": number * MASKS_PER_PHOTO + rank,
        "image_id": number,
        "category_id": 1,
        **describe_mask(proposal.mask),
        "score": round(proposal.score, 6),
        "parts": {name: round(float(value), 6) for name, value in proposal.parts.items()},
    }
