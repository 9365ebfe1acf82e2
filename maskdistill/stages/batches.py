"""Photos that go through the transformer together, and what becomes of a batch that fails. Loads no torch."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing

from maskdistill.datasets import Photo
from maskdistill.stages import shards
from maskdistill.stages.pool import HERE, Workers, map_photos
from maskdistill.stages.tasks import Batch, PhotoResult, Task, WorkerSpec


def make_batches(photos: Sequence[Photo], wanted: Sequence[int], size: int) -> Iterator[Batch]:
    """Batches, made as they are asked for, in which every photo that is wanted lies with others of its shape.

    A number format of 16 bits rounds a photo's features differently in another batch. So who goes with whom depends on
    the photos alone, not on what is left of them; some may be read again for the company of others.

    Args:
        photos: All of the run.
        wanted: Their numbers.
        size: Most photos in a batch; 0, where nobody chose: one.
    """
    if size <= 1:
        yield from (Batch.of(number, photos[number]) for number in wanted)
        return
    left = frozenset(wanted)
    per_part = shards.PHOTOS_PER_PART
    for part in sorted({number // per_part for number in wanted}):
        numbers = range(part * per_part, min((part + 1) * per_part, len(photos)))
        alike = sorted(numbers, key=lambda number: photos[number].width / photos[number].height)
        for first in range(0, len(alike), size):
            members = alike[first : first + size]
            if not left.isdisjoint(members):
                yield Batch(tuple((number, photos[number]) for number in members), left.intersection(members))


def map_batches(
    spec: WorkerSpec, photos: Sequence[Photo], wanted: Sequence[int], workers: Workers = HERE
) -> Generator[PhotoResult, None, None]:
    """``map_photos`` for workers that take a batch; one that crashes its process is done again photo by photo.

    Args:
        spec: What each process makes once; how many photos a batch has is among its settings.
        photos: All of the run.
        wanted: Their numbers.
        workers: How many processes, and where.
    """
    batches = make_batches(photos, wanted, spec.config.features.batch_size)
    yield from _map(spec, batches, len(wanted), workers)


def _map(spec: WorkerSpec, batches: Iterable[Batch], most: int, workers: Workers) -> Generator[PhotoResult, None, None]:
    """``map_batches`` of batches, of which there are so many at most."""
    crashed: list[Batch] = []

    def take_apart(task: Task, reason: str) -> list[PhotoResult]:
        batch: Batch = task[0]
        if len(batch.photos) > 1:
            crashed.append(batch)
            return []
        return [PhotoResult(number, error=reason) for number in batch.wanted]

    with closing(map_photos(spec, ((batch,) for batch in batches), workers, most, take_apart)) as found:
        for results in found:
            yield from results
    if crashed:
        singles = [single for batch in crashed for single in batch.singles()]
        yield from _map(spec, singles, len(singles), workers)
