"""What the selection means: a run or photos without one, its settings, and the photo on show."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app import cache, photo_cache, selection, session
from maskdistill import roots
from maskdistill.config import RunConfig, flatten, load_preset
from maskdistill.datasets import Photo, PhotoSource, ProgressCallback
from maskdistill.datasets.photo_table import arranged, number_of, values_of
from maskdistill.errors import ConfigError, RunError
from maskdistill.storage.read_files import reading
from maskdistill.storage.run_folder import Run, list_runs, runs_folder

PRESET = "quick"
_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,59}"


@dataclass(frozen=True)
class RunContext:
    """Photos, the settings of their run or of the preset, and the scores of the run's masks."""

    run: Run | None
    source: PhotoSource
    base: RunConfig
    scores: Mapping[str, float] = field(default_factory=dict)  # photo id -> score of its best mask; empty without a run
    problems: Mapping[str, str] = field(default_factory=dict)  # photo id -> why its result is doubtful


def open_run_context(on_progress: ProgressCallback | None = None) -> RunContext:
    """Resolve the selection; a run that is not there falls back to the sample photos, with a notice.

    Raises:
        MaskDistillError: If the photos or the run cannot be read.
    """
    chosen = selection.current()
    run = _find_run(chosen.run)
    if run is None:
        return RunContext(None, photo_cache.source(chosen.data, on_progress), load_preset(PRESET))
    info = run.info()
    source = photo_cache.source(info["data"], on_progress, run.seen_path)
    scores, problems = _results(run)
    return RunContext(run, source, run_config(info), scores, problems)


def _find_run(name: str) -> Run | None:
    if not name:
        return None
    known = {run.name: run for run in list_runs(runs_folder())}
    if name not in known:
        selection.select(run="")
        session.notify(
            f"There is no run '{name}' in {runs_folder()}. Photos of '{selection.current().data}' are shown."
        )
        return None
    return known[name]


def run_config(info: dict[str, Any]) -> RunConfig:
    """The settings in run.json, with the backbone that was chosen.

    Raises:
        RunError: If this version does not know them.
    """
    try:
        config = RunConfig.from_dict(info["config"])
    except (ConfigError, KeyError) as error:
        raise RunError(f"run.json holds settings this version does not know: {error}. Start a new run.") from error
    if config.features.backbone != "auto" or not info.get("backbone"):
        return config
    return replace(config, features=replace(config.features, backbone=info["backbone"]["name"]))


def _results(run: Run) -> tuple[dict[str, float], dict[str, str]]:
    if not run.masks_path.is_file():
        return {}, {}
    return _read_results(run.path, cache.stamp((run.masks_path, run.images_path)), run)


@cache.newest(4)
def _read_results(path: Path, stamp: str, run: Run) -> tuple[dict[str, float], dict[str, str]]:
    masks, images = run.masks(("image_id", "score")), run.images(("id", "problem"))
    with reading(run.masks_path):
        scores = masks.groupby("image_id", sort=False)["score"].max().astype(float)
        best = {str(id): score for id, score in scores.items()}
    with reading(run.images_path):
        doubtful = images[images["problem"].notna() & (images["problem"] != "")]
        return best, dict(zip(doubtful["id"], doubtful["problem"], strict=True))


def sorted_photos(context: RunContext, sort: str) -> Sequence[Photo]:
    """Photos in the chosen order; one without a mask counts as the worst."""
    photos = context.source.photos
    if sort == "order" or not context.scores:
        return photos
    scores = [context.scores.get(id, -1.0) for id in values_of(photos, "id")]
    return arranged(photos, sorted(range(len(photos)), key=scores.__getitem__, reverse=sort == "best"))


def current_photo(photos: Sequence[Photo]) -> Photo:
    """The photo on show; an id that is not there falls back to the first, with a notice."""
    wanted = selection.current().photo
    if (place := number_of(photos, wanted)) is not None:
        return photos[place]
    if wanted:
        session.notify(f"There is no photo '{wanted}' here, so the first one is shown.")
    selection.select(photo=photos[0].id, patch=None if wanted else selection.current().patch)
    return photos[0]


def free_run_name(stem: str) -> str:
    """A name in the runs folder that is not taken."""
    folder = runs_folder()
    number = 1
    while (folder / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


def name_problem(name: str) -> str:
    """Why a run cannot be called so; empty if it can."""
    if not re.fullmatch(_NAME, name):
        return "A name has 1 to 60 letters, digits, dots, dashes or underscores, and no dot in front."
    return "" if roots.is_inside(runs_folder() / name) else roots.outside(runs_folder() / name)


def overrides_from(base: RunConfig, config: RunConfig) -> list[str]:
    """The ``section.name=value`` changes that lead from one configuration to the other."""
    before, after = flatten(base.to_dict()), flatten(config.to_dict())
    return [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in after.items()
        if value != before[name]
    ]
