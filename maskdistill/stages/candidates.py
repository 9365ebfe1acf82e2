"""Stage ``candidates``: the first model's view of every mask of the training photos, and of objects none had."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.datasets import read_photo
from maskdistill.errors import DatasetError
from maskdistill.files import write_json
from maskdistill.masks import decode_mask, describe_mask
from maskdistill.proposals.thumbnails import write_thumbnail
from maskdistill.pseudo_labels.candidates import PredictedMask, compare_with_prediction
from maskdistill.stages.context import Context
from maskdistill.storage.mask_store import read_masks
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, LabelFolder, write_table

SHORT_SIDE = 480  # pixels at which photos are read for thumbnails: a small object still has some
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
    judged: dict[int, Judged] = {}
    with context.reporter("candidates", len(context.training_numbers)) as reporter:
        for number, probabilities in views:
            judged[number] = _judge(context, number, probabilities, table, origin)
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
    new = sum(row["origin"] == origin for row in rows)
    return f"{len(rows)} candidates, {new} of them where no proposal was."


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


def _judge(context: Context, number: int, probabilities: np.ndarray, table: pd.DataFrame, origin: str) -> Judged:
    items = [item for item in context.annotations[number] if item["id"] in table.index]
    masks = [decode_mask(item["segmentation"]) for item in items]
    clusters = [int(table.at[item["id"], "cluster"]) for item in items]
    seen = compare_with_prediction(probabilities, masks, clusters, context.config.candidates.min_area)
    numbered = _numbered(number, items, seen, len(context.annotations[number]))
    rows = [_row(context, number, mask_id, item, items, table, origin) for mask_id, item in numbered]
    return rows, [_annotation(number, mask_id, item) for mask_id, item in numbered]


def _numbered(
    number: int, items: list[dict[str, Any]], seen: list[PredictedMask], taken: int
) -> list[tuple[int, PredictedMask]]:
    """Ids: proposals keep theirs, new objects take what is left of the photo's ten."""
    new = [item for item in seen if item.proposal is None][: max(0, MASKS_PER_PHOTO - taken)]
    old = [(items[item.proposal]["id"], item) for item in seen if item.proposal is not None]
    return old + [(number * MASKS_PER_PHOTO + taken + rank, item) for rank, item in enumerate(new)]


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
        "cluster": int(table.at[mask_id, "cluster"]) if known else seen.label,
        "label": seen.label,
        "score": seen.score,
        "iou": seen.iou,
        "agreement": seen.agreement,
        "distance": float(table.at[mask_id, "distance"]) if known else float("nan"),
        "area": seen.area,
        "border": seen.border,
        "proposal_score": float(items[seen.proposal]["score"]) if known else float("nan"),
    }


def _annotation(number: int, mask_id: int, seen: PredictedMask) -> dict[str, Any]:
    return {
        "id": mask_id,
        "image_id": number,
        "category_id": seen.label,
        **describe_mask(seen.mask),
        "score": round(seen.score, 6),
    }
