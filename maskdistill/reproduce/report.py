"""Our figures beside the published ones: Markdown for people, JSON for programs."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from maskdistill import __version__
from maskdistill.config import RunConfig, load_preset
from maskdistill.evaluation.confusion import mean_and_std
from maskdistill.files import write_atomically, write_json
from maskdistill.reproduce.artifacts import PRESETS, Experiment
from maskdistill.reproduce.layout import Laid

Found = Mapping[str, Any]  # one seed, as ``run_seeds`` gives it
_LIBRARIES = ("torch", "torchvision", "timm", "scikit-learn", "numpy", "pycocotools")


@dataclass(frozen=True)
class Figure:
    """A figure of the paper, and where ours is."""

    name: str
    published: float  # percent
    read: Callable[[Found], float | None]  # fraction
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A figure of the paper beside ours, in percent."""

    name: str
    published: float
    values: tuple[float, ...]  # one a seed
    mean: float | None
    std: float | None
    note: str


def _final(found: Found) -> str:
    return "rounds" if found["metrics"]["reported"].get("rounds") else "stage2"


def _reported(suffix: str) -> Callable[[Found], float | None]:
    def read(found: Found) -> float | None:
        measured = found["metrics"].get("reported", {}).get(f"{_final(found)}{suffix}")
        return measured and measured["miou"]

    return read


def _with_labels(name: str) -> Callable[[Found], float | None]:
    def read(found: Found) -> float | None:
        measured = (found["metrics"].get("with_labels") or {}).get(name)
        return measured and measured["miou"]

    return read


def _masks(name: str) -> Callable[[Found], float | None]:
    return lambda found: found["metrics"].get("masks", {}).get(name)


def _detector(name: str) -> Callable[[Found], float | None]:
    return lambda found: found["detector"] and found["detector"][name]


_CHOOSES = "the prediction chooses the object that it is compared with: it flatters, read it beside the next row"
_SINGLE = f"the best mask of a photo; {_CHOOSES}"
_HONEST = "every object counts, as COCO counts them"


def _instance_figures(single: float, multi: float) -> tuple[Figure, ...]:
    return (
        Figure('mask AP50 "single", first model', single, _detector("ap50_single_protocol"), _SINGLE),
        Figure("mask AP50, several masks, first model", multi, _detector("ap50"), _HONEST),
        Figure('mask AP50 "single", proposals', single, _masks("mask_ap50_single_protocol"), _SINGLE),
        Figure("mask AP50, proposals", multi, _masks("mask_ap50"), _HONEST),
    )


FIGURES: dict[str, tuple[Figure, ...]] = {
    "voc": (
        Figure("clustering mIoU", 45.8, _reported("")),
        Figure("clustering mIoU + CRF", 48.9, _reported("_crf")),
        Figure("linear mIoU", 58.7, _with_labels("linear"), "the last layer trained with labels"),
        Figure("linear mIoU + CRF", 62.8, _with_labels("linear_crf"), "the last layer trained with labels"),
        *_instance_figures(35.5, 26.0),
    ),
    "coco20k": _instance_figures(15.3, 8.0),
}
_DIFFERENCES = (
    "The paper clusters with DINO ViT-S/8; here ViT-S/16 makes masks and vectors.",
    "The recipe of the first model was not released: batches of 16, rate 0.02, 24,000 iterations, cut after 18,000 and "
    "22,000.",
    "The paper does not say here which of its masks, and which photos, its AP50 is of: both kinds of ours are listed.",
)
_VOC_OBJECTS = (
    "VOC: connected regions of a class in SegmentationClass stand for objects, so AP50 is comparable between our own "
    "runs, not exactly with the published ones."
)


def make_rows(experiment: Experiment, found: Sequence[Found]) -> list[Row]:
    """Each figure of the paper with ours, of every seed that has it."""
    rows = []
    for figure in FIGURES[experiment]:
        values = tuple(100 * value for item in found if (value := figure.read(item)) is not None)
        mean, std = mean_and_std(values) if values else (None, None)
        rows.append(Row(figure.name, figure.published, values, mean, std, figure.note))
    return rows


