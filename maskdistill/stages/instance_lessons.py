"""What the heads that find single objects learn from: the best candidates of photos, and composites."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import numpy as np

from maskdistill.files import replace_atomically
from maskdistill.models.composites import FEWEST, MOST
from maskdistill.models.instance_head import InstanceHead, Lesson
from maskdistill.models.instances import Scored, choose_targets, make_lesson, read_candidates, read_pools
from maskdistill.models.training.checkpoint import write_tensors
from maskdistill.proposals.foreground import patch_vectors
from maskdistill.stages.context import Context
from maskdistill.stages.pool import map_photos
from maskdistill.stages.tasks import Task, WorkerSpec
from maskdistill.storage.photo_arrays import ArrayStore, PoolStore, VectorStore
from maskdistill.storage.read_files import read_json
from maskdistill.storage.token_store import TOKEN_INFO

STAGE = "instances"
PROJECTION_PATCHES = 40_000  # that PCA looks at
CACHED_BYTES = 512 * 2**20  # of points kept in memory; the rest is read again in each epoch


def start_head(context: Context, place: int, numbers: Sequence[int]) -> InstanceHead:
    """A head before its training, with the projection of the patches of these photos; made once."""
    path = context.run.instances.head(place).start_path
    if not path.is_file():
        num_blocks = len(read_json(context.tokens_path / TOKEN_INFO)["blocks"])
        most = max(1, PROJECTION_PATCHES // len(numbers))
        sample = []
        for number in numbers:
            vectors = patch_vectors(context.tokens.read(number), num_blocks)
            order = np.random.default_rng((context.config.seed, number)).permutation(len(vectors))
            sample.append(vectors[np.sort(order[:most])])
        drawn = np.concatenate(sample)
        dimensions = min(context.config.foreground.dimensions, drawn.shape[1])
        head = InstanceHead(drawn.shape[1], dimensions, seed=context.config.seed)
        head.look_at(drawn)
        replace_atomically(path, partial(write_tensors, tensors=head.state_dict(), values={}))
    return InstanceHead.load(path)


@dataclass(frozen=True, eq=False)
class Lessons:
    """Those of one head: photos first, then composites."""

    context: Context
    place: int  # of the head
    head: InstanceHead = field(repr=False)
    numbers: Sequence[int]  # of the photos
    targets: Mapping[int, Scored] = field(repr=False)  # of each, by its number
    composites: Sequence[int]  # numbers of those that could be made
    usual: float  # score of a usual photo's best candidate
    cache: dict[int, Lesson] = field(default_factory=dict, repr=False)

    @classmethod
    def make(cls, context: Context, heads: Sequence[InstanceHead], photos: Sequence[Sequence[int]]) -> list[Self]:
        """Those of each head. Targets of the photos are chosen, and composites made that there are not yet.

        Args:
            context: The run.
            heads: Before their training.
            photos: Numbers of the photos that each head learns from.
        """
        composites = _make_composites(context, photos)
        learnt = sorted({number for numbers in photos for number in numbers})
        targets = {}
        with context.reporter(STAGE, len(learnt)) as reporter:
            for number in learnt:
                targets[number] = _targets_of(context, number)
                reporter.advance()
        lessons = []
        for place, (head, numbers) in enumerate(zip(heads, photos, strict=True)):
            best = [targets[number].scores[0] for number in numbers if len(targets[number].scores)]
            usual = float(np.median(best)) if best else 0.0
            lessons.append(cls(context, place, head, numbers, targets, composites[place], usual))
        return lessons

    def __len__(self) -> int:
        return len(self.numbers) + len(self.composites)

    def read(self, index: int) -> Lesson:
        """A lesson by its place."""
        if index in self.cache:
            return self.cache[index]
        photos = len(self.numbers)
        lesson = self._of_photo(index) if index < photos else self._of_composite(self.composites[index - photos])
        if (len(self.cache) + 1) * lesson.points.nbytes <= CACHED_BYTES:
            self.cache[index] = lesson
        return lesson

    def _of_photo(self, index: int) -> Lesson:
        number, context = self.numbers[index], self.context
        tokens = context.tokens.read(number)
        vectors = patch_vectors(tokens, len(read_json(context.tokens_path / TOKEN_INFO)["blocks"]))
        points = self.head.points_of(vectors, _probability(context, number))
        return make_lesson(points, self.targets[number], self.usual, context.config.instances.least_target)

    def _of_composite(self, number: int) -> Lesson:
        found = VectorStore(self.context.run.instances.head(self.place).composites_path).read([number])
        rows, cols = (int(side) for side in found["grid"][0])
        masks = found["masks"].reshape(-1, rows, cols)
        return Lesson(
            found["points"].reshape(rows, cols, -1).astype(np.float16), masks, np.ones(len(masks), np.float32)
        )


def _probability(context: Context, number: int) -> np.ndarray:
    """(rows, cols) float32, of each patch of a photo to be foreground."""
    return ArrayStore(context.run.foreground.maps_path).read(number)[..., 0].astype(np.float32)


def _targets_of(context: Context, number: int) -> Scored:
    pools = read_pools(PoolStore(context.run.pool), number)
    pool = read_candidates(pools, _probability(context, number))
    return choose_targets(pool, context.config.instances.targets, pools[0])


def _make_composites(context: Context, photos: Sequence[Sequence[int]]) -> list[list[int]]:
    """Make those that there are not yet; numbers of those that there are, of each head."""
    heads, total = range(len(photos)), context.config.instances.composites
    wanted = [range(head, total, len(photos)) for head in heads]
    stores = [VectorStore(context.run.instances.head(head).composites_path) for head in heads]
    missing = {number for store, numbers in zip(stores, wanted, strict=True) for number in store.missing(numbers)}
    tasks = [task for task in _plan_composites(context, photos) if task[0] in missing]
    spec = WorkerSpec("maskdistill.stages.instance_worker:CompositeWorker", context.run.path, context.config)
    with context.reporter(STAGE, total, total - len(tasks), unit="composites") as reporter:
        made = map_photos(spec, tasks, context.workers, on_crash=lambda _task, _reason: False)
        with closing(made) as results:
            for _ in results:
                reporter.advance()
    left_out = [set(store.missing(numbers)) for store, numbers in zip(stores, wanted, strict=True)]
    return [[number for number in wanted[head] if number not in left_out[head]] for head in heads]


def _plan_composites(context: Context, photos: Sequence[Sequence[int]]) -> list[Task]:
    """Which objects come into which photo: best masks of photos, of those whose best masks score highest.

    The heads take turns, and each one's are made of the photos that it learns from alone.
    """
    best: dict[int, dict[str, Any]] = {
        number: context.annotations[number][0] for numbers in photos for number in numbers
    }
    sources = []
    for numbers in photos:
        scores = [best[number]["score"] for number in numbers]
        least = np.quantile(scores, 1 - context.config.instances.confident)
        sources.append([number for number in numbers if best[number]["score"] >= least])
    tasks: list[Task] = []
    for number in range(context.config.instances.composites):
        head = number % len(photos)
        generator = np.random.default_rng((context.config.seed, number, 0))
        background = photos[head][int(generator.integers(len(photos[head])))]
        places = generator.integers(len(sources[head]), size=generator.integers(FEWEST, MOST + 1))
        chosen = [sources[head][place] for place in places]
        objects = [(context.photo(other), best[other]["segmentation"]) for other in chosen]
        tasks.append((number, head, context.photo(background), objects))
    return tasks
