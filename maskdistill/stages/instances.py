"""Stage ``instances``: heads learn where one object ends, and find the objects of every photo. Without ground truth.

They are taught by the best candidates of each photo, which may be wrong, and by composites, whose masks are exact. Each
head judges photos that it did not learn from: what it says of a candidate is no echo of that candidate.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from maskdistill.datasets.splits import training_numbers
from maskdistill.files import write_json
from maskdistill.models.instance_finder import InstanceFinder, Look
from maskdistill.models.instance_head import InstanceHead, InstanceTask
from maskdistill.models.instances import compare_scores, find_scale, read_pools
from maskdistill.models.training.task import Callbacks
from maskdistill.models.training.train import train
from maskdistill.proposals.foreground import assign_folds
from maskdistill.stages.context import Context
from maskdistill.stages.embed import make_tokens
from maskdistill.stages.imported import STAY
from maskdistill.stages.instance_lessons import Lessons, start_head
from maskdistill.stages.merge import write_results
from maskdistill.stages.photo_work import do_photos
from maskdistill.stages.pool import map_photos
from maskdistill.stages.tasks import WorkerSpec, leave_out
from maskdistill.storage.photo_arrays import ArrayStore, PoolStore
from maskdistill.storage.progress import Reporter
from maskdistill.storage.read_files import read_json, read_json_if_there
from maskdistill.storage.run_folder import fingerprint
from maskdistill.storage.token_store import TOKEN_INFO

STAGE = "instances"
UNFINISHED = "It is not finished."
CODE = 2  # raised when the same settings would train other heads
FEWEST_PHOTOS = 8  # with masks; fewer teach nothing
SEVERAL = 1.5  # masks a photo from which the photos are said to hold several objects
MOST_PHOTOS = 2_000  # that the heads learn from, spread over all
CHECKED_PHOTOS = 16  # that the check after each epoch looks at
COMPARED_PHOTOS = 200  # whose scores by pool and head are compared


def find_instances(context: Context) -> str:
    """Make composites, train the heads, and write the objects; where they are of no use, only why not."""
    folder = context.run.instances
    folder.drop_masks()
    if why := _why_not(context):
        if folder.path.exists():
            shutil.rmtree(folder.path)
        _note(context, {}, why)
        return why
    head_key = _head_key(context)
    known = read_json_if_there(folder.record_path) or {}
    if known.get("head") != head_key:
        if folder.path.exists():
            shutil.rmtree(folder.path)
        known = {"head": head_key}
    _note(context, known, UNFINISHED)
    at_work = replace(context, reports_as=STAGE)
    heads = [folder.head(number) for number in range(context.config.instances.folds)]
    folds = _folds_of(context)
    if "scales" not in known or not all(head.model_path.is_file() for head in heads):
        make_tokens(at_work, learnt_photos(context))
        known |= _train_heads(context, head_key, folds)
        _note(context, known, UNFINISHED)
        for head in heads:
            head.start_path.unlink(missing_ok=True)
            shutil.rmtree(head.composites_path, ignore_errors=True)
    make_tokens(at_work)
    results = _find(context, folds)
    write_results(folder.codes_path, context.source, results, range(1, context.run.num_classes + 1))
    count = sum(len(item["annotations"]) for item in results)
    judges = [folds.get(photo.digest) for photo in context.source.photos]
    counts = {"photos": len(context.source.photos), "instances": count, "folds": judges}
    _note(context, known | counts)
    failed = sum(bool(item["error"]) for item in results)
    left = f"; {failed} photos could not be read" if failed else ""
    made = f"{known['photos_learnt']} photos and {known['composites']} composites"
    return f"{count} objects in {counts['photos']} photos, by heads taught by {made}{left}."


def _note(context: Context, known: dict[str, Any], why: str = "") -> None:
    """Write record.json; with a reason why not, that the objects are not used."""
    write_json(context.run.instances.record_path, dict(sorted({**known, "used": not why, "why": why}.items())))


def _why_not(context: Context) -> str:
    config = context.config
    if context.run.imported is not None:
        return STAY
    if config.instances.enabled == "off":
        return "Not used: instances.enabled is off."
    if not read_json(context.run.foreground.record_path)["used"]:
        return "Left out: it learns from the foreground across photos, which is not there."
    if not config.proposals.makes_pool:
        return "Left out: it learns from the pool of candidates, which is not there. Set proposals.pool=on."
    learnt = learnt_photos(context)
    groups, wanted = (
        len({context.photo(number).digest for number in learnt}),
        max(FEWEST_PHOTOS, config.instances.folds),
    )
    if groups < wanted:
        return f"Left out: {groups} photos with masks are too few to learn from, {wanted} are needed."
    masks = sum(len(context.annotations[number]) for number in learnt) / len(learnt)
    if config.instances.enabled == "auto" and masks < SEVERAL:
        return f"Left out: the photos hold {masks:.1f} objects each. instances.enabled=on makes it all the same."
    return ""


def learnt_photos(context: Context) -> list[int]:
    """Numbers of the photos that the heads learn from: those that training may see, with a mask."""
    numbers = [number for number in training_numbers(context.source) if number in context.annotations]
    return numbers[:: max(1, -(-len(numbers) // MOST_PHOTOS))]


def _folds_of(context: Context) -> dict[str, int]:
    """The head that did not learn from a photo, by the photo's digest; photos that teach no head have none."""
    config = context.config
    if config.instances.folds < 2:
        return {}
    digests = [context.photo(number).digest for number in learnt_photos(context)]
    return assign_folds(digests, config.instances.folds, config.seed)


