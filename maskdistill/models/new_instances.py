"""Single objects of photos that a run never saw: one look at each photo gives tokens, pool and foreground."""

from dataclasses import replace

import numpy as np

from maskdistill.datasets import Photo
from maskdistill.datasets.transforms import PatchGeometry
from maskdistill.features.backbone import load_backbone
from maskdistill.features.patch_tokens import head_blocks, read_for_network, stack_tokens
from maskdistill.models.instance_finder import Instance, InstanceFinder, Look
from maskdistill.models.predictor import load_model
from maskdistill.proposals.foreground import ForegroundHeads, patch_vectors
from maskdistill.proposals.propose import Recipe, find_pool
from maskdistill.proposals.views import extract_views
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import as_stored, run_axes


def has_instances(run: Run) -> bool:
    """Whether a run has heads that find single objects, and that are finished."""
    record = read_json_if_there(run.instances.record_path)
    return bool(record and record["used"] and record.get("scales")) and bool(run.fingerprint_of("instances"))


class NewInstances:
    """The heads of a run, in the mean, on photos that are not in it.

    Args:
        run: A run that ``has_instances``.

    Raises:
        CheckpointError, RunError: If a file of it cannot be used.
    """

    def __init__(self, run: Run) -> None:
        self._config = run.config()
        self._backbone = load_backbone(self._config.features)
        self._blocks = head_blocks(self._backbone, self._config.features)
        self._axes = run_axes(run, self._config.features)
        self._recipe = Recipe.resolve(self._config.proposals, self._config.crf, self._backbone)
        self._foreground = ForegroundHeads.load(run.foreground.heads_path)
        self._finder = InstanceFinder.load(run.instances, self._config.instances, len(self._blocks))
        self._classes = load_model(run, "stage1", self.tokens)
        self._last: tuple[Photo, Look, PatchGeometry] | None = None

    def tokens(self, photo: Photo) -> tuple[np.ndarray, PatchGeometry]:
        """(rows, cols, D * blocks) float16 and the grid, as a predictor wants them; the last photo's are kept."""
        _, look, geometry = self._look_at(photo)
        return look.tokens, geometry

    def find(self, photo: Photo) -> list[Instance]:
        """The objects of a photo, best first, each with its class by the run's first model.

        Raises:
            DatasetError: If the photo cannot be read.
        """
        _, look, _ = self._look_at(photo)
        return self._finder.find(look, self._classes.probabilities(photo))

    def _look_at(self, photo: Photo) -> tuple[Photo, Look, PatchGeometry]:
        if self._last is None or self._last[0] != photo:
            self._last = None
            self._last = (photo, *self._make_look(photo))
        return self._last

    def _make_look(self, photo: Photo) -> tuple[Look, PatchGeometry]:
        features, size = self._config.features, (photo.height, photo.width)
        image = read_for_network(photo, self._backbone, features)
        request = self._recipe.request
        request = replace(request, token_blocks=tuple(sorted({*request.token_blocks, *self._blocks})))
        views = extract_views(self._backbone, image, size, features, request, view_scale=self._recipe.view_scale)
        tokens = as_stored(stack_tokens(views[0].features, self._blocks), self._axes)
        probability = self._foreground.probability(patch_vectors(tokens, len(self._blocks)))
        pools = find_pool(*views, self._recipe)
        look = Look(tokens, probability.reshape(tokens.shape[:2]), pools, size, image)
        return look, views[0].geometry
