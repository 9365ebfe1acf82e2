"""Average precision of object masks by COCO's own evaluation, regardless of class; for reporting only.

An *instance* is a dict as in a COCO json: ``segmentation`` (compressed run-length code with ``counts`` as text),
``iscrowd`` and, of a prediction, ``score``. Each photo has a list of them, and photos come in the same order on both
sides.
"""

import contextlib
import io
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskdistill.datasets import IGNORE_INDEX
from maskdistill.errors import ConfigError, ShapeError
from maskdistill.evaluation.region_metrics import LOCALISED, MIN_REGION, class_regions
from maskdistill.masks import encode_mask

Instance = Mapping[str, Any]

_NAMES = {"ap": 0, "ap50": 1, "ap_small": 3, "ap_medium": 4, "ap_large": 5}  # places among COCO's twelve numbers
_NAMES |= {"ar": 8, "ar_small": 9, "ar_medium": 10, "ar_large": 11}
# Two threads that redirect standard output at once would put it back in the wrong order and leave it redirected.
_STDOUT_LOCK = threading.Lock()


def instances_of(labels: np.ndarray, min_area: int = MIN_REGION) -> list[dict[str, Any]]:
    """Ground-truth instances of a photo from its semantic labels: each 4-connected region of one class.

    VOC's SegmentationClass and most label maps do not separate objects. So two objects of a class that touch count
    as one, and an object cut in two by what stands before it counts as two: the result is comparable between our own
    runs, not with figures from instance labels.

    Args:
        labels: (H, W) class ids, 0 background, 255 ignored.
        min_area: Pixels. Smaller regions are asked of nobody and held against nobody: together they are one crowd
            region, in which COCO's evaluation counts a prediction neither as right nor as wrong.

    Returns:
        Instances with ``category_id``, the class id; empty for a photo without an object.
    """
    regions = class_regions(labels, min_area)
    found = [_instance(mask) | {"category_id": label} for label, mask in regions]
    rest = (labels != 0) & (labels != IGNORE_INDEX)
    for _, mask in regions:
        rest &= ~mask
    return [*found, _instance(rest) | {"category_id": 0, "iscrowd": 1}] if rest.any() else found


def instances_from(objects: Sequence[tuple[np.ndarray, int]]) -> list[dict[str, Any]]:
    """Ground-truth instances of a photo whose objects are told apart.

    Args:
        objects: (H, W) bool mask and class id of each; 255 is a crowd region.

    Returns:
        Instances with ``category_id``, the class id.
    """
    crowd = {True: {"iscrowd": 1, "category_id": 0}, False: {}}
    return [
        _instance(mask) | {"category_id": label} | crowd[label == IGNORE_INDEX] for mask, label in objects if mask.any()
    ]


def predictions_of(
    masks: Sequence[np.ndarray], scores: Sequence[float], labels: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """Predicted instances of a photo.

    Args:
        masks: (H, W) bool each. An empty one is left out.
        scores: One a mask, higher is better.
        labels: (H, W) ground truth. If given, its ignored pixels (255) are cut out of the masks, as they belong to no
            instance of ``instances_of`` and would lower every IoU by the width of VOC's outlines.

    Raises:
        ShapeError: If masks and labels differ in size, or masks and scores in number.
    """
    if len(masks) != len(scores):
        raise ShapeError("scores", f"({len(masks)},), one a mask", (len(scores),))
    found = []
    for mask, score in zip(masks, scores, strict=True):
        if labels is not None and mask.shape != labels.shape:
            raise ShapeError("mask", f"{labels.shape}, as the labels", mask.shape)
        judged = mask if labels is None else mask & (labels != IGNORE_INDEX)
        if judged.any():
            found.append(_instance(judged) | {"score": float(score)})
    return found


def mask_ap(
    ground_truth: Sequence[Sequence[Instance]], predictions: Sequence[Sequence[Instance]]
) -> dict[str, float | None]:
    """Average precision and recall of masks, regardless of class, over all photos.

    A photo without a prediction misses its objects; on a photo without an object every prediction is wrong. At most
    100 predictions a photo count, those of the highest score.

    Args:
        ground_truth: Instances of each photo.
        predictions: Instances of each photo, with ``score``.

    Returns:
        ``ap50`` at IoU 0.5, ``ap`` and ``ar`` over IoU 0.5 to 0.95, and these two of ``_small``, ``_medium`` and
        ``_large`` objects (below 32 x 32 pixels, up to 96 x 96, above), each in [0, 1]; 0 if nothing was predicted,
        None if there is no such object to find in any photo.

    Raises:
        ShapeError: If the two differ in the number of photos, or masks of one photo in size.
        ConfigError: If a score is missing or not finite.

    Source: Lin et al., ECCV 2014, by pycocotools.
    """
    _check(ground_truth, predictions)
    if not any(_is_object(item) for photo in ground_truth for item in photo):
        return dict.fromkeys(_NAMES)
    with _STDOUT_LOCK, contextlib.redirect_stdout(io.StringIO()):
        truth = _coco_of(ground_truth)
        found = _numbered(predictions)
        evaluation = COCOeval(truth, truth.loadRes(found) if found else COCO(), "segm")
        evaluation.params.useCats = 0
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) if (value := evaluation.stats[place]) >= 0 else None for name, place in _NAMES.items()}


