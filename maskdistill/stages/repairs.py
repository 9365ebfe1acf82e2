"""Stage ``repairs``: the masks as people mended them. It makes nothing where nobody mended any."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from maskdistill.datasets import Photo, read_photo
from maskdistill.errors import DatasetError
from maskdistill.files import link_file, replace_atomically, write_json
from maskdistill.masks import decode_mask, describe_mask
from maskdistill.proposals.thumbnails import write_thumbnail
from maskdistill.review.decisions import Form, Repairs, read_repairs
from maskdistill.stages.context import Context, annotations_by_photo
from maskdistill.stages.kept_before import keep_before, put_back
from maskdistill.stages.merge import write_results
from maskdistill.storage.read_files import read_json, read_json_if_there
from maskdistill.storage.run_folder import Run, thumbnail_in

STAGE = "repairs"
SHORT_SIDE = 480  # pixels at which photos are read for thumbnails: a small object still has some
CLUSTER_FILES = ("clusters.parquet", "clusters.json", "embeddings.npy", "space.npz")


def mend_masks(context: Context) -> str:
    """Write all masks of the run with those that people mended, drew or joined in their places."""
    run, repairs = context.run, read_repairs(context.run)
    run.repairs.drop_masks()
    keep_before(run)
    keep_clusters(run)
    own = annotations_by_photo(run.own_codes_path)
    problems = dict(zip(*(run.images()[name].tolist() for name in ("id", "problem")), strict=True))
    by_photo: dict[int, list[Form]] = {}
    for form in repairs.forms.values():
        by_photo.setdefault(form.image, []).append(form)
    results = [
        {
            "number": number,
            "annotations": _annotations(own.get(number, []), by_photo.get(number, [])),
            "problem": problems.get(photo.id) or None,
        }
        for number, photo in enumerate(context.source.photos)
    ]
    _write_thumbnails(context, results)
    write_results(run.repairs.codes_path, context.source, results)
    record = count_repairs(repairs)
    write_json(run.repairs.record_path, record)
    return f"{describe_repairs(record)}."


def take_back(run: Run) -> None:
    """Put a run's own masks in force again, with all that was made from them: nobody's repairs count any more."""
    folder = run.repairs
    folder.drop_masks()
    run.stage_path(STAGE).unlink(missing_ok=True)
    put_back(run)
    for path in run.mended_vectors:
        shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(folder.path, ignore_errors=True)


def count_repairs(repairs: Repairs) -> dict[str, int]:
    """How many masks people mended, drew, or joined into others; and repairs of masks that are not there."""
    forms = repairs.forms.values()
    return {
        "mended": sum(form.own is not None and form.code is not None for form in forms),
        "new": sum(form.own is None for form in forms),
        "gone": sum(form.code is None for form in forms),
        "waiting": repairs.waiting,
    }


def describe_repairs(record: Mapping[str, int]) -> str:
    """The counts as a clause."""
    words = {
        "mended": "mended",
        "new": "new",
        "gone": "joined into others",
        "waiting": "waiting for a mask that is gone",
    }
    return ", ".join(f"{record[name]} {text}" for name, text in words.items() if record.get(name)) or "none mended"


def keep_clusters(run: Run) -> None:
    """Keep the clustering that was found, so that mended masks go into its clusters and it can be put back."""
    record = read_json_if_there(run.stage_path("clusters"))
    if record is None or "numbering" in record or not all((run.path / name).is_file() for name in CLUSTER_FILES):
        return  # none, or one with mended masks in the clusters of the one that is kept
    folder = run.repairs.clusters_path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").unlink(missing_ok=True)
    for name in CLUSTER_FILES:
        replace_atomically(folder / name, partial(shutil.copyfile, run.path / name))
    write_json(folder / "record.json", record)  # last: without it nothing is kept


def kept_clustering(run: Run, own_key: str) -> dict[str, Any] | None:
    """The clustering that mended masks go into, as its stage was written down.

    Args:
        run: The run.
        own_key: Fingerprint of the stage ``clusters`` as if nobody had mended a mask.

    Returns:
        None if none is kept, or one of other settings or photos: then masks are clustered as they are.
    """
    record = read_json_if_there(run.repairs.clusters_path / "record.json")
    return record if record is not None and own_key == record.get("own", record["fingerprint"]) else None


def describe_clustering(run: Run, own_key: str) -> dict[str, str]:
    """What is written down of the stage ``clusters`` where people mended masks: whose numbers it has."""
    kept = kept_clustering(run, own_key)
    return {"own": own_key} if kept is None else {"numbering": kept["fingerprint"]}


def _annotations(own: Sequence[dict[str, Any]], forms: Sequence[Form]) -> list[dict[str, Any]]:
    """A photo's annotations, its own in their order, those that people drew behind."""
    changed = {form.mask_id: form for form in forms}
    found = []
    for item in own:
        form = changed.pop(item["id"], None)
        if form is None:
            found.append({**item, "mended": False})
        elif form.code is not None:
            drawn = {**item, **describe_mask(decode_mask(form.code)), "mended": True}
            found.append({**drawn, "pool": -1} if "pool" in item else drawn)
    return found + [_drawn(form) for form in changed.values() if form.code is not None]


def _drawn(form: Form) -> dict[str, Any]:
    assert form.code is not None  # its callers look
    about = {"id": form.mask_id, "image_id": form.image, "category_id": 1}
    return {**about, **describe_mask(decode_mask(form.code)), "score": 1.0, "parts": {}, "mended": True}


def _write_thumbnails(context: Context, results: Sequence[dict[str, Any]]) -> None:
    """Crops of all masks, those of the run's own linked; of earlier repairs those stay that models found objects by."""
    run, folder = context.run, context.run.repairs.thumbs_path(context.key)
    earlier = [path for path in folder.parent.glob("*") if path != folder]
    for item in results:
        drawn = [annotation for annotation in item["annotations"] if annotation["mended"]]
        if drawn:
            _draw(context.photo(item["number"]), drawn, folder)
    for source in (run.thumbs_path(run.fingerprint_of(run.own_mask_stage)), *earlier):
        _link_missing(source, folder)
    for path in earlier:
        shutil.rmtree(path, ignore_errors=True)


def _link_missing(source: Path, target: Path) -> None:
    for path in source.glob("*/*.jpg"):
        place = target / path.relative_to(source)
        if not place.is_file():
            replace_atomically(place, partial(link_file, path))


def _draw(photo: Photo, annotations: Sequence[dict[str, Any]], folder: Path) -> None:
    try:
        image = read_photo(photo, min_short_side=SHORT_SIDE)
    except DatasetError:  # it was removed since; the page that shows the mask reports that
        return
    for item in annotations:
        write_thumbnail(thumbnail_in(folder, item["id"]), image, item["bbox"], (photo.height, photo.width))


def read_counts(run: Run) -> dict[str, int]:
    """``count_repairs`` as the stage left it."""
    return read_json(run.repairs.record_path)
