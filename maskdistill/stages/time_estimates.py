"""How long stages will take on this machine, by what they took before. Loads no torch.

The seconds of the last finished stages stand in ``speeds.json`` in the user's cache folder, by machine, since several
machines may share that folder. What was never measured is said to be unknown.
"""

import json
import logging
import socket
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from maskdistill.config import RunConfig
from maskdistill.datasets import PhotoSource
from maskdistill.datasets.splits import num_training
from maskdistill.errors import RunError
from maskdistill.features.registry import SPECS, likely_auto
from maskdistill.files import write_atomically
from maskdistill.machine import device_of, usable_cores
from maskdistill.storage.progress import format_duration, read_progress_file
from maskdistill.storage.run_folder import Run
from maskdistill.storage.user_folders import cache_dir, find_cached

logger = logging.getLogger(__name__)

Basis = Literal["measured here", "rough", "unknown"]
VERSION = 2  # of speeds.json; older files are left unread
KEPT = 5  # measurements of the same work, the newest
SHORTEST = 2.0  # seconds; a stage that took less was mostly start-up: a rough measure of longer ones
FEWEST = 20  # photos; less says nothing
MOSTLY = 0.8  # share of the time from which several stages count as measured
LOCK_SECONDS = 5.0  # to wait for another process that writes speeds.json
RESUMABLE = ("embeddings", "stage1", "instances", "stage2")  # may have found part of their work done
NOTHING = "Nothing to do."
UNKNOWN = "Not measured on this machine yet: the time left shows soon after the start."
# Settings that decide how fast a stage is, those of the transformer aside.
_SETTINGS = {
    "proposals": (
        "proposals.engine",
        "proposals.views",
        "proposals.num_objects",
        "proposals.view_scale",
        "crf.enabled",
    ),
    "foreground": ("foreground.folds", "foreground.steps", "foreground.hidden", "crf.enabled"),
    "instances": (
        "instances.epochs",
        "instances.composites",
        "instances.most",
        "proposals.pool_size",
    ),
    "embeddings": ("embeddings.crop_side", "embeddings.mirror"),
    "clusters": ("clusters.method", "clusters.embedding", "clusters.num_classes", "clusters.soft_runs"),
    "pseudo_labels": ("labels.min_probability",),
    "predictions": ("predictions.crf", "rounds.count"),
    "evaluation": ("evaluation.probe", "evaluation.num_seeds", "clusters.soft_runs"),
    "projection": ("projection.num_epochs",),
}
_FILE = "speeds.json"  # in the user's cache folder
_TRAINING = ("model", "image_side", "hidden", "patch_share")
_MODELS = {"candidates": ("stage1",), "predictions": ("stage1", "stage2")}  # that a stage applies to photos


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much there is to do."""

    num_photos: int
    num_training: int  # photos that training may see
    num_masks: int

    def units(self, stage: str, config: RunConfig) -> int:
        """What the stage's time grows with: photos, masks, or photos times epochs."""
        units = {
            "stage1": self.num_training * config.stage1.epochs,
            "stage2": self.num_training * config.stage2.epochs,
            "rounds": self.num_training * config.stage2.epochs * config.rounds.count,
            **dict.fromkeys(("proposals", "predictions", "evaluation"), self.num_photos),
            "foreground": self.num_photos * config.foreground.enabled,
            "instances": self.num_photos * (config.instances.enabled != "off" and config.foreground.enabled),
            **dict.fromkeys(("candidates", "pseudo_labels"), self.num_training),
            "repairs": 0,
        }
        return units.get(stage, self.num_masks)


@dataclass(frozen=True)
class Estimate:
    """How long something will take."""

    seconds: float | None  # None while a part of it was never measured here
    basis: Basis
    sentence: str  # for people


@dataclass(frozen=True)
class Measured:
    """One finished stage."""

    kind: str  # stages of one kind run the same code
    drivers: dict[str, Any]  # settings that decide its speed
    seconds: float
    units: int


def work_of_source(source: PhotoSource, config: RunConfig) -> Work:
    """How much there is to do with photos of which nothing is known yet: every photo is taken to have all its masks."""
    num_photos = len(source.photos)
    num_masks = num_photos * config.proposals.num_cuts
    return Work(num_photos=num_photos, num_training=num_training(source), num_masks=num_masks)


def work_of_run(run: Run) -> Work:
    """How much there is to do in a run whose masks are made.

    Raises:
        RunError: If they are not made yet, or a file is damaged.
    """
    table = run.images()
    splits = table["split"][table["readable"].astype(bool)]
    num_training = int((splits == "train").sum()) or len(splits)
    return Work(num_photos=len(splits), num_training=num_training, num_masks=len(run.masks()))


