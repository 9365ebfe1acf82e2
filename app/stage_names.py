"""The names of the stages for people, and what is said of them. No Streamlit in here."""

from collections.abc import Sequence

from maskdistill.config import RunConfig

LABELS = {
    "proposals": "Proposals",
    "foreground": "Foreground",
    "repairs": "Repairs",
    "embeddings": "Embeddings",
    "clusters": "Clusters",
    "classes": "Classes",
    "stage1": "Stage 1",
    "instances": "Instances",
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
WITH_EPOCHS = ("stage1", "instances", "stage2")  # stages that train something


def label_of(name: str) -> str:
    """A stage's name for people; steps inside a stage that are no stage themselves keep theirs."""
    if name.startswith("rounds/"):
        return f"Round {name.removeprefix('rounds/')}"
    return LABELS.get(name, name.replace("_", " ").capitalize())


def found_by(origin: str) -> str:
    """Who found a mask, as the table of masks has it, for people; "" for a proposal."""
    return "" if origin == "proposal" else f"found by {label_of(origin)}, no proposal"


def switched_off(config: RunConfig) -> frozenset[str]:
    """Optional stages that make nothing with these settings."""
    used = {"rounds": config.rounds.count > 0, "foreground": config.foreground.enabled}
    used["instances"] = config.instances.enabled != "off"
    return frozenset(name for name, is_used in used.items() if not is_used)


def describe_work(work: Sequence[str], until: str) -> str:
    """A sentence on what a start would make.

    Args:
        work: Stages that would be made, in order.
        until: The stage that is started.
    """
    if not work:
        return f"Nothing to do: {label_of(until)} is up to date with these settings."
    before = [label_of(name) for name in work if name != until]
    if until not in work:
        return f"Makes {_join(before)}; {label_of(until)} itself is up to date."
    return f"Makes first: {_join(before)}." if before else "Everything it needs is up to date."


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
