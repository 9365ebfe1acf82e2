"""The settings that the forms show: those of the run, of a job that was duplicated, and what was typed on top."""

from app import session
from app.run_context import overrides_from
from app.training import settings_form
from maskdistill.config import RunConfig, load_preset, preset_names, section_names
from maskdistill.jobs import Job
from maskdistill.storage.run_folder import Run

_DEFAULT = "quick"


def preset_of(run: Run) -> tuple[str, RunConfig]:
    """Name and settings of the preset that the run started from; of the default one if that no longer exists."""
    name = run.info().get("preset", "")
    name = name if name in preset_names() else _DEFAULT
    return name, load_preset(name)


def start_config(run: Run, coming: RunConfig) -> RunConfig:
    """What the fields show before anything is typed.

    Args:
        run: Run folder.
        coming: The run's settings, once the unfinished jobs have begun. A duplicate made from others is forgotten.
    """
    kept = session.recall(session.Key.DUPLICATE)
    if kept is None or kept[:2] != (run.path, coming):
        return coming
    return kept[2]


def duplicate(job: Job, coming: RunConfig) -> None:
    """Put a job's settings into the forms, in place of what was typed there.

    A backbone that was chosen for "auto" stays: its masks are there.

    Raises:
        ConfigError: If the settings are of another version.
    """
    config = RunConfig.from_dict(job.settings)
    if config.features.backbone == "auto":
        config = RunConfig.from_dict({**config.to_dict(), "features": coming.to_dict()["features"]})
    forget()
    session.remember(session.Key.DUPLICATE, (job.run, coming, config))


def forget() -> None:
    """Throw away what was typed in any form and not started yet."""
    session.remember(session.Key.DUPLICATE, None)
    for section in _sections():
        session.remember(session.field_key(section), None)


def typed_config(start: RunConfig) -> RunConfig:
    """The settings that a start would take: ``start``, and on top what was typed in the form of any stage.

    Raises:
        ConfigError: If a value cannot work.
    """
    config = start
    for section in _sections():
        if session.recall(session.field_key(section)) == settings_form.values_of(start, section):
            config = config.with_overrides(settings_form.changes(section, config))
    return config


def _sections() -> list[str]:
    return ["", *section_names()]


def describe_changes(coming: RunConfig, config: RunConfig) -> list[str]:
    """``section.name = value`` of each setting that a start would change, for people."""
    return [text.replace("=", " = ", 1) for text in overrides_from(coming, config)]
