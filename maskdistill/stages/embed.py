"""Stage ``embeddings``: the raw vectors of every mask, one file a photo."""

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskdistill.files import link_file, replace_atomically, write_json
from maskdistill.stages.batches import map_batches
from maskdistill.stages.context import Context, annotations_by_photo
from maskdistill.stages.photo_work import do_photos
from maskdistill.stages.pool import map_photos
from maskdistill.stages.tasks import WorkerSpec, leave_out
from maskdistill.stages.token_axes import find_axes
from maskdistill.storage.photo_arrays import PoolStore, VectorStore
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.token_store import TOKEN_INFO

STAGE = "embeddings"


def embed(context: Context) -> str:
    """Send the crops of all masks through the backbone; photos that are done are kept."""
    make_tokens(context)
    run = context.run
    own = annotations_by_photo(run.own_codes_path) if context.own_key else context.annotations
    folder = run.vectors_path(context.own_key or context.key)
    failed = _embed_photos(context, folder, own)
    if context.own_key:
        folder = run.mended_vectors_path(context.key)
        failed = _embed_mended(context, own, folder, failed)
    for path in run.mended_vectors:  # of earlier repairs
        if path != folder:
            shutil.rmtree(path, ignore_errors=True)
    errors = {context.photo(item["number"]).id: item["error"] for item in failed}
    missed = sorted(context.photo(item["number"]).id for item in failed if item["missed"])
    record = {"folder": folder.name, "errors": errors, **({"missed": missed} if missed else {})}
    write_json(run.path / "embeddings.json", record)
    skipped = f"; {len(errors)} photos could not be read, see embeddings.json" if errors else ""
    masks, total = sum(map(len, context.annotations.values())), len(context.annotations)
    return f"Vectors of {masks} masks of {total} photos{skipped}."


def _embed_photos(context: Context, folder: Path, annotations: dict[int, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Vectors of the masks of all photos; returns the results of those that could not be read."""
    store = VectorStore(folder)
    tasks = [
        (number, context.photo(number), [item["segmentation"] for item in annotations[number]])
        for number in store.missing(sorted(annotations))
    ]
    options = {"tokens": context.tokens_path, "vectors": folder}
    spec = WorkerSpec("maskdistill.stages.worker:EmbedWorker", context.run.path, context.config, options)
    work = partial(map_photos, spec, workers=context.workers, on_crash=leave_out)
    results = do_photos(context, STAGE, tasks, work, made=lambda number: store.path(number).is_file())
    return [item for item in results if item["error"]]


def _embed_mended(
    context: Context, own: dict[int, list[dict[str, Any]]], folder: Path, failed: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Vectors of the masks that people drew, and with those of the run's own masks all that there are."""
    annotations, stored = context.annotations, VectorStore(context.run.vectors_path(context.own_key))
    drawn = {number: [item for item in items if item["mended"]] for number, items in annotations.items()}
    drawn = {number: items for number, items in drawn.items() if items}
    store = VectorStore(context.run.repairs.vectors_path / context.own_key[:12])
    for number, items in drawn.items():
        shapes = [item["segmentation"]["counts"] for item in items]
        if read_json_if_there(_shapes_path(store, number)) != shapes:
            store.path(number).unlink(missing_ok=True)
            write_json(_shapes_path(store, number), shapes)
    failed = failed + _embed_photos(replace(context, share=None), store.folder, drawn)
    lost = {item["number"] for item in failed}
    result = VectorStore(folder)
    for number in result.missing(sorted(set(annotations) - lost)):
        before, items = own.get(number, []), annotations[number]
        if before and not drawn.get(number) and len(before) == len(items):
            replace_atomically(result.path(number), partial(link_file, stored.path(number)))
        else:
            result.write(number, _together(stored, store, number, before, items))
    return failed


def _together(
    stored: VectorStore, store: VectorStore, number: int, own: list[dict[str, Any]], items: list[dict[str, Any]]
) -> dict[str, np.ndarray]:
    """Vectors of a photo's masks by name: of those that people drew, and of the run's own."""
    drawn = [item["id"] for item in items if item["mended"]]
    parts = [store.read([number], [len(drawn)])] if drawn else []
    parts += [stored.read([number], [len(own)])] if len(drawn) < len(items) else []
    ids = drawn + ([item["id"] for item in own] if len(drawn) < len(items) else [])
    rows = [ids.index(item["id"]) for item in items]  # what was mended stands before its own earlier self
    return {name: np.concatenate([part[name] for part in parts])[rows] for name in parts[0]}


def _shapes_path(store: VectorStore, number: int) -> Path:
    return store.path(number).with_suffix(".json")


def make_tokens(context: Context, before_others: Sequence[int] | None = None) -> None:
    """Patch tokens of the photos that have none yet, as where the head's blocks were changed after the masks.

    Args:
        context: The stage at work.
        before_others: Photos whose tokens are wanted before other shards may begin: where there are any, these alone.
    """
    report = partial(context.reporter, "features")
    find_axes(context.run, context.source, context.config, context.tokens_path, context.workers, report)
    numbers = context.own_numbers
    if context.share and before_others is not None:
        context, numbers = replace(context, share=None), list(before_others)
    missing = context.tokens.missing(numbers)
    if not (context.tokens_path / TOKEN_INFO).is_file():  # it is written beside the tokens of any photo
        missing = missing or numbers[:1]
    _make(context, "features", "TokenWorker", missing, {"tokens": context.tokens_path})


def make_pools(context: Context) -> None:
    """Candidates of the photos that have none any more, where the masks are chosen from them."""
    if context.config.proposals.chooses_from_pool:
        folder = context.run.pool
        _make(context, "pool", "PoolWorker", PoolStore(folder).missing(context.own_numbers), {"pool": folder})


def _make(context: Context, what: str, worker: str, numbers: list[int], options: dict[str, Any]) -> None:
    """Have a worker write the files of photos, a batch at a time; shared, the others may begin meanwhile."""
    if not numbers:
        return
    if context.share:
        context.share.begin()
    spec = WorkerSpec(f"maskdistill.stages.worker:{worker}", context.run.path, context.config, options)
    with (
        context.reporter(what, len(numbers)) as reporter,
        closing(map_batches(spec, context.source.photos, numbers, context.workers)) as results,
    ):
        for _ in results:
            reporter.advance()
