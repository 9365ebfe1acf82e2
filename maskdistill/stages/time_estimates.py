"""How long a stage will take here: by what this machine did before, else roughly, by a benchmark. Loads no torch."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from maskdistill.config import RunConfig, TrainConfig
from maskdistill.datasets import Photo, PhotoSource
from maskdistill.datasets.splits import reported_numbers, training_numbers
from maskdistill.errors import ConfigError, RunError
from maskdistill.files import read_json
from maskdistill.machine import device_of, usable_cores
from maskdistill.stages.cost_model import Network, Work, cost_of, stages_with_costs
from maskdistill.stages.machine_speed import Measured, Speeds
from maskdistill.storage.progress import format_duration, read_progress_file
from maskdistill.storage.run_folder import Run

logger = logging.getLogger(__name__)

Basis = Literal["measured here", "rough"]
USUAL_CLASSES = 20  # K while nobody has said how many
SHORTEST = 2.0  # seconds; a stage that took less says nothing of longer ones
FEWEST = 20  # photos, likewise
MOSTLY = 0.8  # share of the time from which several stages count as measured
RESUMABLE = ("embeddings", "stage1", "stage2")  # may have found part of their work done
UNEVEN = ("rounds",)  # how much of it there is to do shows only while it is done
NOTHING = "Nothing to do."
WITHOUT_GPU = ("clusters", "classes", "filter", "pseudo_labels", "evaluation", "projection")


@dataclass(frozen=True)
class Estimate:
    """How long something will take."""

    seconds: float
    basis: Basis
    sentence: str  # for people


def work_of_source(source: PhotoSource, config: RunConfig) -> Work:
    """How much there is to do with photos of which nothing is known yet: every photo is taken to have all its masks."""
    num_objects, num_training = config.proposals.num_objects, len(training_numbers(source))
    return Work(
        num_photos=len(source.photos),
        num_training=num_training,
        num_labelled=num_training,
        num_reported=_count_reported(source, config),
        num_masks=len(source.photos) * num_objects,
        num_training_masks=num_training * num_objects,
        num_classes=config.clusters.num_classes or USUAL_CLASSES,
        height=_middle([photo.height for photo in source.photos]),
        width=_middle([photo.width for photo in source.photos]),
    )


def work_of_run(run: Run, config: RunConfig) -> Work:
    """How much there is to do in a run whose masks are made.

    Raises:
        RunError: If they are not made yet, or a file is damaged.
    """
    table = run.images()
    table = table[table["readable"].astype(bool)]
    rows = table[["id", "path", "height", "width", "digest", "split"]].itertuples(index=False)
    photos = tuple(
        Photo(row.id, Path(row.path), int(row.height), int(row.width), row.digest, row.split or None) for row in rows
    )
    source = PhotoSource("folder", "", None, photos)
    masks = run.masks()
    training = {photos[number].id for number in training_numbers(source)}
    labels = run.path / "pseudo_labels.json"
    work = work_of_source(source, config)
    return replace(
        work,
        num_masks=len(masks),
        num_training_masks=int(masks["image_id"].isin(training).sum()),
        num_labelled=len(read_json(labels)["photos"]) if labels.is_file() else work.num_training,
        num_classes=config.clusters.num_classes or _found_classes(run),
    )


def estimate(work: Work, stage: str, config: RunConfig) -> Estimate:
    """How long a stage will take on this machine, all of it.

    The first rough estimate on a machine takes a third of a second: it times a product of matrices.

    Args:
        work: How much there is to do.
        stage: Name of a stage.
        config: Settings, with or without "auto".

    Raises:
        ConfigError: If there is no such stage.
    """
    _check(stage)
    num_cores = usable_cores()
    speeds = Speeds(num_cores)
    expected = cost_of(stage, work, config).seconds(num_cores)
    if not expected:
        return Estimate(0.0, "measured here", NOTHING)
    known = speeds.slowness(*drivers_of(stage, config))
    if known is None:
        seconds = expected * speeds.benchmark()
        return Estimate(seconds, "rough", _guess(seconds, stage, config))
    factor, same = known
    time = _say(expected * factor)
    if same:
        return Estimate(expected * factor, "measured here", f"About {time}, by what this machine did before.")
    sentence = f"Roughly {time}, by what this machine did with other settings."
    return Estimate(expected * factor, "rough", sentence)


def estimate_stages(work: Work, stages: Sequence[str], config: RunConfig) -> Estimate:
    """How long several stages will take, one after the other.

    Raises:
        ConfigError: If one of them is no stage.
    """
    parts = {stage: estimate(work, stage, config) for stage in stages}
    total = sum(part.seconds for part in parts.values())
    if not total:
        return Estimate(0.0, "measured here", NOTHING)
    measured = sum(part.seconds for part in parts.values() if part.basis == "measured here")
    if measured >= MOSTLY * total:
        return Estimate(total, "measured here", f"About {_say(total)} in all, by what this machine did before.")
    longest = max(parts, key=lambda stage: parts[stage].seconds)
    sentence = f"Roughly {_say(total)} in all, {_say(parts[longest].seconds)} of them for {longest}."
    return Estimate(total, "rough", sentence)


def record_speed(run: Run, stage: str, config: RunConfig, seconds: float, num_photos: int | None = None) -> None:
    """Remember how long a stage took, unless that says nothing of the next time.

    Args:
        run: The run, with its masks made.
        stage: Name of the stage, which is finished.
        config: Settings that it was made with.
        seconds: From beginning to end.
        num_photos: How many photos the time was spent on; None is all of the stage's.

    Raises:
        ConfigError: If there is no such stage.
    """
    _check(stage)
    if seconds < SHORTEST or not _did_all(run, stage, seconds):
        return
    try:
        work = work_of_run(run, config)
    except RunError as error:  # a finished stage must not fail for this
        logger.warning("The time of %s is not remembered: %s", stage, error)
        return
    if num_photos is not None:
        work = replace(work, num_photos=num_photos)
    if work.num_photos < FEWEST:
        return
    num_cores = usable_cores()
    kind, drivers = drivers_of(stage, config)
    expected = cost_of(stage, work, config).seconds(num_cores)
    Speeds(num_cores).note(Measured(kind, drivers, round(seconds, 2), round(expected, 2)))


def drivers_of(stage: str, config: RunConfig) -> tuple[str, dict[str, Any]]:
    """What decides the speed of a stage besides the amount of work.

    Returns:
        The kind of work, which all trainings of a model have in common, and the settings; None where any value will do.
    """
    network = Network.of(config.features)
    precision = config.features.precision
    photos = {
        "backbone": network.name,
        "shorter_side": network.shorter_side,
        "precision": None if precision == "auto" else precision,  # what it comes to on a machine is always the same
    }
    device = {"device": device_of(config.features.device)}
    if stage in ("stage1", "stage2", "rounds"):
        settings = config.stage1 if stage == "stage1" else config.stage2
        return f"training of {settings.model}", device | _model_drivers(settings, photos)
    models = {name: _model_drivers(getattr(config, name), photos) for name in ("stage1", "stage2")}
    proposals, clusters = config.proposals, config.clusters
    found: Mapping[str, dict[str, Any]] = {
        "proposals": {
            **device,
            **photos,
            "engine": proposals.engine,
            "views": proposals.views,
            "num_objects": proposals.num_objects,
            "crf": config.crf.enabled,
        },
        "embeddings": {**device, **photos, "crop_side": config.embeddings.crop_side},
        "clusters": {"method": clusters.method, "embedding": clusters.embedding, "open": not clusters.num_classes},
        "candidates": {**device, "stage1": models["stage1"]},
        "predictions": {**device, **models, "crf": config.predictions.crf},
        "evaluation": {"probe": config.evaluation.probe},
    }
    return stage, found.get(stage, {})


def _model_drivers(config: TrainConfig, photos: dict[str, Any]) -> dict[str, Any]:
    if config.model == "patch_head":
        return {"model": config.model, **photos}
    return {"model": config.model, "image_side": config.image_side, "weights": bool(config.weights)}


def _check(stage: str) -> None:
    if stage not in stages_with_costs():
        raise ConfigError(f"No stage '{stage}'. There are: {', '.join(stages_with_costs())}.")


def _did_all(run: Run, stage: str, seconds: float) -> bool:
    """Whether a stage that may find part of its work done has done it all in this time, at the rate it went on with."""
    if stage not in RESUMABLE:
        return stage not in UNEVEN
    progress = read_progress_file(run.progress_path)
    if progress is None or progress.stage != stage or not progress.rate:
        return False
    return progress.total / progress.rate <= seconds


def _guess(seconds: float, stage: str, config: RunConfig) -> str:
    if stage not in WITHOUT_GPU and device_of(config.features.device) != "cpu":
        return f"At most {_say(seconds)}: a GPU is faster, and this one has not done it yet."
    return f"Roughly {_say(seconds)}, by a benchmark of this machine."


def _say(seconds: float) -> str:
    """With two digits that count: more would promise too much."""
    return format_duration(max(1.0, float(f"{seconds:.1e}")))


def _count_reported(source: PhotoSource, config: RunConfig) -> int:
    try:
        return len(reported_numbers(source, config.predictions.split))
    except ConfigError:  # no such split: the stage that needs it says so
        return 0


def _found_classes(run: Run) -> int:
    return run.num_classes if (run.path / "clusters.json").is_file() else USUAL_CLASSES


def _middle(sides: Sequence[int]) -> int:
    return int(np.median(sides)) if sides else 1