def write_report(
    folder: Path,
    experiment: Experiment,
    found: Sequence[Found],
    config: RunConfig,
    laid: Laid,
    *,
    preset: str,
    limit: int,
    files: Sequence[str],
) -> dict[str, Any]:
    """Write report.md and report.json; returns what the latter holds.

    Args:
        folder: Where to.
        experiment: Which one.
        found: One item a seed, as ``run_seeds`` gives them.
        config: Settings of the runs, but for the seed.
        laid: The data.
        preset: Where the settings started from.
        limit: Photos at most, 0 for all.
        files: A sentence on each file that was fetched.
    """
    rows = make_rows(experiment, found)
    changed = _changed(config, PRESETS[experiment])
    result = {
        "experiment": experiment,
        "figures": [asdict(row) for row in rows],
        "seeds": [item["seed"] for item in found],
        "data": laid.to_dict(),
        "limit": limit,
        "preset": preset,
        "differences": _differences(experiment, laid, changed, limit, len(found)),
        "changed_settings": changed,
        "settings": config.to_dict(),
        "machine": describe_machine(),
        "versions": {name: version(name) for name in _LIBRARIES} | {"maskdistill": __version__},
        "files": list(files),
        "runs": [item["run"] for item in found],
    }
    write_json(folder / "report.json", result)
    write_atomically(folder / "report.md", describe_result(result))
    return result


def _changed(config: RunConfig, preset: str) -> dict[str, Any]:
    """Settings that differ from the published preset, but paths of weights, and how the work is done."""
    published, ours = load_preset(preset).to_dict(), config.to_dict()
    aside = {"features.backbone", "features.architecture", "stage1.weights", "stage2.weights", "features.device"}
    aside |= {"evaluation.probe", "evaluation.num_seeds"}
    return {
        name: value
        for section, values in ours.items()
        if isinstance(values, Mapping)
        for key, value in values.items()
        if (name := f"{section}.{key}") not in aside and published[section][key] != value
    }


def _differences(
    experiment: Experiment, laid: Laid, changed: Mapping[str, Any], limit: int, num_seeds: int
) -> list[str]:
    found = [*_DIFFERENCES, *([_VOC_OBJECTS] if experiment == "voc" else [])]
    found += [laid.note] if laid.note else []
    found += [f"At most {limit:,} photos were used."] if limit else []
    found += [f"{len(changed)} settings differ from {PRESETS[experiment]}, listed below."] if changed else []
    found += ["One seed says nothing about the spread."] if num_seeds == 1 else []
    return found


def describe_result(result: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    data, machine = result["data"], result["machine"]
    lines = [f"# MaskDistill, {result['experiment']}: our figures beside the published ones", ""]
    seeds = ", ".join(map(str, result["seeds"]))
    lines += [
        f"In percent; ours: mean ± standard deviation over the clustering seeds {seeds}. Trained on {data['train']:,} "
        f"photos, {data['val']:,} kept for val. Published: Van Gansbeke et al., arXiv 2206.06363.",
        "",
        "| figure | published | ours | difference | |",
        "|---|---|---|---|---|",
    ]
    for row in result["figures"]:
        spread = "" if row["std"] is None else f" ± {row['std']:.1f}"
        ours = "not measured" if row["mean"] is None else f"{row['mean']:.1f}{spread}"
        gap = "" if row["mean"] is None else f"{row['mean'] - row['published']:+.1f}"
        lines.append(f"| {row['name']} | {row['published']:.1f} | {ours} | {gap} | {row['note']} |")
    lines += ["", "## What differs from the paper", "", *(f"- {text}" for text in result["differences"])]
    if result["changed_settings"]:
        lines += ["", "## Settings other than the published ones", ""]
        lines += [f"- `{name}` = `{value}`" for name, value in result["changed_settings"].items()]
    lines += ["", "## Machine and versions", ""]
    lines += [f"- {name}: {value}" for name, value in {**machine, **result["versions"]}.items()]
    if result["files"]:
        lines += ["", "## Files", "", *(f"- {text}" for text in result["files"])]
    return "\n".join(lines) + "\n"


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory and versions, to stand beside every figure."""
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # not before PyTorch 2.11
    name = known.get("cpu_name", platform.processor())
    process = psutil.Process()
    return {
        "processor": str(name),
        "cores": len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
