"""Starting stages of a run as a background job, and what a job is for."""

from collections.abc import Sequence

from app import engine_choice
from app.run_context import overrides_from, run_config
from app.stage_names import label_of
from maskdistill.cli.job_command import submit_command, submit_run
from maskdistill.config import RunConfig
from maskdistill.jobs import Job, JobState, Submitted, list_jobs
from maskdistill.stages.stage_list import NAMES, with_needs
from maskdistill.storage.run_folder import Run

ALL = "all"  # in place of a stage: every one of them
MAP = "projection"  # no other stage needs it: made by its own command, without the stages between


def coming_configs(run: Run, jobs: Sequence[Job]) -> list[RunConfig]:
    """Settings that run.json holds now and will hold while the unfinished jobs work, the last to come at the end."""
    unfinished = [RunConfig.from_dict(job.settings) for job in reversed(jobs) if job.state.is_active and job.settings]
    return [run_config(run.info()), *unfinished]


def start(run: Run, config: RunConfig, until: str) -> Submitted:
    """Make what is missing or stale up to a stage, with these settings, in the background.

    Args:
        run: Run folder.
        config: Settings.
        until: Name of a stage, or ``ALL``.

    Raises:
        JobError: If the process cannot be started.
        ConfigError: If a setting cannot work.
        RunError: If the run cannot be read or written.
    """
    overrides = full_overrides(coming_configs(run, list_jobs(run.path)), config)
    info = run.info()
    if until == MAP:
        settings = [part for text in overrides for part in ("--set", text)]
        return submit_command(run.path, ["project", *settings], title=label_of(MAP))
    return submit_run(
        run.path,
        info["data"],
        until=NAMES[-1] if until == ALL else until,
        overrides=overrides,
        limit=info.get("limit") or None,
        title="All stages" if until == ALL else label_of(until),
        flags=engine_choice.flags(),
    )


def full_overrides(bases: Sequence[RunConfig], config: RunConfig) -> list[str]:
    """Changes that lead to ``config`` whichever of ``bases`` run.json holds by the time the job begins."""
    return list(dict.fromkeys(text for base in bases for text in overrides_from(base, config)))


def train_on_kept(run: Run, changes: Sequence[str] = ()) -> Submitted:
    """Train stage 2 on the masks that the filter keeps; for the Filter page's button.

    Args:
        run: Run folder, with stage 1 trained or not.
        changes: ``section.name=value`` settings on top of the run's own, as those of the filter on show.

    Raises:
        JobError: If the process cannot be started.
        ConfigError: If a setting cannot work.
        RunError: If the run cannot be read or written.
    """
    config = coming_configs(run, list_jobs(run.path))[-1]
    return start(run, config.with_overrides(changes), "stage2")


def stage_at_work(jobs: Sequence[Job]) -> str:
    """The stage that a job of the run makes now; empty if none works."""
    return next((job.stage for job in jobs if job.state in (JobState.RUNNING, JobState.STOPPING)), "")


def stages_of(job: Job) -> tuple[str, ...]:
    """The stages that a job makes or finds up to date; none if its command makes no stages."""
    command, *flags = job.arguments or ("",)
    if command == "project":
        return tuple(with_needs((MAP,), RunConfig()))
    if command != "run":
        return ()
    parts = [part for flag in flags for part in flag.split("=", 1)]
    until = parts[parts.index("--until") + 1] if "--until" in parts else NAMES[-1]
    return NAMES[: NAMES.index(until) + 1]
