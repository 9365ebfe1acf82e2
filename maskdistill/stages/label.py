"""Stage ``pseudo_labels``: a label map for every training photo that has a mask left."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.config import LabelConfig
from maskdistill.errors import RunError
from maskdistill.files import write_json
from maskdistill.masks import decode_mask
from maskdistill.pseudo_labels.label_maps import paint_labels, write_label_png
from maskdistill.stages.context import Context
from maskdistill.storage.label_folder import LabelFolder
from maskdistill.storage.mask_store import read_masks
from maskdistill.storage.run_folder import Run

LabelsOf = Callable[[int], np.ndarray]  # number of a photo -> its (H, W) uint8 label map


def paint_pseudo_labels(context: Context) -> str:
    """Paint what is kept of the first model's candidates."""
    return write_label_maps(context, context.run, "stage1")


def write_label_maps(context: Context, folder: LabelFolder, model: str) -> str:
    """Write pseudo_labels/*.png, and pseudo_labels.json with the numbers of their photos.

    Args:
        context: The run.
        folder: Where the candidates and what is kept of them lie, and where to write.
        model: Whose candidates they are, as ``Context.predictor`` takes it.

    Raises:
        RunError: If no mask is kept.
    """
    config = context.config.labels
    by_photo = candidates_by_photo(folder)
    photos = [number for number, rows in by_photo.items() if rows["kept"].any()]
    if not photos:
        raise RunError("The filter keeps no mask, so there is nothing to learn from. Loosen its thresholds.")
    codes = mask_codes(context.run, config, folder)
    unsure = np.zeros(256, dtype=np.int64)
    with context.reporter("pseudo_labels", len(photos)) as reporter:
        for number in photos:
            labels = paint_photo(context, number, by_photo[number], codes, config, model)
            write_label_png(folder.pseudo_label(number), labels)
            unsure += np.bincount(labels.ravel(), minlength=256)
            reporter.advance()
    write_json(folder.path / "pseudo_labels.json", {"photos": photos})
    for number in set(context.training_numbers) - set(photos):  # of an earlier filter
        folder.pseudo_label(number).unlink(missing_ok=True)
    return f"{len(photos)} label maps; {unsure[255] / unsure.sum():.0%} of their pixels are left open."


def candidates_by_photo(folder: LabelFolder) -> dict[int, pd.DataFrame]:
    """Rows of candidates.parquet with the filter's columns, of each photo that has any, by rising number."""
    table = folder.candidates().merge(folder.kept(), on="mask_id")
    return {int(rows["image"].iloc[0]): rows for _, rows in table.groupby("image")}


def paint_photo(
    context: Context,
    number: int,
    rows: pd.DataFrame,
    codes: dict[int, dict[str, Any]],
    config: LabelConfig,
    model: str = "stage1",
) -> np.ndarray:
    """(H, W) uint8 label map of one photo from a model's candidates; ``rows`` has the columns ``kept``, ``relabel``."""
    photo = context.photo(number)
    labels = rows["label" if config.classes == "stage1" else "cluster"]
    probability = None
    if config.min_probability > 0:
        probability = context.predictor(model).probabilities(photo).max(axis=0)
    return paint_labels(
        (photo.height, photo.width),
        [decode_mask(codes[mask_id]) for mask_id in rows["mask_id"]],
        labels.mask(rows["relabel"] > 0, rows["relabel"]).to_numpy(),
        rows["score"].to_numpy(),
        rows["kept"].to_numpy(),
        config,
        probability,
    )


def clustered_labels(context: Context, number: int, clusters: dict[int, int]) -> np.ndarray:
    """(H, W) uint8 label map of a photo's proposals, each in its cluster, before any filter."""
    photo = context.photo(number)
    items = [item for item in context.annotations.get(number, []) if item["id"] in clusters]
    return paint_labels(
        (photo.height, photo.width),
        [decode_mask(item["segmentation"]) for item in items],
        [clusters[item["id"]] for item in items],
        [item["score"] for item in items],
        [True] * len(items),
        LabelConfig(),
    )


def flat_labels(context: Context, number: int, value: int = 0) -> np.ndarray:
    """(H, W) uint8 label map with the same label for every pixel of a photo: background, or 255 for unknown."""
    photo = context.photo(number)
    return np.full((photo.height, photo.width), value, np.uint8)


def mask_codes(run: Run, config: LabelConfig, folder: LabelFolder | None = None) -> dict[int, dict[str, Any]]:
    """Run-length codes of the masks to paint: as the model draws them, or the proposals where there is one.

    ``folder`` holds the candidates; None means the first model's, in the run itself.
    """
    path = (folder or run).candidate_masks_path
    found = {item["id"]: item["segmentation"] for item in read_masks(path)["annotations"]}
    if config.masks == "proposals":
        found |= {item["id"]: item["segmentation"] for item in read_masks(run.codes_path)["annotations"]}
    return found
