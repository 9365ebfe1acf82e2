"""Stage ``predictions``: label maps by every model, and of the photos the report is about with the CRF too."""

import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from maskdistill.config import CrfConfig, RunConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.datasets.splits import reported_numbers
from maskdistill.files import write_json
from maskdistill.models.object_prior import ObjectPriorPredictor, wants_object_prior
from maskdistill.proposals.crf import crf_available, refine_classes
from maskdistill.pseudo_labels.label_maps import write_label_png
from maskdistill.stages.context import Context
from maskdistill.stages.embed import make_tokens
from maskdistill.stages.pool import map_photos
from maskdistill.stages.tasks import WorkerSpec
from maskdistill.storage.progress import Reporter
from maskdistill.storage.run_folder import Run

STAGE1, STAGE2 = "stage1", "stage2"
Task = tuple[int, Photo, np.ndarray]  # number of a photo, the photo, (K + 1, H, W) probabilities


def predict_photos(context: Context) -> str:
    """Write predictions/stage1 and predictions/stage2, rounds if there were, one palette PNG a photo; <last>_crf too.

    predictions.json holds the numbers of the photos, of those with the CRF, the folder of the final model, and whether
    the object prior was used.
    """
    make_tokens(context)  # without its file a photo would pass for one that cannot be read
    numbers = [number for number in range(len(context.source.photos)) if context.tokens.path(number).is_file()]
    reported = set(reported_numbers(context.source, context.config.predictions.split))
    refined = [number for number in numbers if number in reported] if _wants_crf(context) else []
    final = context.run.final_model
    last = final.partition("/")[0]  # "stage2" or "rounds"
    models = {STAGE1: STAGE1, STAGE2: STAGE2, last: final}
    options = {"kind": f"{last}_crf"}
    _remove_others(context.run, {*models, options["kind"]} if refined else {*models})
    spec = WorkerSpec("maskdistill.stages.predict:CrfWorker", context.run.path, context.config, options, torch=False)
    with context.reporter("predictions", len(numbers) + len(refined)) as reporter:
        tasks = _predict(context, models, numbers, set(refined), reporter)
        with closing(map_photos(spec, tasks, context.workers, len(refined))) as results:
            for _ in results:
                reporter.advance()
    prior = wants_object_prior(context.run, context.config)
    record = {"photos": numbers, "crf": refined, "model": final, "object_prior": prior}
    write_json(context.run.path / "predictions.json", record)
    parts = [f", {len(refined)} with the CRF" if refined else "", ", one class an object" if prior else ""]
    return f"{len(numbers)} photos by {len(models)} models{''.join(parts)}."


def _remove_others(run: Run, kinds: Container[str]) -> None:
    """Label maps of kinds that are made no more, as those of rounds that there are no longer."""
    for folder in (run.path / "predictions").glob("*/"):
        if folder.name not in kinds:
            shutil.rmtree(folder)


def _predict(
    context: Context, models: Mapping[str, str], numbers: Sequence[int], refined: Container[int], reporter: Reporter
) -> Iterator[Task]:
    """Label maps by every model; yields the tasks of ``CrfWorker`` on the way, so that few of them are in memory."""
    predictors = {
        kind: model if kind == STAGE1 else ObjectPriorPredictor.where_wanted(model, context.run, context.config)
        for kind, name in models.items()
        for model in [context.predictor(name)]
    }
    for number in numbers:
        photo = context.photo(number)
        for kind, predictor in predictors.items():
            probabilities = predictor.probabilities(photo)
            write_label_png(context.run.prediction(kind, number), probabilities.argmax(axis=0).astype(np.uint8))
        reporter.advance()
        if number in refined:
            yield number, photo, probabilities


def _wants_crf(context: Context) -> bool:
    return context.config.predictions.crf and crf_available()


def _refined(photo: Photo, probabilities: np.ndarray, config: CrfConfig) -> np.ndarray:
    return refine_classes(np.asarray(read_photo(photo)), probabilities, config)


class Refiner:
    """Refines the probabilities of a photo."""

    def __init__(self, _run: Path, config: RunConfig) -> None:
        self._crf = config.crf

    def __call__(self, number: int, photo: Photo, probabilities: np.ndarray) -> tuple[int, np.ndarray]:
        """The photo's number and its (K + 1, H, W) probabilities after the CRF."""
        return number, _refined(photo, probabilities, self._crf)


class CrfWorker:
    """Refines the probabilities of a photo and writes its label map."""

    def __init__(self, run: Path, config: RunConfig, kind: str) -> None:
        self._crf, self._run, self._kind = config.crf, Run(run), kind

    def __call__(self, number: int, photo: Photo, probabilities: np.ndarray) -> int:
        """Write predictions/<kind> of one photo; returns its number."""
        refined = _refined(photo, probabilities, self._crf)
        write_label_png(self._run.prediction(self._kind, number), refined.argmax(axis=0).astype(np.uint8))
        return number
