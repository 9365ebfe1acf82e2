"""What one process does with one photo of the stage ``candidates``: compare a model's view with what was known."""

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.errors import DatasetError
from maskdistill.masks import border_share, decode_mask, describe_mask
from maskdistill.proposals.thumbnails import write_thumbnail
from maskdistill.pseudo_labels.candidates import PredictedMask, compare_with_prediction
from maskdistill.pseudo_labels.objects import compare_objects
from maskdistill.stages.photo_failures import describe_failure, is_missed
from maskdistill.stages.tasks import PhotoResult
from maskdistill.storage.run_folder import DRAWN, MASKS_PER_PHOTO, Run

SHORT_SIDE = 480  # pixels at which photos are read for thumbnails: a small object still has some
PROPOSAL, INSTANCES = "proposal", "instances"  # origins: a proposal; a single object that no proposal was


@dataclass(frozen=True)
class Known:
    """What is known of a training photo before the model sees it."""

    masks: list[dict[str, Any]]  # COCO annotations of its masks, best first
    clusters: dict[int, tuple[int, float]]  # of those in a cluster, by id: its number, and the distance to its centre
    objects: list[dict[str, Any]] | None  # COCO annotations of its single objects; None where these are no candidates


@dataclass(frozen=True)
class Judge:
    """Makes candidates of what a model predicts."""

    origin: str  # of an object that no proposal was: the model
    min_area: float  # fraction of the photo below which such an object is left out
    masks_per_photo: int  # places that a photo has for the ids of its masks

    def __call__(self, number: int, probabilities: np.ndarray, known: Known) -> list[dict[str, Any]]:
        """COCO annotations of a photo's candidates, masks as the model draws them, with their ``signals``.

        Args:
            number: Of the photo in the run.
            probabilities: (K + 1, H, W), background first.
            known: What is known of the photo.
        """
        items = [item for item in known.masks if item["id"] in known.clusters]
        clusters = [known.clusters[item["id"]][0] for item in items]
        taken, origin = _taken(known.masks, self.masks_per_photo), self.origin
        room = min(MASKS_PER_PHOTO, max(0, self.masks_per_photo - taken))
        if not known.objects:  # a photo that could not be read again has none
            masks = [decode_mask(item["segmentation"]) for item in items]
            seen = compare_with_prediction(probabilities, masks, clusters, self.min_area)
        else:
            others = [item for item in known.masks if item["id"] not in known.clusters]
            seen = compare_objects(
                probabilities,
                known.objects,
                items,
                clusters,
                others=others,
                min_area=self.min_area,
                most_new=room,
            )
            origin = INSTANCES
        seen = [as_mended(item, items) for item in seen]
        new = [item for item in seen if item.proposal is None][:room]
        first = number * self.masks_per_photo + taken  # of the places that are left
        return [
            *(_describe(number, item, known, items[item.proposal]) for item in seen if item.proposal is not None),
            *(_describe(number, item, known, {"id": first + rank}, origin) for rank, item in enumerate(new)),
        ]


class CandidateWorker:
    """A trained model, whose view of one photo after the other is judged."""

    def __init__(self, run: Path, config: RunConfig, model: str, tokens: Path, judge: Judge) -> None:
        from maskdistill.features.patch_tokens import StoredTokens  # these load torch, which the judge does without
        from maskdistill.models.predictor import load_model

        self._run, self._judge, self._number = Run(run), judge, 0
        stored = StoredTokens(tokens, config.features)
        self._predictor = load_model(self._run, model, lambda photo: stored.read(self._number, photo))

    def __call__(self, number: int, photo: Photo, known: Known) -> PhotoResult:
        """The candidates of one photo; crops of those that no proposal was are written."""
        self._number = number
        try:
            found = self._judge(number, self._predictor.probabilities(photo), known)
        except DatasetError as error:
            return PhotoResult(number, error=describe_failure(photo, error), missed=is_missed(photo, error))
        write_new_thumbnails(self._run, photo, found)
        return PhotoResult(number, found)


def write_new_thumbnails(run: Run, photo: Photo, candidates: list[dict[str, Any]]) -> None:
    """Crops of a photo's candidates that no proposal was, beside those of the proposals."""
    new = [item for item in candidates if item["signals"]["origin"] != PROPOSAL]
    if not new:
        return
    with suppress(DatasetError):  # it was removed since; the page that shows the mask reports that
        image = read_photo(photo, min_short_side=SHORT_SIDE)
        for item in new:
            write_thumbnail(run.thumbnail(item["id"]), image, item["bbox"], (photo.height, photo.width))


def as_mended(seen: PredictedMask, items: list[dict[str, Any]]) -> PredictedMask:
    """What people drew is drawn as they did, whatever the model makes of it."""
    if seen.proposal is None or not items[seen.proposal].get("mended"):
        return seen
    mask = decode_mask(items[seen.proposal]["segmentation"])
    return replace(seen, mask=mask, area=float(mask.mean()), border=border_share(mask))


def _taken(masks: list[dict[str, Any]], masks_per_photo: int) -> int:
    """The first of the photo's places that no proposal has, nor any behind it."""
    ids = [item["id"] for item in masks if item["id"] < DRAWN]
    return max(ids) % masks_per_photo + 1 if ids else 0


def _describe(
    number: int, seen: PredictedMask, known: Known, item: dict[str, Any], origin: str = PROPOSAL
) -> dict[str, Any]:
    """A candidate as COCO; ``item`` is the proposal that it was, or holds its id."""
    cluster, distance = known.clusters.get(item["id"], (seen.label, math.nan))
    signals = {
        "origin": origin,
        "cluster": int(cluster),
        "label": seen.label,
        "score": seen.score,
        "iou": float(seen.iou),
        "agreement": float(seen.agreement),
        "distance": float(distance),
        "area": seen.area,
        "border": float(seen.border),
        "proposal_score": float(item.get("score", math.nan)),
        **({} if math.isnan(seen.object_score) else {"object_score": float(seen.object_score)}),
    }
    return {
        "id": int(item["id"]),
        "image_id": number,
        "category_id": seen.label,
        **describe_mask(seen.mask),
        "score": round(seen.score, 6),
        "signals": signals,
    }
