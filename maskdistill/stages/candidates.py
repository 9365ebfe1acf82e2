"""Stage ``candidates``: the first model's view of every mask of the training photos, and of objects none had.

Where ``RunConfig.judges_instances`` these are the single objects that the stage ``instances`` found.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.datasets import read_photo
from maskdistill.errors import DatasetError
from maskdistill.files import write_json
from maskdistill.masks import border_share, decode_mask, describe_mask
from maskdistill.proposals.thumbnails import write_thumbnail
from maskdistill.pseudo_labels.candidates import PredictedMask, compare_with_prediction
from maskdistill.pseudo_labels.objects import compare_objects
from maskdistill.stages.context import Context, annotations_by_photo
from maskdistill.storage.mask_store import read_masks
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import DRAWN, MASKS_PER_PHOTO, LabelFolder, write_table

SHORT_SIDE = 480  # pixels at which photos are read for thumbnails: a small object still has some
INSTANCES = "instances"  # origin of a single object that no proposal was
Objects = dict[int, list[dict[str, Any]]]  # COCO annotations of the single objects, by photo
Judged = tuple[list[dict[str, Any]], list[dict[str, Any]]]  # of one photo: rows of the table, COCO annotations


def find_candidates(context: Context) -> str:
    """Write what the first model makes of the training photos."""
    predictor = context.predictor("stage1")
    views = ((number, predictor.probabilities(context.photo(number))) for number in context.training_numbers)
    sentence = write_candidates(context, views, context.run, "stage1")
    write_seen_thumbnails(context)
    return sentence


def write_candidates(
    context: Context, views: Iterable[tuple[int, np.ndarray]], folder: LabelFolder, origin: str
) -> str:
    """Write candidates.parquet (signals, one row a mask) and candidates.json (COCO, masks as the model draws them).

    Args:
        context: The run.
        views: Number of every training photo, in any order, with the model's (K + 1, H, W) probabilities.
        folder: Where to.
        origin: The model, as the origin of what no proposal was.
    """
    table = context.run.classes().set_index("mask_id")
    objects, why = _read_objects(context)
    judged: dict[int, Judged] = {}
    with context.reporter("candidates", len(context.training_numbers)) as reporter:
        for number, probabilities in views:
            judged[number] = _judge(context, number, probabilities, table, origin, objects)
            reporter.advance()
    rows = [row for number in context.training_numbers for row in judged[number][0]]
    annotations = [item for number in context.training_numbers for item in judged[number][1]]
    write_table(folder.candidates_path, pd.DataFrame(rows))
    used = sorted({*table["cluster"].tolist(), *(row["label"] for row in rows)})
    coco = {
        "images": [
            {"id": number, "file_name": context.photo(number).id, "height": photo.height, "width": photo.width}
            for number in context.training_numbers
            for photo in [context.photo(number)]
        ],
        "annotations": annotations,
        "categories": [{"id": label, "name": f"cluster {label}"} for label in used],
    }
    write_json(folder.candidate_masks_path, coco, indent=None)
    new = sum(row["origin"] != "proposal" for row in rows)
    kind = "candidates" if objects is None else "single objects as candidates"
    return f"{len(rows)} {kind}, {new} of them where no proposal was.{why}"


def _read_objects(context: Context) -> tuple[Objects | None, str]:
    """The single objects, if they are the candidates; where there are none, a sentence that says why not."""
    if not context.config.judges_instances:
        return None, ""
    folder = context.run.instances
    record = read_json(folder.record_path)
    return (
        (annotations_by_photo(folder.codes_path), "")
        if record["used"]
        else (None, f" No single objects: {record['why']}")
    )


def as_mended(seen: PredictedMask, items: list[dict[str, Any]]) -> PredictedMask:
    """What people drew is drawn as they did, whatever the model makes of it."""
    if seen.proposal is None or not items[seen.proposal].get("mended"):
        return seen
    mask = decode_mask(items[seen.proposal]["segmentation"])
    return replace(seen, mask=mask, area=float(mask.mean()), border=border_share(mask))


def write_seen_thumbnails(context: Context) -> None:
    """Crops of the objects that no proposal was, beside those of the proposals."""
    proposed = {item["id"] for items in context.annotations.values() for item in items}
    by_photo: dict[int, list[dict[str, Any]]] = {}
    for item in read_masks(context.run.candidate_masks_path)["annotations"]:
        if item["id"] not in proposed:
            by_photo.setdefault(item["image_id"], []).append(item)
    for number, items in by_photo.items():
        photo = context.photo(number)
        try:
            image = read_photo(photo, min_short_side=SHORT_SIDE)
        except DatasetError:  # it was removed since; the page that shows the mask reports that
            continue
        for item in items:
            path = context.run.thumbnail(item["id"])
            write_thumbnail(path, image, item["bbox"], (photo.height, photo.width))


def _judge(
    context: Context,
    number: int,
    probabilities: np.ndarray,
    table: pd.DataFrame,
    origin: str,
    objects: Objects | None,
) -> Judged:
    proposals = context.annotations[number]
    items = [item for item in proposals if item["id"] in table.index]
    clusters = [int(table["cluster"].loc[item["id"]]) for item in items]
    min_area, taken = context.config.candidates.min_area, _taken(context, number)
    room = min(MASKS_PER_PHOTO, max(0, context.run.masks_per_photo - taken))
    if objects is None or not objects.get(number):  # a photo that could not be read again has none
        masks = [decode_mask(item["segmentation"]) for item in items]
        seen = compare_with_prediction(probabilities, masks, clusters, min_area)
    else:
        others = [item for item in proposals if item["id"] not in table.index]
        seen = compare_objects(
            probabilities, objects[number], items, clusters, others=others, min_area=min_area, most_new=room
        )
        origin = INSTANCES
    seen = [as_mended(item, items) for item in seen]
    numbered = _numbered(number, items, seen, context.run.masks_per_photo, taken, room)
    rows = [_row(context, number, mask_id, item, items, table, origin) for mask_id, item in numbered]
    return rows, [_annotation(number, mask_id, item) for mask_id, item in numbered]


def _taken(context: Context, number: int) -> int:
    """The first of the photo's places that no proposal has, nor any behind it."""
    ids = [item["id"] for item in context.annotations[number] if item["id"] < DRAWN]
    return max(ids) % context.run.masks_per_photo + 1 if ids else 0