def box_corloc(ground_truth: Sequence[Sequence[Instance]], predictions: Sequence[Sequence[Instance]]) -> float | None:
    """Share of the photos with an object in which the box of the best-scored mask fits the box of some object.

    Args:
        ground_truth: As for ``mask_ap``.
        predictions: As for ``mask_ap``.

    Returns:
        In [0, 1]; a box fits from IoU 0.5 on. None if there is no object in any photo.

    Raises:
        ShapeError, ConfigError: As ``mask_ap``.

    Source: Deselaers et al., IJCV 2012.
    """
    _check(ground_truth, predictions)
    found = []
    for truth, predicted in zip(ground_truth, predictions, strict=True):
        boxes = [coco_mask.toBbox(item["segmentation"]) for item in truth if _is_object(item)]
        best = max(predicted, key=lambda item: item["score"], default=None)
        if boxes and best is None:
            found.append(False)
        elif boxes and best is not None:
            box = coco_mask.toBbox(dict(best["segmentation"]))[None]
            found.append(coco_mask.iou(box, np.array(boxes), [0] * len(boxes)).max() >= LOCALISED)
    return float(np.mean(found)) if found else None


def single_mask_ap50(
    ground_truth: Sequence[Sequence[Instance]], predictions: Sequence[Sequence[Instance]]
) -> float | None:
    """AP50 of one mask a photo under the published "single" protocol: never report it without ``mask_ap``.

    Of each photo's predictions the one of highest score stays, and of its objects only the one which that prediction
    overlaps best. It flatters: the prediction chooses what it is compared with, and the objects that it leaves out are
    not counted as missed, so a photo of ten people is solved by one of them. Where nothing is predicted or overlapped,
    one object stays and is missed.

    Args:
        ground_truth: As for ``mask_ap``; crowd regions stay.
        predictions: As for ``mask_ap``.

    Returns:
        AP at IoU 0.5 in [0, 1], 0 if nothing was predicted, None if there is no object in any photo.

    Raises:
        ShapeError, ConfigError: As ``mask_ap``.
    """
    _check(ground_truth, predictions)
    best = [sorted(photo, key=lambda item: -item["score"])[:1] for photo in predictions]
    reduced = [_reduced(truth, single) for truth, single in zip(ground_truth, best, strict=True)]
    return mask_ap(reduced, best)["ap50"]


def _reduced(truth: Sequence[Instance], single: Sequence[Instance]) -> list[Instance]:
    """The object that the prediction overlaps best, or any if there is none; and the crowd regions."""
    objects = [item for item in truth if _is_object(item)]
    crowd = [item for item in truth if not _is_object(item)]
    if not objects or not single:
        return [*objects[:1], *crowd]
    codes = [item["segmentation"] for item in objects]
    ious = coco_mask.iou([dict(single[0]["segmentation"])], codes, [0] * len(codes))[0]
    return [objects[int(ious.argmax())], *crowd]


def _instance(mask: np.ndarray) -> dict[str, Any]:
    return {"segmentation": encode_mask(mask), "iscrowd": 0}


def _is_object(item: Instance) -> bool:
    return not item.get("iscrowd", 0)


def _check(ground_truth: Sequence[Sequence[Instance]], predictions: Sequence[Sequence[Instance]]) -> None:
    if len(ground_truth) != len(predictions):
        raise ShapeError("predictions", f"({len(ground_truth)},), a list for each photo", (len(predictions),))
    for truth, predicted in zip(ground_truth, predictions, strict=True):
        items = [*truth, *predicted]
        for item in items:  # pycocotools gives IoU -1 for two sizes, without an error
            size, wanted = tuple(item["segmentation"]["size"]), tuple(items[0]["segmentation"]["size"])
            if size != wanted:
                raise ShapeError("A mask", f"{wanted}, as the others of its photo", size)
        for item in predicted:
            score = item.get("score")
            if score is None or not math.isfinite(score):
                raise ConfigError(f"A predicted mask has the score {score}. Give each one a finite number.")


def _coco_of(photos: Sequence[Sequence[Instance]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "info": {},  # loadRes of pycocotools 2.0.10 reads it
        # pycocotools asks for the size, but takes that of the run-length codes.
        "images": [{"id": number, "height": 0, "width": 0} for number in range(1, len(photos) + 1)],
        "categories": [{"id": 1}],
        "annotations": [
            item | {"id": number, "area": float(coco_mask.area(item["segmentation"]))}  # id 0 would mean "no match"
            for number, item in enumerate(_numbered(photos), start=1)
        ],
    }
    coco.createIndex()
    return coco


def _numbered(photos: Sequence[Sequence[Instance]]) -> list[dict[str, Any]]:
    """All instances as new dicts, since pycocotools writes into them, with an image id from 1 and one category."""
    return [
        {"iscrowd": 0}
        | {key: item[key] for key in ("iscrowd", "score") if key in item}
        | {"segmentation": dict(item["segmentation"])}  # pycocotools takes no other kind of mapping
        | {"image_id": number, "category_id": 1}
        for number, photo in enumerate(photos, start=1)
        for item in photo
    ]
