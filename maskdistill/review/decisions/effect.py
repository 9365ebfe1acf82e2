"""What people's marks decide, mask by mask. Pure: no file is read."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from maskdistill.review.decisions.records import Action

SAME_MASK = 0.75  # IoU of two boxes of a photo from which a mask that was made anew is the same
BOX = ["x", "y", "w", "h"]


@dataclass(frozen=True, eq=False)
class Effective:
    """People's latest decision on each of N masks."""

    decision: np.ndarray  # (N,) int8: 1 accepted or relabelled, -1 rejected, 0 neither
    cluster: np.ndarray  # (N,) int32: the class that a person gave it, 0 for none
    step: np.ndarray  # (N,) int64: of that decision, 0 for none
    reviewer: np.ndarray  # (N,) str: by whom, "" for nobody
    skipped: np.ndarray  # (N,) bool: whether the last that anybody did was to skip it; an earlier decision stands
    orphaned: int  # marks on masks that are not here


def effective(marks: pd.DataFrame, frame: pd.DataFrame) -> Effective:
    """The decision on each mask that marks lead to: the latest on a mask counts, whoever made it.

    A mask is found by id, photo and box; one that was made anew, by the box of its photo that overlaps the mark's best,
    by an IoU of ``SAME_MASK`` at least. One that people mended is the same under every box that it had. A mark without
    a mask waits. One about an earlier clustering
    (``dormant``) takes back earlier decisions, and decides nothing itself.

    Args:
        marks: As ``read_marks`` gives them, in order.
        frame: Masks: mask_id, image_id, x, y, w, h.

    Returns:
        One entry a row of ``frame``.
    """
    rows = _rows_of(marks, frame)
    found = rows >= 0
    action = marks["action"].to_numpy(object)[found]
    rows, number = rows[found], len(frame)
    skips = action == Action.SKIP
    clear = (action == Action.CLEAR) | marks["dormant"].to_numpy(bool)[found]
    decision = np.where(clear, 0, np.where(action == Action.REJECT, -1, 1)).astype(np.int8)
    cluster = np.where(clear | (action != Action.RELABEL), 0, marks["cluster"].to_numpy()[found])
    step = np.where(clear, 0, marks["step"].to_numpy()[found])
    reviewer = np.where(clear, "", marks["reviewer"].to_numpy(object)[found])
    skipped = np.zeros(number, bool)
    skipped[rows] = skips  # of equal indices the last one counts, here and below
    decided = rows[~skips]
    result = Effective(
        decision=np.zeros(number, np.int8),
        cluster=np.zeros(number, np.int32),
        step=np.zeros(number, np.int64),
        reviewer=np.full(number, "", object),
        skipped=skipped,
        orphaned=int(np.count_nonzero(~found)),
    )
    for name, values in (("decision", decision), ("cluster", cluster), ("step", step), ("reviewer", reviewer)):
        getattr(result, name)[decided] = values[~skips]
    return result


def _rows_of(marks: pd.DataFrame, frame: pd.DataFrame) -> np.ndarray:
    """Row of the mask that each mark is about, -1 for none."""
    if not len(marks) or not len(frame):
        return np.full(len(marks), -1)
    ids, wanted = frame["mask_id"].to_numpy(), marks["mask_id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    rows = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    same = ids[rows] == wanted
    for name in BOX:
        same &= frame[name].to_numpy()[rows] == marks[name].to_numpy()
    same &= frame["image_id"].take(rows).to_numpy(object) == marks["image_id"].to_numpy(object)
    if "forms" in marks:
        _find_repaired(marks, frame, rows, same)
    moved = np.flatnonzero(~same)
    if len(moved):
        rows[moved] = _most_alike(marks.iloc[moved], frame)
    return rows


def _find_repaired(marks: pd.DataFrame, frame: pd.DataFrame, rows: np.ndarray, same: np.ndarray) -> None:
    """Find the masks that people mended, by any of their boxes; ``rows`` and ``same`` are completed."""
    row_of = {mask_id: row for row, mask_id in enumerate(frame["mask_id"].tolist())}
    ids, photos = marks["mask_id"].tolist(), marks["image_id"].tolist()
    boxes, images = frame[BOX].to_numpy(), frame["image_id"].to_numpy(object)
    for place, forms in enumerate(marks["forms"].tolist()):
        if forms is None or same[place]:
            continue
        for mask_id in (ids[place], forms[0]):
            row = row_of.get(mask_id)
            if row is not None and images[row] == photos[place] and tuple(map(int, boxes[row])) in forms[1]:
                rows[place], same[place] = row, True
                break


def _most_alike(marks: pd.DataFrame, frame: pd.DataFrame) -> np.ndarray:
    """Row of the mask of the same photo whose box overlaps each mark's best, -1 if none does well enough."""
    numbers, photos = pd.factorize(frame["image_id"])
    order = np.argsort(numbers, kind="stable")
    wanted = pd.Index(photos).get_indexer(marks["image_id"])
    wanted[wanted < 0] = len(photos)  # a photo that is not there
    first, last = (np.searchsorted(numbers[order], wanted, side) for side in ("left", "right"))
    counts = last - first
    places = np.repeat(np.arange(len(marks)), counts)  # every mark with every mask of its photo
    rows = order[np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(len(places))]
    iou = _box_iou(marks[BOX].to_numpy()[places], frame[BOX].to_numpy()[rows])
    best = np.full(len(marks), -1)
    same_id = frame["mask_id"].to_numpy()[rows] == marks["mask_id"].to_numpy()[places]
    rising = np.lexsort((same_id, iou))  # of boxes that overlap as well, the mask of the same id
    rising = rising[iou[rising] >= SAME_MASK]
    best[places[rising]] = rows[rising]  # of equal places the last one, so the best, counts
    return best


def _box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) IoU of N pairs of boxes, (N, 4) x, y, width, height."""
    corner = np.maximum(first[:, :2], second[:, :2])
    sides = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:]) - corner
    both = np.clip(sides, 0, None).prod(axis=1)
    return both / np.maximum(first[:, 2:].prod(axis=1) + second[:, 2:].prod(axis=1) - both, 1)
