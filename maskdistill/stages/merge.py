"""From the results of all photos, shard by shard, to the files of one run."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from maskdistill import __version__
from maskdistill.datasets import PhotoSource
from maskdistill.datasets.photo_table import PLACE_COLUMNS, have_places, paths_of, written_place
from maskdistill.storage.mask_tables import as_categories, mask_table, write_masks
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import path_bytes_of, places_of, write_images


def merge_results(run: Run, source: PhotoSource, results: Sequence[dict[str, Any]]) -> None:
    """Write masks.parquet, proposals.json and images.parquet; masks made from earlier proposals go first.

    Args:
        run: Run folder.
        source: Photos.
        results: ``PhotoResult`` of every photo as a dictionary, in the order of the photos.
    """
    run.repairs.drop_masks()
    run.foreground.drop_masks()
    write_results(run.proposals_path, source, results)
    write_images(run, source, *(_said(source, results, name) for name in ("error", "problem")))


def follow_move(run: Run, source: PhotoSource) -> None:
    """The same photos under other paths: write down where they are now, beside what was found out about them."""
    left_out = [os.fsencode(item.path) for item in source.skipped_photos]
    known = run.images(("path", "path_bytes", *PLACE_COLUMNS))
    if path_bytes_of(known) == paths_of(source.photos) + left_out and _known_places(known, source):
        return
    table = run.images()
    unreadable = table[~table["readable"].astype(bool)]
    errors, problems = (
        dict(zip(rows["id"], rows[column], strict=True))
        for rows, column in ((unreadable, "reason"), (table, "problem"))
    )
    write_images(run, source, errors, problems)


def _known_places(known: pd.DataFrame, source: PhotoSource) -> bool:
    """Whether photos inside larger files still stand where images.parquet says."""
    if not have_places(source.photos):
        return not {*PLACE_COLUMNS} & {*known.columns}
    return places_of(known)[: len(source.photos)] == [written_place(photo.place) for photo in source.photos]


def write_results(
    coco_path: Path, source: PhotoSource, results: Sequence[dict[str, Any]], classes: Sequence[int] = ()
) -> None:
    """``mask_tables.write_masks`` of the results of all photos.

    Args:
        coco_path: The COCO file, which lies beside the table.
        source: Photos.
        results: As of ``merge_results``.
        classes: Numbers of the classes that masks may be in; none where all are objects of one kind.
    """
    table = mask_table(source.photos, results, has_labels=bool(classes))
    write_masks(coco_path, table, partial(as_coco, source, results, classes), classes=classes)


def as_coco(source: PhotoSource, results: Sequence[dict[str, Any]], classes: Sequence[int] = ()) -> dict[str, Any]:
    """The same masks as COCO."""
    return {
        "info": {"description": f"Unsupervised object masks of {source.spec}, by maskdistill {__version__}"},
        "images": [
            {"id": number, "file_name": source.file_name(photo), "height": photo.height, "width": photo.width}
            for number, photo in enumerate(source.photos)
        ],
        "annotations": [annotation for item in results for annotation in item["annotations"]],
        "categories": as_categories(classes),
    }


def _said(source: PhotoSource, results: Sequence[dict[str, Any]], name: str) -> dict[str, str]:
    """Photo id -> error or problem, of the photos that have one."""
    return {source.photos[item["number"]].id: item[name] for item in results if item[name]}
