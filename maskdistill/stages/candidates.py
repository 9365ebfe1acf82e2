"""Stage ``candidates``: the first model's view of every mask of the training photos, and of objects none had.

Where ``RunConfig.judges_instances`` these are the single objects that the stage ``instances`` found.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.datasets import Photo
from maskdistill.stages.candidates_worker import PROPOSAL, Judge, Known
from maskdistill.stages.context import Context, annotations_by_photo
from maskdistill.stages.photo_work import do_photos
from maskdistill.stages.pool import map_photos
from maskdistill.stages.tasks import PhotoResult, Task, WorkerSpec, leave_out
from maskdistill.storage.label_folder import LabelFolder
from maskdistill.storage.mask_tables import as_categories, code_columns, write_masks
from maskdistill.storage.read_files import read_json

STAGE, STAGE1 = "candidates", "stage1"
Objects = dict[int, list[dict[str, Any]]]  # COCO annotations of the single objects, by photo
ViewsOf = Callable[[list[int]], Generator[tuple[int, np.ndarray], None, None]]


def find_candidates(context: Context) -> str:
    """Write what the first model makes of the training photos."""
    judge, tasks, why = _prepare(context, STAGE1)
    options = {"model": STAGE1, "tokens": context.tokens_path, "judge": judge}
    spec = WorkerSpec("maskdistill.stages.candidates_worker:CandidateWorker", context.run.path, context.config, options)
    work = partial(map_photos, spec, workers=context.light_workers, on_crash=leave_out)
    return write_candidates(context, _together(do_photos(context, STAGE, tasks, work)), context.run) + why


def judge_views(context: Context, views_of: ViewsOf, origin: str) -> list[dict[str, Any]]:
    """What another model makes of the training photos; photos that are done are kept.

    Args:
        context: The stage at work, under whose name they are kept.
        views_of: The number and the model's (K + 1, H, W) probabilities of each of some photos, in any order.
        origin: The model, as the origin of what no proposal was.

    Returns:
        As ``write_candidates`` takes it.

    Raises:
        LeftToOthersError: If photos are left to other shards, or another of them goes on.
    """
    judge, tasks, _ = _prepare(context, origin)

    def work(left: list[Task]) -> Generator[PhotoResult, None, None]:
        known = {number: item for number, _, item in left}
        with closing(views_of(list(known))) as views:
            for number, probabilities in views:
                yield PhotoResult(number, judge(number, probabilities, known[number]))

    return _together(do_photos(context, context.reports_as, tasks, work))


def _together(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for result in results for item in result["annotations"]]


def _prepare(context: Context, origin: str) -> tuple[Judge, list[tuple[int, Photo, Known]], str]:
    """What judges photos; of each training photo what was known before; and if there are no single objects, why not."""
    table = context.run.classes().set_index("mask_id")
    rows = dict(zip(table.index, zip(table["cluster"], table["distance"], strict=True), strict=True))
    objects, why = _read_objects(context)
    judge = Judge(origin, context.config.candidates.min_area, context.run.masks_per_photo)
    tasks = []
    for number in context.training_numbers:
        masks = context.annotations[number]
        clustered = {item["id"]: rows[item["id"]] for item in masks if item["id"] in rows}
        known = Known(masks, clustered, objects.get(number) if objects is not None else None)
        tasks.append((number, context.photo(number), known))
    return judge, tasks, why


def write_candidates(context: Context, judged: list[dict[str, Any]], folder: LabelFolder) -> str:
    """Write candidates.parquet: a row a mask, with signals and code; and its copy candidates.json.

    Args:
        context: The run.
        judged: COCO annotations of the candidates with their ``signals``, the photos in order.
        folder: Where to.

    Returns:
        A sentence on how many there are.
    """
    rows = [_row(context, item) for item in judged]
    table = pd.DataFrame(rows, columns=None if rows else ["mask_id"]).assign(**code_columns(judged))
    used = sorted({*context.run.classes()["cluster"].tolist(), *(row["label"] for row in rows)})
    make_coco = partial(_as_coco, context, judged, used)
    write_masks(folder.candidate_masks_path, table, make_coco, classes=used, photos=context.training_numbers)
    new = sum(row["origin"] != PROPOSAL for row in rows)
    kind = "single objects as candidates" if any("object_score" in row for row in rows) else "candidates"
    return f"{len(rows)} {kind}, {new} of them where no proposal was."


def _as_coco(context: Context, judged: list[dict[str, Any]], classes: list[int]) -> dict[str, Any]:
    return {
        "images": [
            {"id": number, "file_name": context.photo(number).id, "height": photo.height, "width": photo.width}
            for number in context.training_numbers
            for photo in [context.photo(number)]
        ],
        "annotations": [{name: value for name, value in item.items() if name != "signals"} for item in judged],
        "categories": as_categories(classes),
    }


def _row(context: Context, item: dict[str, Any]) -> dict[str, Any]:
    """A row of candidates.parquet."""
    number = item["image_id"]
    return {"mask_id": item["id"], "image_id": context.photo(number).id, "image": number, **item["signals"]}


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