def _head_key(context: Context) -> str:
    """Fingerprint of what decides the heads, classes and what is done with their masks aside."""
    settings = asdict(context.config.instances)
    for name in ("enabled", "most", "overlap"):
        del settings[name]
    return fingerprint([CODE, context.run.fingerprint_of("foreground"), settings, context.config.seed])


def _train_heads(context: Context, key: str, folds: Mapping[str, int]) -> dict[str, Any]:
    """Train them, and find out how their scores compare with the pool's; what of that is to be remembered."""
    learnt, places = learnt_photos(context), range(context.config.instances.folds)
    judged = [[number for number in learnt if folds.get(context.photo(number).digest, 0) == place] for place in places]
    taught = [[number for number in learnt if number not in set(items)] for items in judged] if folds else [learnt]
    heads = [start_head(context, place, taught[place]) for place in places]
    lessons = Lessons.make(context, heads, taught)
    epochs = context.config.instances.epochs
    done = 0
    with context.reporter(STAGE, epochs * sum(map(len, lessons)), unit="steps") as reporter:
        for head, lesson in zip(heads, lessons, strict=True):
            _train_head(context, key, head, lesson, partial(_advance, reporter, done))
            done += epochs * len(lesson)
            reporter.reach(done)  # a head that was finished before says no step
    scales = [_compare(context, head.cpu(), items) for head, items in zip(heads, judged, strict=True)]
    composites = sum(len(item.composites) for item in lessons)
    return {"scales": scales, "photos_learnt": len(learnt), "composites": composites}


def _advance(reporter: Reporter, before: int, step: int) -> None:
    reporter.reach(before + step)


def _train_head(
    context: Context, key: str, head: InstanceHead, lessons: Lessons, on_step: Callable[[int], None]
) -> None:
    from maskdistill.features.backbone import choose_device

    config, photos = context.config, len(lessons.numbers)
    checked = range(0, photos, max(1, photos // CHECKED_PHOTOS))
    task = InstanceTask(head.to(choose_device(config.features.device)), len(lessons), lessons.read, checked)
    train(
        task,
        config.instances.training,
        folder=context.run.instances.head(lessons.place).path,
        seed=config.seed,
        key=f"{key} {lessons.place}",
        calls=Callbacks(on_step=lambda step, _total: on_step(step)),
    )
    lessons.cache.clear()


def _compare(context: Context, head: InstanceHead, numbers: list[int]) -> float:
    """The scale of a head's scores, by photos that it judges."""
    num_blocks = len(read_json(context.tokens_path / TOKEN_INFO)["blocks"])
    finder = InstanceFinder([head], [1.0], num_blocks, context.config.instances)
    maps, pairs = ArrayStore(context.run.foreground.maps_path), []
    for number in numbers[:: max(1, -(-len(numbers) // COMPARED_PHOTOS))]:
        photo, probability = context.photo(number), maps.read(number)[..., 0].astype(np.float32)
        pools = read_pools(PoolStore(context.run.pool), number)
        look = Look(context.tokens.read(number), probability, pools, (photo.height, photo.width))
        pairs.append(compare_scores(*finder.compare(look)))
    return find_scale(pairs)


def _find(context: Context, folds: Mapping[str, int]) -> list[dict[str, Any]]:
    """A result of every photo; those that are done are kept."""
    tasks = [(number, photo, folds.get(photo.digest)) for number, photo in context.readable]
    options = {"tokens": context.tokens_path}
    spec = WorkerSpec("maskdistill.stages.instance_worker:InstanceWorker", context.run.path, context.config, options)
    work = partial(map_photos, spec, workers=context.workers, on_crash=leave_out)
    return do_photos(context, STAGE, tasks, work)
