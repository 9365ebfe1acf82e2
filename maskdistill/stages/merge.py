"""From the results of all photos, shard by shard, to the files of one run."""

import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from maskdistill import __version__
from maskdistill.datasets import Photo, PhotoSource
from maskdistill.datasets.photo_table import paths_of
from maskdistill.files import write_json
from maskdistill.storage.run_folder import Run, path_bytes_of, write_images, write_table


def merge_results(run: Run, source: PhotoSource, results: Sequence[dict[str, Any]]) -> None:
    """Write proposals.json, masks.parquet and images.parquet; masks made from earlier proposals go first.

    Args:
        run: Run folder.
        source: Photos.
        results: ``PhotoResult`` of every photo as a dictionary, in the order of the photos.
    """
    run.repairs.drop_masks()
    run.foreground.drop_masks()
    write_json(run.proposals_path, as_coco(source, results), indent=None)
    write_table(run.cut_masks_path, mask_rows(source, results))
    write_images(run, source, *(_said(source, results, name) for name in ("error", "problem")))


def follow_move(run: Run, source: PhotoSource) -> None:
    """The same photos under other paths: write down where they are now, beside what was found out about them."""
    left_out = [os.fsencode(item.path) for item in source.skipped_photos]
    if path_bytes_of(run.images(("path", "path_bytes"))) == paths_of(source.photos) + left_out:
        return
    table = run.images()
    unreadable = table[~table["readable"].astype(bool)]
    errors, problems = (
        dict(zip(rows["id"], rows[column], strict=True))
        for rows, column in ((unreadable, "reason"), (table, "problem"))
    )
    write_images(run, source, errors, problems)


def mask_rows(source: PhotoSource, results: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row a mask, the photos in order, best mask first."""
    rows = [
        _mask_row(source.photos[item["number"]], item, rank)
        for item in results
        for rank in range(len(item["annotations"]))
    ]
    return pd.DataFrame(rows, columns=None if rows else ["mask_id", "image_id", "score"])


def as_coco(source: PhotoSource, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same masks as COCO."""
    return {
        "info": {"description": f"Unsupervised object masks of {source.spec}, by maskdistill {__version__}"},
        "images": [
            {"id": number, "file_name": source.file_name(photo), "height": photo.height, "width": photo.width}
            for number, photo in enumerate(source.photos)
        ],
        "annotations": [annotation for item in results for annotation in item["annotations"]],
        "categories": [{"id": 1, "name": "object", "supercategory": "object"}],
    }


def _said(source: PhotoSource, results: Sequence[dict[str, Any]], name: str) -> dict[str, str]:
    """Photo id -> error or problem, of the photos that have one."""
    return {source.photos[item["number"]].id: item[name] for item in results if item[name]}


def _mask_row(photo: Photo, item: dict[str, Any], rank: int) -> dict[str, Any]:
    annotation = item["annotations"][rank]
    x, y, width, height = annotation["bbox"]
    return {
        "mask_id": annotation["id"],
        "image_id": photo.id,
        "rank": rank,
        "score": annotation["score"],
        "area": annotation["area"] / (photo.height * photo.width),
        "bbox_x": x,
        "bbox_y": y,
        "bbox_w": width,
        "bbox_h": height,
        "problem": (item["problem"] or "") if rank == 0 else "",
        **{name: annotation[name] for name in ("recut", "cut_id", "pool", "category", "mended") if name in annotation},
        **{f"part_{name}": value for name, value in annotation["parts"].items()},
    }
