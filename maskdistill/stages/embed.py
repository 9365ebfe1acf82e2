"""Stage ``embeddings``: the raw vectors of every mask, one file a photo."""

from contextlib import closing
from typing import Any

from maskdistill.files import write_json
from maskdistill.stages.context import Context
from maskdistill.stages.pool import map_photos
from maskdistill.stages.tasks import PhotoResult, WorkerSpec
from maskdistill.storage.photo_arrays import TOKEN_INFO, PoolStore, VectorStore
from maskdistill.storage.progress import Reporter


def embed(context: Context) -> str:
    """Send the crops of all masks through the backbone; photos that are done are kept."""
    make_tokens(context)
    folder = context.run.vectors_path(context.key)
    store = VectorStore(folder)
    missing = store.missing(sorted(context.annotations))
    tasks = [
        (number, context.photo(number), [item["segmentation"] for item in context.annotations[number]])
        for number in missing
    ]
    options = {"tokens": context.tokens_path, "vectors": folder}
    spec = WorkerSpec("maskdistill.stages.worker:EmbedWorker", context.run.path, context.config, options)
    total = len(context.annotations)
    with context.reporter("embeddings", total, total - len(missing)) as reporter:
        failed = [item for item in _work(spec, tasks, context.num_workers, reporter) if item.error]
    errors = {context.photo(item.number).id: item.error for item in failed}
    missed = sorted(context.photo(item.number).id for item in failed if item.missed)
    record = {"folder": folder.name, "errors": errors, **({"missed": missed} if missed else {})}
    write_json(context.run.path / "embeddings.json", record)
    skipped = f"; {len(errors)} photos could not be read, see embeddings.json" if errors else ""
    masks = sum(len(context.annotations[number]) for number in context.annotations)
    return f"Vectors of {masks} masks of {total} photos{skipped}."


def make_tokens(context: Context) -> None:
    """Patch tokens of the photos that have none yet, as where the head's blocks were changed after the masks."""
    table = context.run.images()
    readable = set(table.loc[table["readable"].astype(bool), "id"])
    numbers = [number for number, photo in enumerate(context.source.photos) if photo.id in readable]
    missing = context.tokens.missing(numbers)
    if not (context.tokens_path / TOKEN_INFO).is_file():  # it is written beside the tokens of any photo
        missing = missing or numbers[:1]
    if not missing:
        return
    spec = WorkerSpec(
        "maskdistill.stages.worker:TokenWorker", context.run.path, context.config, {"tokens": context.tokens_path}
    )
    tasks = [(number, context.photo(number)) for number in missing]
    with context.reporter("features", len(missing)) as reporter:
        _work(spec, tasks, context.num_workers, reporter)


def make_pools(context: Context) -> None:
    """Candidates of the photos that have none any more, where the masks are chosen from them."""
    if not context.config.proposals.chooses_from_pool:
        return
    table, folder = context.run.images(), context.run.pool
    readable = set(table.loc[table["readable"].astype(bool), "id"])
    numbers = [number for number, photo in enumerate(context.source.photos) if photo.id in readable]
    missing = PoolStore(folder).missing(numbers)
    if not missing:
        return
    spec = WorkerSpec("maskdistill.stages.worker:PoolWorker", context.run.path, context.config, {"pool": folder})
    with context.reporter("pool", len(missing)) as reporter:
        _work(spec, [(number, context.photo(number)) for number in missing], context.num_workers, reporter)


def _work(spec: WorkerSpec, tasks: list[tuple[Any, ...]], num_workers: int, reporter: Reporter) -> list[PhotoResult]:
    found = []
    photos = map_photos(spec, tasks, num_workers, on_crash=lambda task, reason: PhotoResult(task[0], error=reason))
    with closing(photos) as results:
        for result in results:
            found.append(result)
            reporter.advance()
    return found
