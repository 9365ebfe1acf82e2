"""What the Guide's page shows: one photo under settings, and the run whose clusters and models steps 5 to 8 show."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from PIL import Image

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo
from maskdistill.errors import RunError
from maskdistill.handouts.photo_on_run import (
    PhotoPredictions,
    content_key,
    is_trained,
    judged_masks,
    number_by_content,
    predict_photo,
    used_config,
)
from maskdistill.proposals.live import LiveProposals, live_pixels, propose_live, read_views
from maskdistill.pseudo_labels.new_photo import ClusterSpace
from maskdistill.review.decisions import Classes, read_classes
from maskdistill.review.mask_table import read_mask_table
from maskdistill.storage.read_files import read_array
from maskdistill.storage.run_folder import Run, thumbnail_in
from maskdistill.storage.run_photos import photos_of

if TYPE_CHECKING:  # importing these loads torch
    from maskdistill.features.backbone import Backbone
    from maskdistill.proposals.pool import Pool
    from maskdistill.proposals.views import ImageView


@dataclass(frozen=True, eq=False)
class RunOnShow:
    """A trained run, as far as the page reads it."""

    run: Run
    config: RunConfig
    frame: pd.DataFrame  # of ``read_mask_table``
    vectors: np.ndarray  # (V, D)
    row_of_vector: np.ndarray  # (V,) rows of ``frame``
    classes: Classes  # rows as ``vectors``
    table: pd.DataFrame  # of ``judged_masks``
    numbers: Mapping[str, int]  # content of a photo -> its number in the run

    @classmethod
    def read(cls, run: Run) -> Self:
        """Read it.

        Raises:
            RunError: If the run is not trained, or a file is damaged.
        """
        if not is_trained(run):
            raise RunError(f"{run.path} has no final model yet. Train it with: maskdistill run --run {run.path}")
        frame = read_mask_table(run).frame
        vectors = read_array(run.path / "embeddings.npy", ndim=2)
        vector = frame["vector"].to_numpy()
        rows = np.flatnonzero(vector >= 0)
        placed = np.full(len(vectors), -1)
        placed[vector[rows]] = rows
        numbers = number_by_content(photos_of(run))
        return cls(run, used_config(run), frame, vectors, placed, read_classes(run), judged_masks(run), numbers)

    def crop(self, mask_id: int) -> bytes | None:
        """The JPEG of a mask's crop; None if it is gone."""
        try:
            return thumbnail_in(self.run.thumbs, mask_id).read_bytes()
        except OSError:
            return None


@dataclass(frozen=True, eq=False)
class GuideSubject:
    """One photo with all that its page shows."""

    photo: Photo
    config: RunConfig
    backbone: "Backbone"
    image: Image.Image  # the copy that masks fit
    live: LiveProposals
    views: "tuple[ImageView, ImageView]"
    pool: "tuple[Pool, ...]"
    on_show: RunOnShow | None = None
    predicted: PhotoPredictions | None = None  # None without a run, or without a mask

    @classmethod
    def of(
        cls,
        photo: Photo,
        config: RunConfig,
        backbone: "Backbone",
        run: Run | None = None,
        lock: AbstractContextManager[object] | None = None,
    ) -> Self:
        """Compute all of it: a forward pass for each view, and the run's models.

        Args:
            photo: The photo.
            config: Settings of steps 1 to 4; the run's own features count where there is a run.
            backbone: Of ``config.features``.
            run: A trained run.
            lock: Held during forward passes, where others make some too.

        Raises:
            MaskDistillError: If the photo or the run cannot be used.
        """
        from maskdistill.proposals.propose import Recipe, find_pool

        on_show = None if run is None else RunOnShow.read(run)
        image = live_pixels(photo)
        with lock or nullcontext():
            recipe = Recipe.resolve(config.proposals, config.crf, backbone)
            views = read_views(backbone, photo, config.features, config.proposals.view_scale, recipe.request)
            pool = tuple(find_pool(*views, recipe))
            live = propose_live(views, image, recipe, pool)
            predicted = None
            if on_show is not None:
                number, space = on_show.numbers.get(content_key(photo)), ClusterSpace.read(on_show.run)
                shown = replace(on_show.config, proposals=config.proposals, crf=config.crf)
                predicted = predict_photo(on_show.run, shown, space, photo, number, image, live, backbone)
        return cls(photo, config, backbone, image, live, views, pool, on_show, predicted)

    @property
    def number(self) -> int | None:
        """The photo's number in the run; None if it is not among its photos."""
        return None if self.on_show is None else self.on_show.numbers.get(content_key(self.photo))