def estimate(work: Work, stages: Sequence[str], config: RunConfig) -> Estimate:
    """How long stages will take on this machine, one after the other, from the beginning.

    Args:
        work: How much there is to do.
        stages: Names of stages.
        config: Settings, with or without "auto".
    """
    measured = _read(find_cached(_FILE)).get(_machine(), [])
    parts = [_estimate_stage(work.units(stage, config), *drivers_of(stage, config), measured) for stage in stages]
    known = [part for part in parts if part is not None]
    total, same = sum(seconds for seconds, _ in known), sum(seconds for seconds, is_same in known if is_same)
    if len(known) < len(parts):
        sentence = f"More than {_say(total)}: some of these stages were never measured on this machine."
        return Estimate(None, "unknown", sentence if total else UNKNOWN)
    if not total:
        return Estimate(0.0, "measured here", NOTHING)
    if same >= MOSTLY * total:
        return Estimate(total, "measured here", f"About {_say(total)}, as measured on this machine before.")
    sentence = f"Roughly {_say(total)}, as measured on this machine with other settings or on little work."
    return Estimate(total, "rough", sentence)


def record_speed(run: Run, stage: str, config: RunConfig, seconds: float, num_photos: int | None = None) -> None:
    """Remember how long a stage took, unless that says nothing of the next time.

    Args:
        run: The run, with its masks made.
        stage: Name of the stage, which is finished.
        config: Settings that it was made with.
        seconds: From beginning to end.
        num_photos: How many photos the time was spent on; None is all of the stage's.
    """
    if not _did_all(run, stage, seconds):
        return
    try:
        work = work_of_run(run)
    except RunError as error:  # a finished stage must not fail for this
        logger.warning("The time of %s is not remembered: %s", stage, error)
        return
    if num_photos is not None:
        work = replace(work, num_photos=num_photos)
    units = work.units(stage, config)
    if units and work.num_photos >= FEWEST:
        _note(Measured(*drivers_of(stage, config), round(seconds, 3), units))


def drivers_of(stage: str, config: RunConfig) -> tuple[str, dict[str, Any]]:
    """What decides the speed of a stage besides the amount of work.

    Returns:
        The kind of work, which all trainings of a model have in common, and the settings; None where any value will do.
    """
    if stage in ("stage1", "stage2", "rounds"):
        section = config.stage1 if stage == "stage1" else config.stage2
        return f"training of {section.model}", _features(config) | _values(section, _TRAINING)
    models = {
        f"{name}.{setting}": value
        for name in _MODELS.get(stage, ())
        for setting, value in _values(getattr(config, name), _TRAINING).items()
    }
    features = _features(config) if models or stage in ("proposals", "embeddings") else {}
    return stage, features | models | _values(config, _SETTINGS.get(stage, ()))


def _features(config: RunConfig) -> dict[str, Any]:
    """Device and transformer, with "auto" replaced by what it comes to; for the precision only torch knows that."""
    features = config.features
    name = likely_auto() if features.backbone == "auto" else features.backbone
    return {
        "device": device_of(features.device),
        "backbone": Path(name).stem,
        "shorter_side": features.shorter_side or (SPECS[name].shorter_side if name in SPECS else 0),
        "precision": None if features.precision == "auto" else features.precision,
    }


def _values(config: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: attrgetter(name)(config) for name in names}


def _estimate_stage(
    units: int, kind: str, drivers: Mapping[str, Any], measured: Sequence[Measured]
) -> tuple[float, bool] | None:
    """Seconds, and whether they are by long enough work with the very same drivers; None if nothing is known."""
    if not units:
        return 0.0, True
    known = [item for item in measured if item.kind == kind]
    same = [item for item in known if _agrees(item.drivers, drivers)]
    long = [item for item in same if item.seconds >= SHORTEST]
    if not known:
        return None
    # The lower one of two: whatever else was at work then can only have slowed it down.
    each = statistics.median_low(item.seconds / item.units for item in long or same or known)
    return each * units, bool(long)


def _agrees(known: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    return known.keys() == asked.keys() and all(value in (None, known[name]) for name, value in asked.items())


def _did_all(run: Run, stage: str, seconds: float) -> bool:
    """Whether a stage that may find part of its work done has done it all in this time, at the rate it went on with."""
    if stage not in RESUMABLE:
        return stage != "rounds"  # how much of it there is to do shows only while it is done
    progress = read_progress_file(run.progress_path)
    if progress is None or progress.stage != stage or not progress.rate:
        return False
    return progress.total / progress.rate <= seconds


def _say(seconds: float) -> str:
    """With two digits that count: more would promise too much."""
    return format_duration(max(1.0, float(f"{seconds:.1e}")))


def _note(new: Measured) -> None:
    """Add a measurement; threads and processes that do so at once wait for each other."""
    try:
        path = cache_dir() / _FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock").acquire(timeout=LOCK_SECONDS):
            machines = _read(path)
            kept = machines.get(_machine(), [])
            same = [item for item in kept if (item.kind, item.drivers) == (new.kind, new.drivers)]
            machines[_machine()] = [*(item for item in kept if item not in same), *same[1 - KEPT :], new]
            values = {name: [asdict(item) for item in items] for name, items in machines.items()}
            write_atomically(path, json.dumps({"version": VERSION, "machines": values}, indent=1))
    except (OSError, RunError) as error:  # RunError: no folder of the user's can be written
        logger.info("The speed of this machine is not remembered: %s", error)


def _read(path: Path | None) -> dict[str, list[Measured]]:
    """The measurements of each machine; none if there is no file, or one that cannot be used."""
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            return {}
        return {name: [Measured(**item) for item in items] for name, items in content["machines"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _machine() -> str:
    return f"{socket.gethostname()}, {usable_cores()} cores"
