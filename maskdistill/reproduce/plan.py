"""What an experiment will take before any of it is done: files, disk, steps, GPU. Asks no network, loads no torch."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskdistill.config import RunConfig
from maskdistill.machine import num_gpus
from maskdistill.reproduce.artifacts import DATA, Artifact, Experiment, weights_of
from maskdistill.reproduce.fetch import missing_of
from maskdistill.reproduce.layout import LIST_20K, TRAINAUG

VAL, VOC_TRAIN = 1_449, 1_464  # photos of VOC 2012
_TRAIN = {"voc": TRAINAUG, "coco20k": LIST_20K}
_UNPACKED = {"voc": 1_500, "coco20k": 3_300}  # megabytes of the photos that are used, about
_RATIO = 1.4  # longer to shorter side of a photo, about
_EMBEDDING, _BYTES = 384, 2  # dimensions of ViT-S, float16
_RUN_MEGABYTES = 800  # of one seed: two models, checkpoints, label maps


@dataclass(frozen=True)
class Plan:
    """What is there and what is missing."""

    experiment: Experiment
    root: Path
    needed: tuple[Artifact, ...]
    missing: tuple[Artifact, ...]
    config: RunConfig
    num_train: int
    num_val: int
    seeds: tuple[int, ...]
    data: Path | None  # unpacked already
    trainaug: Path | None

    @property
    def token_megabytes(self) -> float:
        """Of the patch tokens that the runs store."""
        side = self.config.features.shorter_side or 336
        patches = (side / 16) * (side * _RATIO / 16)
        blocks = max(1, len(self.config.features.head_blocks))
        return (self.num_train + self.num_val) * patches * _EMBEDDING * blocks * _BYTES / 1e6

    @property
    def disk_megabytes(self) -> float:
        """All that is written below the root, about."""
        unpacked = 0 if self.data is not None else _UNPACKED[self.experiment]
        download = sum(item.megabytes for item in self.missing)
        return download + unpacked + self.token_megabytes + _RUN_MEGABYTES * len(self.seeds)

    def steps(self) -> tuple[int, int]:
        """Training steps of either model, for one seed."""
        stages = (self.config.stage1, self.config.stage2)
        first, second = (item.epochs * -(-self.num_train // item.batch_size) for item in stages)
        return first, second


def make_plan(
    experiment: Experiment,
    root: Path,
    config: RunConfig,
    seeds: Sequence[int],
    *,
    data: Path | None = None,
    trainaug: Path | None = None,
    limit: int = 0,
) -> Plan:
    """Look at what is there.

    Args:
        experiment: Which one.
        root: Folder of downloads, data, weights and runs.
        config: Settings, with weights still open.
        seeds: Of the clusterings.
        data: Folder with the data, if it is unpacked already.
        trainaug: Folder of VOC's further labels.
        limit: Photos at most, 0 for all.
    """
    needed = (*(() if data is not None else DATA[experiment]), *weights_of(config))
    if data is not None and experiment == "coco20k":
        needed = (*DATA[experiment][2:], *needed)  # the list
    num_train = VOC_TRAIN if experiment == "voc" and trainaug is None else _TRAIN[experiment]
    num_val = VAL if experiment == "voc" else 0
    if limit:
        share = min(1.0, limit / (num_train + num_val))
        num_train, num_val = max(1, round(num_train * share)), round(num_val * share)
    missing = tuple(missing_of(needed, root))
    return Plan(experiment, root, needed, missing, config, num_train, num_val, tuple(seeds), data, trainaug)


def describe_plan(plan: Plan) -> str:
    """The plan as a table and a few sentences."""
    rows = [("", "MB", "digest", "terms", "place")]
    for item in plan.needed:
        there = "missing" if item in plan.missing else "have"
        size = f"{item.megabytes:,.1f}" if item.num_bytes else f"about {item.megabytes:,.0f}"
        rows.append((f"{there}: {item.name}", size, item.checked_by, item.terms, str(item.path(plan.root))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"Reproduce {plan.experiment} below {plan.root}", ""]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", *(f"  {item.url}" for item in plan.missing)]
    download = sum(item.megabytes for item in plan.missing)
    existing = next(path for path in (plan.root.absolute(), *plan.root.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free / 1e6
    first, second = plan.steps()
    lines += ["", f"To fetch: {download:,.0f} MB."]
    if plan.missing:
        lines.append("Without a network, put each missing file in its place by hand; the same command then goes on.")
    if plan.experiment == "voc" and plan.trainaug is None:
        lines.append(
            f"trainaug: give the folder of its label maps (SBD's, as PNG in VOC's ids; {TRAINAUG:,} photos) with "
            f"--trainaug. Without it VOC's own train list of {VOC_TRAIN:,} photos is used, which is not the paper's."
        )
    tokens = f"{plan.token_megabytes:,.0f} MB of them patch tokens"
    lines.append(f"Disk, about: {plan.disk_megabytes:,.0f} MB, {tokens}; {free:,.0f} MB are free.")
    lines.append(
        f"Photos: {plan.num_train:,} to train on, {plan.num_val:,} of val. Masks once, then for each of "
        f"{len(plan.seeds)} seeds {first:,} steps of {plan.config.stage1.model} and {second:,} of "
        f"{plan.config.stage2.model}, and the linear evaluation."
    )
    lines.append(_describe_gpu(plan))
    if free < plan.disk_megabytes:
        lines.append("There is too little disk: give another --root.")
    return "\n".join(lines)


def _describe_gpu(plan: Plan) -> str:
    if plan.config.stage1.model == plan.config.stage2.model == "patch_head":
        return "GPU: none needed with these settings."
    here = num_gpus()
    count = {0: "none here", 1: "one here"}.get(here, f"{here} here")
    return (
        "GPU: one of 24 GB or more for these batch sizes, by the size of the networks; time: a day or more for three "
        f"seeds. Both are estimates: this project has not run it at full size. {count[0].upper()}{count[1:]}."
        + ("" if here else " On a CPU it would take months: try it with --limit and --set.")
    )
