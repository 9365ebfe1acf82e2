"""The single objects of one photo, from its tokens, its foreground and its pool, with the class of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from PIL import Image

from maskdistill.config import InstanceConfig
from maskdistill.masks import describe_mask
from maskdistill.models.instance_head import InstanceHead, draw_masks
from maskdistill.models.instances import Scored, merge, move, num_parts, read_candidates
from maskdistill.proposals.foreground import patch_vectors
from maskdistill.proposals.guided_filter import GuidedFilter
from maskdistill.proposals.pool import Pool, common_grid, suppress
from maskdistill.proposals.pool_masks import LEAST_PIXELS
from maskdistill.proposals.tree import flatten, pairwise_iou
from maskdistill.storage.read_files import read_json
from maskdistill.storage.stage_folders import InstanceFolder

MOST_LOGIT = 4.0  # beyond which a mask of the head is sure: its outline lies where it is not
GUIDE_SIDE = 480  # pixels, shorter side at which a photo is read whose edges the masks follow
TWINS = 0.9  # overlap from which two masks that follow the same edges are one
SMALL_SIDE = 160  # pixels, shorter side on which masks are compared and the classes inside them counted


@dataclass(frozen=True, eq=False)
class Look:
    """What is known of a photo whose objects are looked for."""

    tokens: np.ndarray = field(repr=False)  # (rows, cols, D * blocks)
    probability: np.ndarray  # (rows, cols) float32, of each patch to be foreground
    pools: tuple[Pool, ...]  # of each view, the photo's own first
    size: tuple[int, int]  # height, width of the photo in pixels
    image: Image.Image | None = field(default=None, repr=False)  # RGB, at any size; ``find`` alone needs it


@dataclass(frozen=True, eq=False)
class Instance:
    """One object."""

    mask: np.ndarray  # (H, W) bool at the photo's size
    score: float  # [0, 1]
    label: int  # class, 1 to K
    certainty: float  # [0, 1], mean probability of that class inside


@dataclass(frozen=True, eq=False)
class InstanceFinder:
    """The trained heads, and how their scores compare with the pool's."""

    heads: Sequence[InstanceHead]
    scales: Sequence[float]  # of each head
    num_blocks: int  # of the tokens
    config: InstanceConfig
    folds: Sequence[int | None] = ()  # of each photo of the run, once all are judged

    @classmethod
    def load(cls, folder: InstanceFolder, config: InstanceConfig, num_blocks: int) -> Self:
        """The heads of a run.

        Args:
            folder: Of the run.
            config: Settings.
            num_blocks: Of the tokens that the heads read.

        Raises:
            CheckpointError, RunError: If a file cannot be used.
        """
        record = read_json(folder.record_path)
        scales = record["scales"]
        heads = [InstanceHead.load(folder.head(number).model_path) for number in range(len(scales))]
        return cls(heads, scales, num_blocks, config, record.get("folds", ()))

    def find(self, look: Look, classes: np.ndarray, fold: int | None = None) -> list[Instance]:
        """The objects of a photo, best first.

        Args:
            look: The photo.
            classes: (K + 1, H, W) probabilities of the classes, background first.
            fold: The head to ask, which must not have learnt from the photo; None takes the mean of all, for photos
                that taught none of them.
        """
        if look.image is None:
            raise ValueError("The masks follow the edges of the photo: give its image.")
        pool, drawn = self.compare(look, fold)
        config = self.config
        scale = self.scales[fold] if fold is not None else float(np.mean(self.scales))
        found = merge(pool, drawn, scale, config.overlap, config.most)
        scores = found.scores ** (1 / (num_parts(look.pools) + 1))  # the other source counts as one more part
        guide = GuidedFilter(look.image, look.size)
        masks = [guide.sharpen(values) for values in found.values]
        step = max(1, min(look.size) // SMALL_SIDE)
        coarse = classes[:, ::step, ::step]
        small = np.array([mask[::step, ::step] for mask in masks], bool).reshape(-1, *coarse.shape[1:])
        whole = np.array([np.count_nonzero(mask) >= LEAST_PIXELS for mask in masks], bool)
        kept = suppress(pairwise_iou(small, small), scores * whole, TWINS)  # some became alike
        labels, certainties = label_masks(small[kept], coarse)
        known = zip(kept, labels, certainties, strict=True)
        return [Instance(masks[place], float(scores[place]), label, certainty) for place, label, certainty in known]

    def compare(self, look: Look, fold: int | None = None) -> tuple[Scored, Scored]:
        """The candidates of the pool, and the masks that a head draws, or all heads in the mean, on one grid."""
        heads = self.heads if fold is None else (self.heads[fold],)
        vectors = patch_vectors(look.tokens, self.num_blocks)
        found = draw_masks(heads, [head.points_of(vectors, look.probability) for head in heads])
        logits = found.logits.clip(-MOST_LOGIT, MOST_LOGIT)
        drawn = Scored(move(logits, look.pools[0].content, common_grid(look.pools[0])), found.scores)
        return read_candidates(look.pools, look.probability), drawn.best(self.config.overlap, self.config.most)


def label_masks(masks: np.ndarray, classes: np.ndarray) -> tuple[list[int], list[float]]:
    """The class of each mask, by the mean probability inside, and that mean.

    Args:
        masks: (M, h, w) bool.
        classes: (K + 1, h, w) probabilities, background first, which is no class of an object.
    """
    inside = flatten(masks)
    means = inside @ classes[1:].reshape(len(classes) - 1, -1).T  # (M, K)
    means /= np.maximum(inside.sum(axis=1, keepdims=True), 1)
    return (means.argmax(axis=1) + 1).tolist(), means.max(axis=1).tolist()


def describe_instance(found: Instance, id: int, number: int) -> dict[str, Any]:
    """An object as an annotation of a COCO file.

    Args:
        found: The object.
        id: Of the annotation.
        number: Of the photo.
    """
    return {
        "id": id,
        "image_id": number,
        "category_id": found.label,
        **describe_mask(found.mask),
        "score": round(found.score, 6),
        "parts": {"class": round(found.certainty, 6)},
    }
