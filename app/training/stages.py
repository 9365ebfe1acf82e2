"""The stages as the page speaks of them, and what starting one would do. No Streamlit in here."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

from maskdistill.config import RunConfig
from maskdistill.datasets import PhotoSource
from maskdistill.features.registry import BackboneChoice
from maskdistill.stages.chain import Plan
from maskdistill.stages.stage_list import BY_NAME, NAMES
from maskdistill.stages.status import StageState
from maskdistill.storage.run_folder import Run

Mark = Literal["done", "stale", "running", "stopped", "failed", "next", "todo"]

LABELS = {
    "proposals": "Proposals",
    "embeddings": "Embeddings",
    "clusters": "Clusters",
    "classes": "Classes",
    "stage1": "Stage 1",
    "candidates": "Candidates",
    "filter": "Filter",
    "pseudo_labels": "Pseudo-labels",
    "stage2": "Stage 2",
    "rounds": "Rounds",
    "predictions": "Predictions",
    "evaluation": "Evaluation",
    "projection": "Map",
}
TRAINED = ("stage1", "stage2")  # the two models; those of further rounds are named rounds/1, rounds/2 and on
WORDS: dict[Mark, str] = {"done": "done", "stale": "stale", "running": "running", "next": "next", "todo": "to do"}
_ENDINGS: dict[str, Mark] = {"failed": "failed", "lost": "failed", "stopped": "stopped"}  # of a last try


@dataclass(frozen=True)
class Card:
    """A stage in the strip."""

    name: str
    label: str
    mark: Mark  # decides icon and colour
    word: str  # the state, for those who do not see colours
    text: str  # a sentence, for the tooltip and below the strip


def label_of(name: str) -> str:
    """A stage's name for people; steps inside a stage that have no card keep theirs."""
    if name.startswith("rounds/"):
        return f"Round {name.removeprefix('rounds/')}"
    return LABELS.get(name, name.replace("_", " ").capitalize())


def switched_off(config: RunConfig) -> frozenset[str]:
    """Optional stages that these settings ask nothing of."""
    return frozenset() if config.rounds.count else frozenset({"rounds"})


def sections_of(name: str) -> tuple[str, ...]:
    """The sections of the settings that a stage's form shows."""
    return ("proposals", "features", "crf") if name == "proposals" else BY_NAME[name].sections


def default_stage(states: Sequence[StageState]) -> str:
    """The stage that one most likely wants to see: the one at work, else the first model that is not up to date."""
    for item in states:
        if item.state == "running":
            return item.name
    return next((item.name for item in states if item.name in TRAINED and item.state != "done"), TRAINED[-1])


def cards(states: Sequence[StageState], at_work: str = "", off: Container[str] = ()) -> list[Card]:
    """The stages in the order of the method.

    Args:
        states: Of all stages.
        at_work: Stage that a job is at; empty if none is.
        off: Stages that nothing is asked of.
    """
    following = next((item.name for item in states if item.state == "missing" and item.name not in off), "")
    return [
        Card(item.name, LABELS[item.name], "todo", "off", "Off: nothing is asked of it.")
        if item.name in off
        else _card(item, item.name == at_work, item.name == following and not at_work)
        for item in states
    ]


def _card(item: StageState, at_work: bool, follows: bool) -> Card:
    label, (ending, _, said) = LABELS[item.name], item.why.partition(": ")
    summary = BY_NAME[item.name].summary
    if at_work or item.state == "running":
        return Card(item.name, label, "running", WORDS["running"], f"Makes now: {summary}.")
    if item.state == "done":
        return Card(
            item.name, label, "done", WORDS["done"], f"Up to date{f': {item.summary}' if item.summary else ''}."
        )
    if item.state == "stale":
        return Card(item.name, label, "stale", WORDS["stale"], f"Stale, because {_for_people(item.why)}.")
    if ending in _ENDINGS:
        text = said if said.lower().startswith(ending) else f"{ending.capitalize()}: {said}"
        return Card(item.name, label, _ENDINGS[ending], ending, text)
    mark: Mark = "next" if follows else "todo"
    return Card(item.name, label, mark, WORDS[mark], f"Not made yet: {summary}.")


def _for_people(why: str) -> str:
    """The reason with the label of the stage that it begins with, if it is one of those."""
    first, space, rest = why.partition(" ")
    return f"{LABELS.get(first, first)}{space}{rest}"


def with_needs(name: str) -> list[str]:
    """The stage and every stage it needs, in order."""
    wanted = {name}
    for other in reversed(NAMES):
        if other in wanted:
            wanted.update(BY_NAME[other].needs)
    return [other for other in NAMES if other in wanted]


def work_to_do(
    run: Run, source: PhotoSource, config: RunConfig, choice: BackboneChoice, wanted: Sequence[str]
) -> list[str]:
    """Which of the wanted stages would be made, in order, if they were started with these settings.

    Args:
        run: Run folder.
        source: All photos of the run's data.
        config: Settings, with the backbone chosen.
        choice: What that backbone is.
        wanted: Names of stages, those they need among them.
    """
    limit = run.info().get("limit", 0)
    plan = Plan(run, source.limited(limit) if limit else source, config, choice)
    off = switched_off(config)
    return [name for name in wanted if name not in off and not plan.is_done(name)]


def describe_work(work: Sequence[str], until: str) -> str:
    """A sentence on what a start would do."""
    if not work:
        return f"Nothing to do: {label_of(until)} is up to date with these settings."
    before = [label_of(name) for name in work if name != until]
    if until not in work:
        return f"Does {_join(before)}; {label_of(until)} itself is up to date."
    return f"Does first: {_join(before)}." if before else "All that it needs is there."


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
