"""Jobs in a table, and what two of them were started with. No Streamlit in here."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from app.training.curves import Epoch
from app.training.stages import label_of
from maskdistill.config import describe_settings, section_names
from maskdistill.jobs import Job
from maskdistill.storage.progress import format_duration

COLUMNS = ("Job", "What", "State", "Began", "Took", "Loss", "Agreement", "Message")
_NOTHING = "–"


def job_table(jobs: Sequence[Job], epochs: Mapping[int, Sequence[Epoch]]) -> pd.DataFrame:
    """One row a job: number, title, state, when it began, how long it worked, where its last training ended, its word.

    Args:
        jobs: In the order of the rows.
        epochs: Of each job, by its number.
    """
    return pd.DataFrame([_row(job, epochs.get(job.id, ())) for job in jobs], columns=list(COLUMNS))


def _row(job: Job, epochs: Sequence[Epoch]) -> tuple[Any, ...]:
    last = epochs[-1] if epochs and not job.state.is_active else None  # the table is not drawn again as it works
    began = None if job.started is None else datetime.fromtimestamp(job.started).replace(microsecond=0)
    took = format_duration(job.seconds) if job.seconds and not job.state.is_active else ""
    loss, agreement = (last.loss, last.agreement) if last else (None, None)
    return job.id, job.title, str(job.state), began, took, loss, agreement, word_of(job)


def word_of(job: Job) -> str:
    """What a job says of itself, without the path of its run, which the page shows anyway."""
    return job.message.removesuffix(f" {job.run.absolute()}")


def differences(first: tuple[str, Mapping[str, Any]], second: tuple[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Settings in which two differ: the setting in words, its value in each, and its name.

    A setting that one of them does not know, since it is of another version, shows as a dash.

    Args:
        first: What its column is called, and ``RunConfig`` as plain values.
        second: Likewise.
    """
    left, right = _flat(first[1]), _flat(second[1])
    names = [name for name in [*left, *(name for name in right if name not in left)] if _differ(left, right, name)]
    words = _words()
    rows = [
        (words.get(name, name), _show(left.get(name)), _show(right.get(name)), name)
        for name in sorted(names, key=_order(names))
    ]
    return pd.DataFrame(rows, columns=["Setting", first[0], second[0], "Name"])


def _differ(left: Mapping[str, Any], right: Mapping[str, Any], name: str) -> bool:
    return name not in left or name not in right or left[name] != right[name]


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """``section.name`` -> value."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= {f"{name}.{leaf}": item for leaf, item in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _words() -> dict[str, str]:
    """``section.name`` -> "Stage 1: epochs"."""
    found = {setting.full_name: setting.words for setting in describe_settings("")}
    for section in section_names():
        for setting in describe_settings(section):
            found[setting.full_name] = f"{label_of(section)}: {_lower(setting.words)}"
    return found


def _lower(words: str) -> str:
    """In the middle of a sentence; an abbreviation such as CRF stays."""
    return words if words[:2].isupper() else f"{words[0].lower()}{words[1:]}"


def _order(names: Sequence[str]) -> Any:
    """Sections in the order of the method, names in theirs."""
    sections = ["", *section_names()]

    def place(name: str) -> tuple[int, int]:
        section = name.rpartition(".")[0]
        return sections.index(section) if section in sections else len(sections), names.index(name)

    return place


def _show(value: Any) -> str:
    if value is None or value == "":
        return _NOTHING
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or _NOTHING
    return f"{value:g}" if isinstance(value, float) else str(value)
