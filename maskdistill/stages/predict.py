"""Stage ``predictions``: label maps by both models, and of the photos the report is about with the CRF too."""

from collections.abc import Container, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from maskdistill.config import RunConfig
from maskdistill.crf import crf_available, refine_classes
from maskdistill.datasets import Photo, PhotoSource, read_photo
from maskdistill.errors import ConfigError
from maskdistill.painting import write_label_png
from maskdistill.progress import Reporter
from maskdistill.stages.context import Context
from maskdistill.stages.embed import make_tokens
from maskdistill.stages.pool import map_photos
from maskdistill.stages.tasks import WorkerSpec
from maskdistill.store import Run, write_json

STAGE1, STAGE2, CRF = "stage1", "stage2", "stage2_crf"


def predict_photos(context: Context) -> str:
    """Write predictions/stage1, predictions/stage2 and predictions/stage2_crf, one palette PNG a photo."""
    make_tokens(context)  # without its file a photo would pass for one that cannot be read
    numbers = [number for number in range(len(context.source.photos)) if context.tokens.path(number).is_file()]
    reported = set(reported_numbers(context.source, context.config.predictions.split))
    refined = [number for number in numbers if number in reported] if _wants_crf(context) else []
    spec = WorkerSpec("maskdistill.stages.predict:CrfWorker", context.run.path, context.config, torch=False)
    with context.reporter("predictions", len(numbers) + len(refined)) as reporter:
        tasks = _predict(context, numbers, set(refined), reporter)
        with closing(map_photos(spec, tasks, context.num_workers, len(refined))) as results:
            for _ in results:
                reporter.advance()
    write_json(context.run.path / "predictions.json", {"photos": numbers, "crf": refined})
    return f"{len(numbers)} photos by both models{f', {len(refined)} with the CRF' if refined else ''}."


def _predict(
    context: Context, numbers: Sequence[int], refined: Container[int], reporter: Reporter
) -> Iterator[tuple[int, Photo, np.ndarray]]:
    """Label maps by both models; yields the tasks of ``CrfWorker`` on the way, so that few of them are in memory."""
    predictors = {kind: context.predictor(kind) for kind in (STAGE1, STAGE2)}
    for number in numbers:
        photo = context.photo(number)
        for kind, predictor in predictors.items():
            probabilities = predictor.probabilities(photo)
            write_label_png(context.run.prediction(kind, number), probabilities.argmax(axis=0).astype(np.uint8))
        reporter.advance()
        if number in refined:
            yield number, photo, probabilities


def reported_numbers(source: PhotoSource, split: str) -> list[int]:
    """Numbers of the photos that a report is about.

    Args:
        source: Photos.
        split: Name of a split, ``all``, or ``auto`` for val where there is one, else all.

    Raises:
        ConfigError: If the source has no such split.
    """
    if split == "all" or (split == "auto" and not source.split("val")):
        return list(range(len(source.photos)))
    chosen = {photo.id for photo in source.split("val" if split == "auto" else split)}
    if not chosen:
        raise ConfigError(f"The photos have no split '{split}'. There are: {', '.join((*source.splits, 'all'))}.")
    return [number for number, photo in enumerate(source.photos) if photo.id in chosen]


def _wants_crf(context: Context) -> bool:
    return context.config.predictions.crf and crf_available()


class CrfWorker:
    """Refines the probabilities of a photo and writes its label map."""

    def __init__(self, run: Path, config: RunConfig) -> None:
        self._run, self._config = Run(run), config

    def __call__(self, number: int, photo: Photo, probabilities: np.ndarray) -> int:
        """Write predictions/stage2_crf of one photo; returns its number."""
        refined = refine_classes(np.asarray(read_photo(photo)), probabilities, self._config.crf)
        write_label_png(self._run.prediction(CRF, number), refined.argmax(axis=0).astype(np.uint8))
        return number
