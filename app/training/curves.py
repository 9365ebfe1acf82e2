"""Loss and agreement over the epochs, of one job or of several in one chart."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
import streamlit as st

from app.stage_names import WITH_EPOCHS, label_of
from maskdistill.jobs import Job, JobEvent, read_events

HISTORY = "history.jsonl"
_HEIGHT = 170  # pixels of a chart with its axes
_DOTS = 60  # epochs up to which each has a dot
_COLORS = ("#3FB8D0", "#E69F00", "#CC79A7", "#009E73")  # where the theme names none
_MEASURES = {"loss": "Loss, mean over the epoch's steps", "agreement": "Agreement with the targets"}


@dataclass(frozen=True)
class Epoch:
    """What is drawn of a finished epoch."""

    stage: str
    epoch: int  # from 1
    num_epochs: int
    loss: float | None  # what was minimised, mean over the steps
    agreement: float | None  # share of the targets that is predicted, 0 to 1
    samples_per_second: float  # photos

    @classmethod
    def parse(cls, stage: str, report: Mapping[str, Any]) -> Self:
        """From a line of history.jsonl, or the event that repeats it."""
        losses, metrics = report.get("losses", {}), report.get("metrics", {})
        return cls(
            stage,
            int(report["epoch"]),
            int(report.get("num_epochs", report["epoch"])),
            losses.get("total"),
            metrics.get("agreement", metrics.get("mask_iou")),  # of single objects, how far masks overlap
            float(report.get("samples_per_second", 0)),
        )


def job_epochs(job: Job) -> list[Epoch]:
    """The epochs of a job; those of one that has ended are read once.

    Raises:
        RunError: If the run's database cannot be read.
    """
    if job.state.is_active:
        return epochs_of(read_events(job.run, job.id))
    return _job_epochs(job.run, job.id, job.attempts, job.ended)


@st.cache_data(max_entries=256, show_spinner=False)
def _job_epochs(run: Path, job: int, attempts: int, ended: float | None) -> list[Epoch]:
    return epochs_of(read_events(run, job))


def epochs_of(events: Iterable[JobEvent]) -> list[Epoch]:
    """The epochs that a job reported, model by model; of one that was trained again, the last report."""
    found = {
        (_order(event.value["stage"]), event.value["epoch"]): Epoch.parse(event.value["stage"], event.value)
        for event in events
        if event.kind == "epoch"
    }
    return [found[place] for place in sorted(found)]


def trained_models(run: Path) -> list[str]:
    """Names of the models that a run folder holds a history of, in the order of the method."""
    found = [*(run / stage for stage in WITH_EPOCHS), *(run / "rounds").glob("*/")]
    names = [path.relative_to(run).as_posix() for path in found if (path / HISTORY).is_file()]
    return sorted(names, key=_order)


def saved_epochs(run: Path) -> list[Epoch]:
    """The epochs of the models that lie in a run folder, whoever trained them; a line that is cut off is left out."""
    found = []
    for stage in trained_models(run):
        for line in (run / stage / HISTORY).read_text(encoding="utf-8").splitlines():
            try:
                found.append(Epoch.parse(stage, json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
    return found


def _order(stage: str) -> tuple[int, int]:
    """Stage 1, the head of single objects, stage 2, and then the rounds by their number."""
    number = stage.rpartition("/")[2]
    return (
        (WITH_EPOCHS.index(stage), 0)
        if stage in WITH_EPOCHS
        else (len(WITH_EPOCHS), int(number) if number.isdecimal() else 0)
    )


def last_of(epochs: Sequence[Epoch], stage: str) -> Epoch | None:
    """The last finished epoch of a stage."""
    return next((item for item in reversed(epochs) if item.stage == stage), None)


def as_table(series: Mapping[str, Sequence[Epoch]]) -> pd.DataFrame:
    """epoch, loss, agreement, series: one row an epoch.

    Args:
        series: Epochs by what comes before the stage's name, such as "Job 3 · "; empty if there is but one.
    """
    rows = [
        {"epoch": item.epoch, "loss": item.loss, "agreement": item.agreement, "series": f"{name}{label_of(item.stage)}"}
        for name, epochs in series.items()
        for item in epochs
    ]
    return pd.DataFrame(rows, columns=["epoch", "loss", "agreement", "series"])


def draw(series: Mapping[str, Sequence[Epoch]], *, key: str) -> None:
    """Two small charts side by side, a line a model, with one legend; nothing while there is no epoch."""
    table = as_table(series)
    if table.empty:
        return
    last = max(item.num_epochs for epochs in series.values() for item in epochs)
    colors = _colors(list(table["series"].unique()))
    for column, (name, title) in zip(st.columns(2, gap="medium"), _MEASURES.items(), strict=True):
        with column:
            st.markdown(f":small[**{title}**]")
            st.vega_lite_chart(table, _spec(name, last, colors), height=_HEIGHT, key=f"{key}:{name}", alt=title)
    items = [f'<span><b style="background:{color}"></b>{html.escape(name)}</span>' for name, color in colors.items()]
    st.html(f'<div class="chart-legend">{"".join(items)}</div>')


def _colors(names: Sequence[str]) -> dict[str, str]:
    """The theme's colors of charts, in turn."""
    known = st.get_option("theme.chartCategoricalColors") or _COLORS
    return {name: known[number % len(known)] for number, name in enumerate(names)}


def _spec(name: str, last: int, colors: Mapping[str, str]) -> dict[str, Any]:
    """Lines over the whole length of the training, so that one sees how much is left."""
    axis = {"title": None, "grid": True, "tickCount": 4}
    ticks = {"title": "epoch", "titlePadding": 2, "grid": False, "tickMinStep": 1, "format": "d", "tickCount": 8}
    scale = {"zero": False, "nice": True, **({} if name == "loss" else {"domainMax": 1})}
    palette = {"domain": list(colors), "range": list(colors.values())}
    return {
        "padding": {"left": 2, "top": 4, "right": 8, "bottom": 2},
        "mark": {"type": "line", "point": {"size": 22 if last <= _DOTS else 0}, "strokeWidth": 2},
        "encoding": {
            "x": {"field": "epoch", "type": "quantitative", "axis": ticks, "scale": {"domain": [1, max(2, last)]}},
            "y": {"field": name, "type": "quantitative", "axis": axis, "scale": scale},
            "color": {"field": "series", "type": "nominal", "scale": palette, "legend": None},
            "tooltip": [
                {"field": "series", "title": "Model"},
                {"field": "epoch", "title": "Epoch"},
                {"field": name, "title": name.capitalize(), "format": ".3f"},
            ],
        },
    }
