"""Stage ``rounds``: the model labels the photos that it learnt from and is trained again on that, until they agree.

A round does to the model before it what the stages from ``candidates`` to ``stage2`` do to the first one, and leaves in
``<run>/rounds/<number>`` what they leave in the run. Ground truth plays no part in when it ends.

Source: the optional round of MaskDistill, Van Gansbeke et al., arXiv 2206.06363; its number of rounds, its filter in a
round and the rule to stop are ours.
"""

import logging
import shutil
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskdistill.datasets import IGNORE_INDEX
from maskdistill.errors import ConfigError
from maskdistill.files import write_json
from maskdistill.proposals.crf import INSTALL_HINT, crf_available
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.stages.candidates import judge_views, write_candidates
from maskdistill.stages.context import Context
from maskdistill.stages.label import write_label_maps
from maskdistill.stages.pool import map_photos
from maskdistill.stages.select import write_kept
from maskdistill.stages.stage_list import BY_NAME
from maskdistill.stages.tasks import WorkerSpec
from maskdistill.stages.train import train_stage
from maskdistill.storage.label_folder import LabelFolder
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import fingerprint

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Round:
    """What a model made of the photos that it learnt from."""

    key: str  # fingerprint of all that decides it
    candidates: int
    kept: int  # candidates that the filter keeps
    photos: int  # with a label map
    agreement: float  # ``compare_labels`` with the labels that the model learnt from


def do_rounds(context: Context) -> str:
    """Do what is left of the rounds, remove those of other settings, and write rounds.json."""
    config, run = context.config.rounds, context.run
    if config.count and config.crf and not crf_available():
        raise ConfigError(f"{INSTALL_HINT}, or set rounds.crf=false.")
    run.rounds_path.unlink(missing_ok=True)  # until all are done the final model is that of stage 2
    stage2 = run.fingerprint_of("stage2")
    rounds: list[dict[str, Any]] = []
    model, labels = "stage2", LabelFolder(run.path)
    for number in range(1, config.count + 1):
        at_work = replace(context, key=_key(context, stage2, number), reports_as="rounds")
        folder = LabelFolder(run.path / "rounds" / str(number))
        found = _label(at_work, model, labels, folder)
        stable = found.agreement >= config.stop_at
        rounds.append({**asdict(found), "trained": not stable})
        if stable:  # training on labels that hardly changed would only make the same model again
            break
        model, labels = f"rounds/{number}", folder
        train_stage(at_work, model)
    trained = {str(number) for number, item in enumerate(rounds, 1) if item["trained"]}
    for path in (run.path / "rounds").glob("*/"):
        if path.name not in trained:
            _remove(path)
    write_json(run.rounds_path, {"stage2": stage2, "model": model, "rounds": rounds})
    return _sentence(rounds)


def view_photos(context: Context, model: str, numbers: Sequence[int]) -> Generator[tuple[int, np.ndarray], None, None]:
    """What a model sees in photos.

    Args:
        context: The run.
        model: As ``Context.predictor`` takes it.
        numbers: Of the photos.

    Yields:
        Number of a photo and its (K + 1, H, W) probabilities, after the CRF if ``rounds.crf``; in any order.
    """
    if not numbers:
        return
    predictor = context.predictor(model)
    tasks = ((number, photo, predictor.probabilities(photo)) for number in numbers for photo in [context.photo(number)])
    if not context.config.rounds.crf:
        yield from ((number, probabilities) for number, _, probabilities in tasks)
        return
    spec = WorkerSpec("maskdistill.stages.predict:Refiner", context.run.path, context.config, torch=False)
    with closing(map_photos(spec, tasks, context.workers, len(numbers))) as results:
        yield from results


def compare_labels(before: LabelFolder, now: LabelFolder) -> float:
    """Share of the pixels with a label before or now, background too, that have the same before and now; 1 if none has.

    A photo without a label map has no label anywhere.
    """
    photos = [set(folder.labelled()) for folder in (before, now)]
    same = either = 0
    for number in photos[0] | photos[1]:
        maps = [
            read_label_png(folder.pseudo_label(number)) if number in there else np.uint8(IGNORE_INDEX)
            for folder, there in zip((before, now), photos, strict=True)
        ]
        labelled = (maps[0] != IGNORE_INDEX) | (maps[1] != IGNORE_INDEX)
        either += int(labelled.sum())
        same += int((labelled & (maps[0] == maps[1])).sum())
    return same / either if either else 1.0


def _label(context: Context, model: str, before: LabelFolder, folder: LabelFolder) -> Round:
    """Labels of a round by the model before it; they are made once, however often the training after it is stopped."""
    if known := _made(context, folder):
        return known
    _remove(folder.path)  # of other settings, or half made
    judged = judge_views(context, partial(view_photos, context, model), model)
    if known := _made(context, folder):  # another shard was the last too, and went on to the next round by now
        return known
    write_candidates(context, judged, folder)
    kept = write_kept(context.run, folder, context.config.filter).kept
    write_label_maps(context, folder, model)
    agreement = compare_labels(before, folder)
    found = Round(context.key, len(kept), int(kept.sum()), len(folder.labelled()), agreement)
    write_json(folder.path / "round.json", asdict(found))
    shutil.rmtree(context.run.parts_path("rounds", context.key), ignore_errors=True)
    logger.info("%s: %d of %d masks and %.1f %% of labels kept.", folder.path, found.kept, len(kept), 100 * agreement)
    return found


def _made(context: Context, folder: LabelFolder) -> Round | None:
    known = read_json_if_there(folder.path / "round.json")
    return Round(**known) if known and known["key"] == context.key else None


def _key(context: Context, stage2: str, number: int) -> str:
    """What decides a round. How many there are at most, and when they end, does not: more of them go on from these."""
    crf = asdict(context.config.crf) if context.config.rounds.crf else None
    return fingerprint([BY_NAME["rounds"].code, stage2, crf, number])


def _remove(folder: Path) -> None:
    """Remove a round; half removed it must not pass for a whole one."""
    (folder / "round.json").unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def _sentence(rounds: Sequence[dict[str, Any]]) -> str:
    if not rounds:
        return "No round is asked for."
    num_trained = sum(item["trained"] for item in rounds)
    shares = ", ".join(f"{item['agreement']:.1%}" for item in rounds)
    end = " The last labels were too much like those before to train on." if num_trained < len(rounds) else ""
    rounds_word = "round" if num_trained == 1 else "rounds"
    return f"{num_trained} {rounds_word} trained; labels kept from each to the next: {shares}.{end}"