def _numbered(
    number: int, items: list[dict[str, Any]], seen: list[PredictedMask], masks_per_photo: int, taken: int, room: int
) -> list[tuple[int, PredictedMask]]:
    """Ids: proposals keep theirs, new objects take what is left of the photo's places."""
    new = [item for item in seen if item.proposal is None][:room]
    old = [(items[item.proposal]["id"], item) for item in seen if item.proposal is not None]
    return old + [(number * masks_per_photo + taken + rank, item) for rank, item in enumerate(new)]


def _row(
    context: Context,
    number: int,
    mask_id: int,
    seen: PredictedMask,
    items: list[dict[str, Any]],
    table: pd.DataFrame,
    origin: str,
) -> dict[str, Any]:
    known = seen.proposal is not None
    return {
        "mask_id": mask_id,
        "image_id": context.photo(number).id,
        "image": number,
        "origin": "proposal" if known else origin,
        "cluster": int(table["cluster"].loc[mask_id]) if known else seen.label,
        "label": seen.label,
        "score": seen.score,
        "iou": seen.iou,
        "agreement": seen.agreement,
        "distance": float(table["distance"].loc[mask_id]) if known else float("nan"),
        "area": seen.area,
        "border": seen.border,
        "proposal_score": float(items[seen.proposal]["score"]) if seen.proposal is not None else float("nan"),
        **({} if math.isnan(seen.object_score) else {"object_score": seen.object_score}),
    }


def _annotation(number: int, mask_id: int, seen: PredictedMask) -> dict[str, Any]:
    return {
        "id": mask_id,
        "image_id": number,
        "category_id": seen.label,
        **describe_mask(seen.mask),
        "score": round(seen.score, 6),
    }
