"""The stages in the order of the work. Imports nothing of what they do, so that ``--help`` can name them at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskdistill.config import RunConfig


@dataclass(frozen=True)
class Stage:
    """One step from photos to a report."""

    name: str
    summary: str  # for people
    work: str  # "module:function" of a function from Context to a sentence; imported only when there is work
    needs: tuple[str, ...]  # stages whose artifacts it reads
    sections: tuple[str, ...] = ()  # settings it depends on
    seeded: bool = False  # whether the seed decides anything
    artifacts: tuple[str, ...] = ()  # files that must be there for it to count as done
    code: int = 1  # raised when the same settings would make something else


STAGES = (
    Stage("proposals", "object masks of every photo", "", ()),
    Stage(
        "foreground",
        "masks corrected by what is learnt across photos",
        "maskdistill.stages.foreground:find_foreground",
        ("proposals",),
        ("foreground",),
        seeded=True,
        artifacts=("foreground.json",),
    ),
    Stage(
        "repairs",
        "masks as people mended them",
        "maskdistill.stages.repairs:mend_masks",
        ("foreground",),
        artifacts=("repairs/record.json", "repairs/masks.parquet"),
    ),
    Stage(
        "embeddings",
        "vectors of every mask",
        "maskdistill.stages.embed:embed",
        ("repairs",),
        ("embeddings",),
        artifacts=("embeddings.json",),
    ),
    Stage(
        "clusters",
        "classes, by clustering the masks",
        "maskdistill.stages.cluster:make_clusters",
        ("embeddings",),
        ("clusters",),
        seeded=True,
        artifacts=("clusters.parquet", "clusters.json", "embeddings.npy", "space.npz"),
    ),
    Stage(
        "classes",
        "clusters as people changed them",
        "maskdistill.stages.classes:make_classes",
        ("clusters",),
        artifacts=("classes.parquet", "classes.json"),
    ),
    Stage(
        "stage1",
        "first model, trained on all masks",
        "maskdistill.stages.train:train_stage1",
        ("classes",),
        ("stage1",),
        seeded=True,
        artifacts=("stage1/model.safetensors",),
    ),
    Stage(
        "instances",
        "single objects, by a head that learns where one ends",
        "maskdistill.stages.instances:find_instances",
        ("foreground", "stage1"),
        ("instances",),
        seeded=True,
        artifacts=("instances/record.json",),
    ),
    Stage(
        "candidates",
        "what the first model makes of each mask, or of each single object",
        "maskdistill.stages.candidates:find_candidates",
        ("stage1", "instances"),
        ("candidates",),
        artifacts=("candidates.parquet",),
    ),
    Stage(
        "filter",
        "which masks are kept",
        "maskdistill.stages.select:select_masks",
        ("candidates",),
        ("filter",),
        artifacts=("kept.parquet",),
    ),
    Stage(
        "pseudo_labels",
        "label maps of the kept masks",
        "maskdistill.stages.label:paint_pseudo_labels",
        ("filter",),
        ("labels",),
        artifacts=("pseudo_labels.json",),
    ),
    Stage(
        "stage2",
        "final model, trained on the label maps",
        "maskdistill.stages.train:train_stage2",
        ("pseudo_labels",),
        ("stage2",),
        seeded=True,
        artifacts=("stage2/model.safetensors",),
    ),
    Stage(
        "rounds",
        "optional rounds: the final model, trained again on its own label maps",
        "maskdistill.stages.rounds:do_rounds",
        ("stage2",),
        ("rounds",),
        artifacts=("rounds.json",),
    ),
    Stage(
        "predictions",
        "label maps by every model, with and without CRF",
        "maskdistill.stages.predict:predict_photos",
        ("rounds",),
        ("predictions", "crf"),
        artifacts=("predictions.json",),
    ),
    Stage(
        "evaluation",
        "what each stage brought, against ground truth where there is any",
        "maskdistill.stages.evaluate:evaluate_run",
        ("predictions", "instances"),
        ("evaluation",),
        artifacts=("metrics.json",),
    ),
    Stage(
        "projection",
        "map of the masks by UMAP",
        "maskdistill.stages.project:project_masks",
        ("clusters",),
        ("projection",),
        seeded=True,
        artifacts=("umap_xy.npy",),
    ),
)
BY_NAME = {stage.name: stage for stage in STAGES}
NAMES = tuple(BY_NAME)
# Those that ``--shard`` divides by photos, as it does the masks; what some of them train, one process trains.
SHARED = ("foreground", "embeddings", "instances", "candidates", "rounds", "predictions")
OF_EVERY_RUN = tuple(name for name in NAMES if name != "repairs")  # that is there only where people mended masks


def with_needs(wanted: Iterable[str], config: "RunConfig") -> list[str]:
    """Stages and every stage that they need, in order; candidates that are no single objects do without these."""
    found = set(wanted)
    for name in reversed(NAMES):
        if name in found:
            aside = {"instances"} if name == "candidates" and not config.judges_instances else set()
            found.update(set(BY_NAME[name].needs) - aside)
    return [name for name in NAMES if name in found]
