"""The run whose clusters and models steps 5 to 8 show: the one that is looked at, else the class run."""

from pathlib import Path

import streamlit as st

from app import photo_cache, selection, session
from app.run_context import PRESET, overrides_from
from app.selection import Option
from maskdistill.cli.job_command import submit_run
from maskdistill.config import FeatureConfig, RunConfig, load_preset
from maskdistill.errors import MaskDistillError
from maskdistill.handouts.photo_on_run import is_trained
from maskdistill.stages.stage_list import NAMES
from maskdistill.stages.time_estimates import estimate, work_of_source
from maskdistill.storage.run_folder import Run, runs_folder

FOLDER = "guide"
DATA = "sample-views"
NUM_PHOTOS = 91  # of 156: seven views of each sample photo, more or less
# Settings that make it a matter of a minute and a half; what they cost in quality does not show on so few photos.
SETTINGS = (
    "proposals.views=none",
    "clusters.num_classes=13",
    "clusters.num_rounds=30",
    "clusters.num_spaces=6",
    "embeddings.mirror=false",
    "embeddings.crop_side=168",
    "stage1.epochs=6",
    "stage2.epochs=6",
)
_LAST = "stage2"


def reference_run(runs: dict[str, Run]) -> Run | None:
    """The run to be shown: the link's own, the one looked at, or the class run; None if none of them is trained."""
    for name in (selection.option(Option.MODEL), selection.current().run):
        if name in runs and is_trained(runs[name]):
            return runs[name]
    made = runs.get(class_folder().name)
    return made if made is not None and is_trained(made) else None


def class_folder() -> Path:
    """Where the class run is, or will be: a run of that name by somebody else is left alone."""
    number = 1
    while True:
        run = Run(runs_folder() / (FOLDER if number == 1 else f"{FOLDER}-{number}"))
        if not run.exists or _is_of_class(run):
            return run.path
        number += 1


def _is_of_class(run: Run) -> bool:
    try:
        return run.info().get("data") == DATA
    except MaskDistillError:  # a damaged run is left alone too
        return False


def class_config(features: FeatureConfig) -> RunConfig:
    """Settings of the class run, with the transformer that is on show."""
    base = load_preset(PRESET).with_overrides(SETTINGS)
    return RunConfig.from_dict({**base.to_dict(), "features": RunConfig(features=features).to_dict()["features"]})


def prepare(features: FeatureConfig) -> None:
    """Start the class run in the background, or go on with it; what speaks against it becomes a notice."""
    try:
        submit_run(
            class_folder(),
            DATA,
            until=_LAST,
            overrides=overrides_from(load_preset(PRESET), class_config(features)),
            preset=PRESET,
            limit=NUM_PHOTOS,
            title="Class run",
        )
    except MaskDistillError as error:
        session.notify(str(error))


@st.cache_data(ttl=600, max_entries=4, show_spinner=False)
def seconds_needed(features: FeatureConfig) -> int | None:
    """How long that takes on this machine from the beginning, to ten seconds; None if nobody knows yet."""
    config = class_config(features)
    work = work_of_source(photo_cache.source(DATA).limited(NUM_PHOTOS), config)
    seconds = estimate(work, NAMES[: NAMES.index(_LAST) + 1], config).seconds
    return None if seconds is None else max(10, int(round(seconds, -1)))
