"""Stage ``foreground``: what stands out across all photos, and the masks corrected by it. No ground truth is read."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from maskdistill.datasets.splits import training_numbers
from maskdistill.files import write_json
from maskdistill.masks import decode_mask
from maskdistill.proposals.foreground import (
    ForegroundHeads,
    assign_folds,
    fit_heads,
    patch_vectors,
)
from maskdistill.stages.context import Context
from maskdistill.stages.embed import make_pools, make_tokens
from maskdistill.stages.imported import STAY
from maskdistill.stages.merge import write_results
from maskdistill.stages.photo_work import do_photos
from maskdistill.stages.pool import map_photos
from maskdistill.stages.tasks import PhotoResult, Task, WorkerSpec
from maskdistill.storage.photo_arrays import ArrayStore
from maskdistill.storage.read_files import read_json, read_json_if_there
from maskdistill.storage.token_store import TOKEN_INFO

STAGE = "foreground"
FEWEST_PHOTOS = 8  # with masks; what fewer have in common says nothing
MOST_PHOTOS = 2_000  # that the heads learn from, spread over all
MOST_BYTES = 320 * 2**20  # of the patches of these photos that they learn from


def find_foreground(context: Context) -> str:
    """Train the heads, judge every photo by one that never saw it, and write the masks after that.

    The proposals stay as they are. Where the stage is switched off, or there are too few photos, they count in all that
    follows.
    """
    folder, record = context.run.foreground, {"from": context.key}
    context.run.repairs.drop_masks()
    folder.drop_masks()
    if why := _why_not(context):
        if folder.path.exists():
            shutil.rmtree(folder.path)
        write_json(folder.record_path, {"used": False, "why": why, **record})
        return why
    known = read_json_if_there(folder.record_path)
    if known is None or known.get("from") != context.key:
        if folder.path.exists():
            shutil.rmtree(folder.path)
        write_json(folder.record_path, {"used": False, "why": "It is not finished.", **record})
    at_work = replace(context, reports_as=STAGE)
    learnt = _learnt_photos(context)
    digests = [context.photo(number).digest for number in learnt]
    folds = assign_folds(digests, context.config.foreground.folds, context.config.seed)
    if not folder.heads_path.is_file():
        make_tokens(at_work, learnt)
        _fit(context, learnt, folds).save(folder.heads_path)
    make_tokens(at_work)
    make_pools(at_work)
    results = _judge_photos(context, folds)
    write_results(folder.codes_path, context.source, results)
    counts = {
        "photos": len(context.source.photos),
        "trained_on": len(learnt),
        "masks": sum(len(item["annotations"]) for item in results),
        "recut": sum(annotation["recut"] for item in results for annotation in item["annotations"]),
    }
    write_json(folder.record_path, {"used": True, "why": "", **counts, **record})
    kept = sum(bool(item["error"]) for item in results if item["annotations"])
    left = f"; {kept} photos could not be judged and keep their masks as cut" if kept else ""
    return f"Learnt on {len(learnt)} photos: {counts['recut']} of {counts['masks']} masks cut anew{left}."


def _why_not(context: Context) -> str:
    if context.run.imported is not None:
        return STAY
    if not context.config.foreground.enabled:
        return "Not used: foreground.enabled is off. The masks stay as cut."
    groups = len({context.photo(number).digest for number in _learnt_photos(context)})
    wanted = max(FEWEST_PHOTOS, context.config.foreground.folds)
    if groups < wanted:
        return f"Left out: {groups} photos with masks are too few to learn from, {wanted} are needed."
    return ""


def _learnt_photos(context: Context) -> list[int]:
    """Numbers of the photos that the heads may learn from: those that training may see, with a mask."""
    return [number for number in training_numbers(context.source) if as_cut(context.annotations.get(number, []))]


def as_cut(annotations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The masks of a photo that were cut, not chosen from its pool."""
    return [item for item in annotations if item.get("pool", -1) < 0]


def _fit(context: Context, learnt: Sequence[int], folds: dict[str, int]) -> ForegroundHeads:
    chosen = learnt[:: max(1, -(-len(learnt) // MOST_PHOTOS))]
    config, seed = context.config.foreground, context.config.seed
    total = len(chosen) + config.folds * config.steps
    with context.reporter(STAGE, total, unit="steps of training") as reporter:
        drawn = [
            (vectors, targets, np.full(len(targets), folds[context.photo(number).digest]))
            for number, vectors, targets in _draw(context, chosen, reporter.advance)
        ]
        vectors, targets, fold_of = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        del drawn
        return fit_heads(vectors, targets, fold_of, config, seed, reporter.advance)


def _draw(
    context: Context, chosen: Sequence[int], on_photo: Callable[[], object]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Of each photo its number, float16 vectors of some of its patches, and how much of each its masks cover.

    Every photo gives as many patches, so that they take at most ``MOST_BYTES`` together.
    """
    from maskdistill.datasets.transforms import pixels_to_patches  # loads torch

    num_blocks = len(read_json(context.tokens_path / TOKEN_INFO)["blocks"])
    for number in chosen:
        vectors = patch_vectors(context.tokens.read(number), num_blocks)
        mask = np.any([decode_mask(item["segmentation"]) for item in as_cut(context.annotations[number])], axis=0)
        targets = pixels_to_patches(mask, context.geometry(context.photo(number))).ravel()
        most = max(1, MOST_BYTES // (2 * vectors.shape[1] * len(chosen)))
        rows = np.sort(np.random.default_rng((context.config.seed, number)).permutation(len(vectors))[:most])
        yield number, vectors[rows].astype(np.float16), targets[rows]
        on_photo()


def _judge_photos(context: Context, folds: Mapping[str, int]) -> list[dict[str, Any]]:
    """A result of every photo: probability map written, masks after it. Photos that are done are kept."""
    run, maps = context.run, ArrayStore(context.run.foreground.maps_path)
    tasks = [
        (number, photo, context.annotations.get(number, []), folds.get(photo.digest))
        for number, photo in context.readable
    ]
    options = {
        "tokens": context.tokens_path,
        "pool": run.pool if context.config.proposals.chooses_from_pool else None,
        "old_thumbs": run.thumbs,
        "thumbs": run.thumbs_path(context.key),
    }
    spec = WorkerSpec("maskdistill.stages.foreground_worker:ForegroundWorker", run.path, context.config, options)
    work = partial(map_photos, spec, workers=context.workers, on_crash=_keep_crashed)
    return do_photos(context, STAGE, tasks, work, made=lambda number: maps.path(number).is_file())


def keep_cut(number: int, cut: list[dict[str, Any]], reason: str) -> PhotoResult:
    """The result of a photo that cannot be judged."""
    plain = [{**item, "segmentation": dict(item["segmentation"]), "parts": dict(item["parts"])} for item in cut]
    return PhotoResult(number, [{**item, "recut": False, "cut_id": item["id"]} for item in plain], error=reason)


def _keep_crashed(task: Task, reason: str) -> PhotoResult:
    return keep_cut(task[0], task[2], reason)
