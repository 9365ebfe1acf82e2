"""How far a run is, and what a start would make: read again once the files behind it change."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import streamlit as st

from app import cache, photo_cache
from app.stage_names import switched_off
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, PhotoSource, ProgressCallback
from maskdistill.errors import ConfigError, DatasetError, MaskDistillError, RunError
from maskdistill.features.registry import choose_backbone
from maskdistill.machine import give_back_memory
from maskdistill.review import decisions
from maskdistill.stages import status
from maskdistill.stages.plan import Plan
from maskdistill.stages.status import StageState
from maskdistill.stages.time_estimates import estimate, work_of_run, work_of_source
from maskdistill.storage.progress import read_progress_file
from maskdistill.storage.run_folder import Run

_MOST_ENTRIES = 1000  # of a folder of photos, read to find the folders in it
_TTL = 300  # seconds until a change is noticed that touches none of the files of the stamp, as of a picture's content


def stage_states(run: Run) -> list[StageState]:
    """The state of every stage; the photos are read again only if something may have changed.

    Raises:
        RunError: If a file of the run is damaged.
    """
    progress = read_progress_file(run.progress_path)
    return _stage_states(run.path, _stamp(run), progress and (progress.stage, progress.state, progress.message))


@st.cache_data(ttl=_TTL, max_entries=32, show_spinner=False)
def _stage_states(path: Path, stamp: Any, progress: Any) -> list[StageState]:
    run, source = Run(path), None
    with suppress(DatasetError, ConfigError, RunError):  # which the states tell of
        source = photo_cache.renewed(run.info()["data"], run.seen_path)
    states = status.stage_states(run, source=source)
    give_back_memory()  # which reads all files of a run
    return states


def judging_states(run: Run, photos: Sequence[Photo]) -> list[StageState]:
    """The states of the stages up to the candidates, with the photos that the run knows: their folder is not read.

    Raises:
        RunError: If a file of the run is damaged.
    """
    return _judging_states(run.path, _stamp(run), photos)


@st.cache_data(max_entries=8, show_spinner=False)
def _judging_states(path: Path, stamp: Any, _photos: Sequence[Photo]) -> list[StageState]:
    source = PhotoSource("folder", str(path), None, _photos)  # of which the photos alone matter
    return status.stage_states(Run(path), source=source, until="candidates")


def stages_to_make(
    run: Run, config: RunConfig, wanted: Sequence[str], on_progress: ProgressCallback | None = None
) -> list[str]:
    """Which of these stages would be made if they were started with these settings, in order.

    Args:
        run: Run folder.
        config: Settings.
        wanted: Names of stages, those they need among them.
        on_progress: Called while the photos are read, the first time.

    Raises:
        MaskDistillError: If the photos, the weights or the run cannot be used.
    """
    photo_cache.source(run.info()["data"], on_progress, run.seen_path)
    return _stages_to_make(run.path, _stamp(run), json.dumps(config.to_dict()), tuple(wanted))


@st.cache_data(ttl=_TTL, max_entries=128, show_spinner=False)
def _stages_to_make(path: Path, stamp: Any, config: str, wanted: tuple[str, ...]) -> list[str]:
    run, settings = Run(path), RunConfig.from_dict(json.loads(config))
    choice = choose_backbone(settings.features.backbone, settings.features.architecture)
    plan = Plan(run, _photos_of(run), settings, choice)
    off = switched_off(settings)
    return [name for name in wanted if name not in off and not plan.is_done(name)]


def time_needed(run: Run, config: RunConfig, stages: Sequence[str]) -> str:
    """A sentence on how long these stages will take here, one after the other; empty if there are none.

    It is empty too if a file that it needs is damaged: a stage that makes that file can still be started.
    """
    try:
        return _time_needed(run.path, _stamp(run), json.dumps(config.to_dict()), tuple(stages)) if stages else ""
    except MaskDistillError:
        return ""


@st.cache_data(ttl=_TTL, max_entries=128, show_spinner=False)
def _time_needed(path: Path, stamp: Any, config: str, stages: tuple[str, ...]) -> str:
    run, settings = Run(path), RunConfig.from_dict(json.loads(config))
    work = work_of_source(_photos_of(run), settings) if "proposals" in stages else work_of_run(run)
    return estimate(work, stages, settings).sentence


def _photos_of(run: Run) -> PhotoSource:
    """The photos of the run's source that it uses."""
    info = run.info()
    source, limit = photo_cache.source(info["data"], seen=run.seen_path), info.get("limit", 0)
    return source.limited(limit) if limit else source


def _stamp(run: Run) -> tuple[int, str]:
    """Names and times of what decides how far a run is: settings, decisions, stages' records, folders of photos."""
    paths = [run.path / "run.json", *sorted((run.path / "stages").glob("*.json")), *_folders(Path(run.info()["data"]))]
    return decisions.version(run), cache.stamp(paths)


def _folders(root: Path) -> list[Path]:
    """The source itself and the folders in it, whose times change when a photo comes or goes."""
    if not root.is_dir():
        return [root]
    with os.scandir(root) as entries:
        found = [Path(entry) for entry in islice(entries, _MOST_ENTRIES) if entry.is_dir()]
    return [root, *sorted(found)]
