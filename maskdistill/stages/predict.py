"""Stage ``predictions``: label maps by every model, and of the photos the report is about with the CRF too."""

import shutil
from collections.abc import Container, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.datasets.splits import reported_numbers
from maskdistill.errors import DatasetError
from maskdistill.files import write_json
from maskdistill.models.object_prior import ObjectPriorPredictor, wants_object_prior
from maskdistill.proposals.crf import crf_available, refine_classes
from maskdistill.pseudo_labels.label_maps import write_label_png
from maskdistill.stages.context import Context
from maskdistill.stages.embed import make_tokens
from maskdistill.stages.photo_failures import describe_failure, is_missed
from maskdistill.stages.photo_work import do_photos
from maskdistill.stages.pool import map_photos
from maskdistill.stages.shards import Parts
from maskdistill.stages.tasks import PhotoResult, Task, WorkerSpec, leave_out
from maskdistill.storage.run_folder import Run

if TYPE_CHECKING:
    from maskdistill.models import Predictor

STAGE = "predictions"
STAGE1, STAGE2 = "stage1", "stage2"


def predict_photos(context: Context) -> str:
    """Write predictions/stage1 and predictions/stage2, rounds if there were, one palette PNG a photo; <last>_crf too.

    predictions.json holds the numbers of the photos, of those with the CRF, the folder of the final model, and whether
    the object prior was used.
    """
    run = context.run
    final = run.final_model
    last = final.partition("/")[0]  # "stage2" or "rounds"
    models, crf = {STAGE1: STAGE1, STAGE2: STAGE2, last: final}, f"{last}_crf"
    reported = set(reported_numbers(context.source, context.config.predictions.split)) if _wants_crf(context) else set()
    tasks = [(number, photo, number in reported) for number, photo in context.readable]
    kinds = {refined: [*models, crf] if refined else [*models] for refined in (False, True)}
    _remove_others(context, kinds[any(refined for *_, refined in tasks)])
    make_tokens(context)  # without its file a photo would pass for one that cannot be read
    options = {"models": models, "crf": crf, "tokens": context.tokens_path}
    spec = WorkerSpec("maskdistill.stages.predict:PredictWorker", run.path, context.config, options)
    work = partial(map_photos, spec, workers=context.workers, on_crash=leave_out)
    if context.works_here:
        work = partial(_predict_here, context, spec)
    results = do_photos(
        context,
        STAGE,
        tasks,
        work,
        made=lambda number: all(run.prediction(kind, number).is_file() for kind in kinds[number in reported]),
    )
    photos = [number for number, *_ in tasks if not results[number]["error"]]
    refined = [number for number in photos if number in reported]
    prior = wants_object_prior(run, context.config)
    write_json(run.path / "predictions.json", {"photos": photos, "crf": refined, "model": final, "object_prior": prior})
    parts = [f", {len(refined)} with the CRF" if refined else "", ", one class an object" if prior else ""]
    return f"{len(photos)} photos by {len(models)} models{''.join(parts)}."


def _remove_others(context: Context, kinds: Container[str]) -> None:
    """What was made by other settings: label maps of kinds that are made no more, and which photos are done."""
    for folder in (context.run.path / "predictions").glob("*/"):
        if folder.name not in kinds:
            shutil.rmtree(folder)
    Parts(context.run.parts_path(STAGE, context.key), ()).drop_others()


def _predict_here(context: Context, spec: WorkerSpec, tasks: Sequence[Task]) -> Generator[PhotoResult, None, None]:
    """The models in this process, and the CRF, which takes longer, in several; photos with it come first."""
    if not tasks:
        return
    worker = PredictWorker(spec.run, spec.config, **spec.options)
    failed: list[PhotoResult] = []

    def views() -> Iterator[Task]:
        for number, photo, refined in tasks:
            seen = worker.predict(number, photo) if refined else None
            if isinstance(seen, PhotoResult):
                failed.append(seen)
            elif seen is not None:
                yield number, photo, seen

    options = {"kind": spec.options["crf"]}
    crf = WorkerSpec("maskdistill.stages.predict:CrfWorker", context.run.path, context.config, options, torch=False)
    count = sum(refined for *_, refined in tasks)
    with closing(map_photos(crf, views(), context.workers, count, on_crash=leave_out)) as results:
        yield from results
    yield from failed
    yield from (worker(*task) for task in tasks if not task[-1])


def _wants_crf(context: Context) -> bool:
    return context.config.predictions.crf and crf_available()


class PredictWorker:
    """Every model of a run, applied to one photo after the other."""

    def __init__(self, run: Path, config: RunConfig, models: Mapping[str, str], crf: str, tokens: Path) -> None:
        from maskdistill.features.patch_tokens import StoredTokens  # these load torch, which the CRF does without
        from maskdistill.models.predictor import load_model

        self._run, self._number, self._tokens = Run(run), 0, StoredTokens(tokens, config.features)
        self._refine = CrfWorker(run, config, crf)
        loaded = {
            kind: load_model(self._run, name, lambda photo: self._tokens.read(self._number, photo), object_prior=False)
            for kind, name in models.items()
        }
        self._models: dict[str, Predictor] = {
            kind: model if kind == STAGE1 else ObjectPriorPredictor.where_wanted(model, self._run, config)
            for kind, model in loaded.items()
        }

    def __call__(self, number: int, photo: Photo, refined: bool) -> PhotoResult:
        """Write the label maps of one photo by every model, and after the CRF too if ``refined``."""
        seen = self.predict(number, photo)
        if isinstance(seen, PhotoResult):
            return seen
        return self._refine(number, photo, seen) if refined else PhotoResult(number)

    def predict(self, number: int, photo: Photo) -> np.ndarray | PhotoResult:
        """Write them; returns the (K + 1, H, W) probabilities of the last model, or why there are none."""
        if not self._tokens.store.path(number).is_file():
            return PhotoResult(number, error="It has no patch tokens.")
        self._number = number
        try:
            for kind, model in self._models.items():
                probabilities = model.probabilities(photo)
                write_label_png(self._run.prediction(kind, number), probabilities.argmax(axis=0).astype(np.uint8))
        except DatasetError as error:
            return PhotoResult(number, error=describe_failure(photo, error), missed=is_missed(photo, error))
        return probabilities


class Refiner:
    """Refines the probabilities of a photo."""

    def __init__(self, _run: Path, config: RunConfig) -> None:
        self._crf = config.crf

    def __call__(self, number: int, photo: Photo, probabilities: np.ndarray) -> tuple[int, np.ndarray]:
        """The photo's number and its (K + 1, H, W) probabilities after the CRF."""
        return number, refine_classes(np.asarray(read_photo(photo)), probabilities, self._crf)


class CrfWorker:
    """Refines the probabilities of a photo and writes its label map."""

    def __init__(self, run: Path, config: RunConfig, kind: str) -> None:
        self._refine, self._run, self._kind = Refiner(run, config), Run(run), kind

    def __call__(self, number: int, photo: Photo, probabilities: np.ndarray) -> PhotoResult:
        """Write predictions/<kind> of one photo."""
        try:
            _, refined = self._refine(number, photo, probabilities)
        except DatasetError as error:
            return PhotoResult(number, error=describe_failure(photo, error), missed=is_missed(photo, error))
        write_label_png(self._run.prediction(self._kind, number), refined.argmax(axis=0).astype(np.uint8))
        return PhotoResult(number)
