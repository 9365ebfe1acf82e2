"""Stage ``instances``: a head learns where one object ends, and finds the objects of every photo. Without ground truth.

It is taught by the best candidates of each photo, which may be wrong, and by composites, whose masks are exact.
"""

import shutil
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from maskdistill.datasets.splits import training_numbers
from maskdistill.files import write_json
from maskdistill.models.instance_finder import InstanceFinder, Look
from maskdistill.models.instance_head import InstanceHead, InstanceTask
from maskdistill.models.instances import compare_scores, find_scale, read_pools
from maskdistill.models.training.task import Callbacks
from maskdistill.models.training.train import train
from maskdistill.stages.context import Context
from maskdistill.stages.embed import make_tokens
from maskdistill.stages.imported import STAY
from maskdistill.stages.instance_lessons import Lessons, start_head
from maskdistill.stages.merge import as_coco
from maskdistill.stages.pool import map_photos
from maskdistill.stages.shards import Parts
from maskdistill.stages.tasks import PhotoResult, WorkerSpec
from maskdistill.storage.photo_arrays import TOKEN_INFO, ArrayStore, PoolStore
from maskdistill.storage.read_files import read_json, read_json_if_there
from maskdistill.storage.run_folder import fingerprint

STAGE = "instances"
UNFINISHED = "It is not finished."
CODE = 1  # raised when the same settings would train another head
FEWEST_PHOTOS = 8  # with masks; fewer teach nothing
SEVERAL = 1.5  # masks a photo from which the photos are said to hold several objects
MOST_PHOTOS = 2_000  # that the head learns from, spread over all
CHECKED_PHOTOS = 16  # that the check after each epoch looks at
COMPARED_PHOTOS = 200  # whose scores by pool and head are compared


def find_instances(context: Context) -> str:
    """Make composites, train the head, and write instances.json; where it is of no use, only why not."""
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
    make_tokens(replace(context, reports_as=STAGE))
    if "scale" not in known or not folder.model_path.is_file():
        known |= _train_head(context, head_key)
        _note(context, known, UNFINISHED)
        folder.start_path.unlink(missing_ok=True)
        shutil.rmtree(folder.composites_path, ignore_errors=True)
    results = _find(context, known["scale"])
    write_json(folder.codes_path, _as_coco(context, results), indent=None)
    count = sum(len(item["annotations"]) for item in results)
    counts = {"photos": len(context.source.photos), "instances": count}
    _note(context, known | counts)
    shutil.rmtree(_parts(context).folder, ignore_errors=True)
    failed = sum(bool(item["error"]) for item in results)
    left = f"; {failed} photos could not be read" if failed else ""
    made = f"{known['photos_learnt']} photos and {known['composites']} composites"
    return f"{count} objects in {counts['photos']} photos, by a head taught by {made}{left}."


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
    if len(learnt) < FEWEST_PHOTOS:
        return f"Left out: {len(learnt)} photos with masks are too few to learn from, {FEWEST_PHOTOS} are needed."
    masks = sum(len(context.annotations[number]) for number in learnt) / len(learnt)
    if config.instances.enabled == "auto" and masks < SEVERAL:
        return f"Left out: the photos hold {masks:.1f} objects each. instances.enabled=on makes it all the same."
    return ""


def learnt_photos(context: Context) -> list[int]:
    """Numbers of the photos that the head learns from: those that training may see, with a mask."""
    numbers = [number for number in training_numbers(context.source) if number in context.annotations]
    return numbers[:: max(1, -(-len(numbers) // MOST_PHOTOS))]


def _head_key(context: Context) -> str:
    """Fingerprint of what decides the head, classes and what is done with its masks aside."""
    settings = asdict(context.config.instances)
    for name in ("enabled", "most", "overlap"):
        del settings[name]
    return fingerprint([CODE, context.run.fingerprint_of("foreground"), settings, context.config.seed])


def _train_head(context: Context, key: str) -> dict[str, Any]:
    """Train it, and find out how its scores compare with the pool's; what of that is to be remembered."""
    from maskdistill.features.backbone import choose_device

    config = context.config.instances
    numbers = learnt_photos(context)
    head = start_head(context, numbers)
    lessons = Lessons.make(context, head, numbers)
    checked = range(0, len(numbers), max(1, len(numbers) // CHECKED_PHOTOS))
    task = InstanceTask(head.to(choose_device(context.config.features.device)), len(lessons), lessons.read, checked)
    with context.reporter(STAGE, config.epochs * len(lessons), unit="steps") as reporter:
        calls = Callbacks(on_step=lambda done, _total: reporter.reach(done))
        seed = context.config.seed
        train(task, config.training, folder=context.run.instances.path, seed=seed, key=key, calls=calls)
    scale = _compare(context, head.cpu(), numbers)
    return {"scale": scale, "photos_learnt": len(numbers), "composites": len(lessons) - len(numbers)}


def _compare(context: Context, head: InstanceHead, numbers: list[int]) -> float:
    num_blocks = len(read_json(context.tokens_path / TOKEN_INFO)["blocks"])
    finder = InstanceFinder(head, 1.0, num_blocks, context.config.instances)
    maps, pairs = ArrayStore(context.run.foreground.maps_path), []
    for number in numbers[:: max(1, -(-len(numbers) // COMPARED_PHOTOS))]:
        photo, probability = context.photo(number), maps.read(number)[..., 0].astype(np.float32)
        pools = read_pools(PoolStore(context.run.pool), number)
        look = Look(context.tokens.read(number), probability, pools, (photo.height, photo.width))
        pairs.append(compare_scores(*finder.compare(look)))
    return find_scale(pairs)


def _find(context: Context, scale: float) -> list[dict[str, Any]]:
    """A result of every photo; those that are done are kept."""
    run, parts = context.run, _parts(context)
    images = run.images()
    readable = set(images.loc[images["readable"].astype(bool), "id"])
    done = parts.begun([photo.id in readable for photo in context.source.photos])
    there = {photo for results in done.values() for photo in results}
    tasks = [(number, photo) for number, photo in enumerate(context.source.photos) if number not in there]
    options = {"tokens": context.tokens_path, "scale": scale}
    spec = WorkerSpec("maskdistill.stages.instance_worker:InstanceWorker", run.path, context.config, options)
    total = len(context.source.photos)
    with context.reporter(STAGE, total, total - len(tasks)) as reporter:
        results = map_photos(spec, tasks, context.num_workers, on_crash=_crashed)
        parts.keep(done, results, reporter.advance)
    return [item for number in sorted(done) for _, item in sorted(done[number].items())]


def _crashed(task: tuple[Any, ...], reason: str) -> PhotoResult:
    return PhotoResult(task[0], error=reason)


def _as_coco(context: Context, results: list[dict[str, Any]]) -> dict[str, Any]:
    classes = [{"id": number, "name": f"cluster {number}"} for number in range(1, context.run.num_classes + 1)]
    return as_coco(context.source, results) | {"categories": classes}


def _parts(context: Context) -> Parts:
    sizes = [(photo.height, photo.width) for photo in context.source.photos]
    return Parts(context.run.parts_path(STAGE, context.key), sizes)
