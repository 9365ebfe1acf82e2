"""What a run has done: the state of every stage, and why it would be made again. Loads no torch."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as parquet

from maskdistill.config import RunConfig
from maskdistill.datasets import PhotoSource, open_source
from maskdistill.errors import ConfigError, DatasetError
from maskdistill.features.registry import SPECS, BackboneChoice, BackboneSpec
from maskdistill.stages.imported import describe_import
from maskdistill.stages.plan import Plan, read_record
from maskdistill.stages.repairs import describe_repairs
from maskdistill.stages.soundness import find_damage
from maskdistill.stages.stage_list import NAMES
from maskdistill.storage.progress import Progress, format_duration, read_progress_file
from maskdistill.storage.read_files import DamagedFileError, MissingFileError, read_json, reading
from maskdistill.storage.run_folder import Run, final_measures

State = Literal["done", "stale", "running", "missing"]
DECIDED = "decisions were changed"
MENDED = "masks were mended, or that was taken back"
PART_OF = {"features": "embeddings"}  # steps that report progress under a name of their own


@dataclass(frozen=True)
class StageState:
    """How far a stage is."""

    name: str
    state: State
    why: str = ""  # stale: what changed; missing: how the last try ended; running: how far it is. May be empty
    summary: str = ""  # what is there, of the old state if stale; empty if nothing is

    @property
    def text(self) -> str:
        """One line for people."""
        if self.state == "missing":
            return f"not finished ({self.why})" if self.why else "not made"
        if self.state == "stale":
            return f"stale: {self.why}" + (f"; {self.summary}: of the old state" if self.summary else "")
        detail = self.why or self.summary
        return f"{self.state}: {detail}" if detail else self.state


def stage_states(run: Run, *, source: PhotoSource | None = None, until: str = NAMES[-1]) -> list[StageState]:
    """The state of every stage, in the order of the work.

    Args:
        run: Run folder.
        source: Its photos, if they need not be looked at again.
        until: The last stage that is asked about.

    Raises:
        RunError: If the folder holds no run, or a file of it is damaged.

    Example:
        ```python
        import maskdistill as md

        config = md.load_preset("quick").with_overrides(["features.backbone=focus_vits14"])
        run = md.Run("runs/sample")
        md.run_stages(run, "sample", config, wanted=("proposals",), options=md.Options(limit=2))
        assert md.stage_states(run)[0].state == "done"
        ```
    """
    progress = read_progress_file(run.progress_path)
    plan, problem = _plan(run, source)
    states: dict[str, StageState] = {}
    for name in NAMES[: NAMES.index(until) + 1]:
        if name == "repairs" and not run.stage_path(name).is_file() and (plan is None or not plan.is_mended):
            continue
        states[name] = _state(run, name, plan, problem, progress, states)
    return list(states.values())


def _state(
    run: Run, name: str, plan: Plan | None, problem: str, progress: Progress | None, before: Mapping[str, StageState]
) -> StageState:
    record, broken = _read_record(run, name)
    there = record is not None and (name != "proposals" or run.cut_masks_path.exists())
    summary = _summarise(run, name) if there else ""
    at_work = progress if progress is not None and PART_OF.get(progress.stage, progress.stage) == name else None
    if at_work is not None and at_work.state == "running":
        return StageState(name, "running", _how_far(at_work), summary)
    ending = f"{at_work.state}: {at_work.message}" if at_work is not None and at_work.state != "done" else ""
    if record is None or not there:
        return StageState(name, "missing", broken or ending)
    if plan is None:
        why = problem if name == "proposals" else _unfinished(before["proposals"])
    else:
        why = _why_stale(run, name, record, plan, before)
    if not why:
        return StageState(name, "done", summary=summary)
    return StageState(name, "stale", f"{why}; {ending}" if ending else why, summary)


def _read_record(run: Run, name: str) -> tuple[dict[str, Any] | None, str]:
    """What a stage was made from, and what is wrong with the file that says so."""
    try:
        run.fingerprint_of(name)
    except DamagedFileError as error:
        return None, f"stages/{name}.json is damaged: {error.problem}"
    return read_record(run, name), ""


def _plan(run: Run, source: PhotoSource | None = None) -> tuple[Plan | None, str]:
    """What the stages would be made from now, or why that cannot be known."""
    info = run.info()
    config = run.config()
    record = read_record(run, "proposals")
    if record is None:
        return None, ""
    try:
        source = source or open_source(info["data"], seen=run.seen_path)
    except (DatasetError, ConfigError) as error:
        return None, f"the photos cannot be found ({error})"
    return Plan(run, _as_limited(source, record["made_from"]), config, _known_choice(config)), ""


def _as_limited(source: PhotoSource, made_from: Mapping[str, Any]) -> PhotoSource:
    """The part of the photos that the masks were made of, if they were made with a limit."""
    number = made_from.get("num_photos")
    limited = source.limited(number) if number else source
    return limited if limited.fingerprint == made_from["photos"] else source


def _known_choice(config: RunConfig) -> BackboneChoice:
    """What the run's backbone is, without asking timm, which would load torch; as far as a fingerprint needs it."""
    name, architecture = config.features.backbone, config.features.architecture
    if name in SPECS:
        return BackboneChoice(SPECS[name], "")
    is_file = name.endswith((".safetensors", ".pth", ".pt"))
    spec = BackboneSpec(
        name=Path(name).stem if is_file else name,
        architecture=architecture if is_file else name,
        source="file" if is_file else "hub",
        weights="",
        mask_feature="tokens",
        mask_blocks=(0,),
        path=name if is_file else "",
    )
    return BackboneChoice(spec, "")


def _why_stale(run: Run, name: str, record: dict[str, Any], plan: Plan, before: Mapping[str, StageState]) -> str:
    """What differs between what a stage was made from and what it would be made from now; empty if nothing does."""
    old, new = record["made_from"], json.loads(json.dumps(plan.made_from(name)))
    why = _changed_photos_or_masks(old, new) if name == "proposals" else _changed_stage(name, old, new)
    if why:
        return why
    if name == "repairs" and not plan.is_mended:
        return MENDED
    for need in plan.needs(name):
        if need not in old["from"] and "repairs" in (need, *old["from"]):
            return MENDED
        if need not in old["from"] and "classes" in (need, *old["from"]):
            return DECIDED if before["clusters"].state == "done" else _unfinished(before["clusters"])
        if before[need].state != "done":
            return _unfinished(before[need])
        if need not in old["from"]:
            return f"it is made from {need} now"
        if old["from"][need] != new["from"][need]:
            return f"{need} was redone"
    if old.get("decisions") != new.get("decisions"):
        return MENDED if name == "repairs" else DECIDED
    if record["fingerprint"] != plan.key(name):
        return "it was made from something else"
    return _describe_damage(run, name)


def _describe_damage(run: Run, name: str) -> str:
    problem = find_damage(run, name)
    if problem is None:
        return ""
    file = problem.path.relative_to(run.path)
    return f"{file} is damaged ({problem.problem})" if isinstance(problem, DamagedFileError) else f"{file} was deleted"


def _unfinished(need: StageState) -> str:
    return f"{need.name} is {'not made' if need.state == 'missing' else need.state}"


def _changed_photos_or_masks(old: dict[str, Any], new: dict[str, Any]) -> str:
    if old["proposals"].get("imported") != new["proposals"].get("imported"):
        return "masks were imported"
    for section in ("features", "proposals", "crf"):
        if (old[section] is None) != (new[section] is None):  # a CRF that is off decides nothing
            return f"{section}.enabled was changed"
        if changed := _changed(old[section] or {}, new[section] or {}):
            return f"{section}.{changed} was changed"
    if old["photos"] != new["photos"]:
        return "photos were added, removed or changed"
    if old["weights"] != new["weights"]:
        return "the weights of the backbone were changed"
    return "the program makes it in another way now" if old["code"] != new["code"] else ""


def _changed_stage(name: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    for section, values in new["settings"].items():
        if changed := _changed(old["settings"].get(section, {}), values):
            return f"{section}.{changed} was changed"
    if old.get("seed") != new.get("seed"):
        return "seed was changed"
    if old.get("head_blocks") != new.get("head_blocks"):
        return "features.head_blocks was changed"
    if old.get("tokens") != new.get("tokens"):
        return "features.tokens was changed"
    if old.get("missed") != new.get("missed"):
        return "photos that could not be read before were tried anew"
    if old.get("labels") != new.get("labels"):
        return "the ground truth was changed"
    return "the program makes it in another way now" if old["code"] != new["code"] else ""


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Name of the first setting that differs, or is in one of the two only."""
    names = [*new, *(name for name in old if name not in new)]
    return next((name for name in names if name not in old or name not in new or old[name] != new[name]), "")


def _how_far(progress: Progress) -> str:
    left = "" if progress.seconds_left is None else f", {format_duration(progress.seconds_left)} left"
    return f"{progress.done} of {progress.total} {progress.unit}{left}"


def _summarise(run: Run, name: str) -> str:
    """What the stage made, from small files and from the heads of large ones; empty if they are gone."""
    summary = SUMMARIES.get(name)
    try:
        return summary(run) if summary is not None else ""
    except (FileNotFoundError, DamagedFileError, MissingFileError):  # of another version, or gone: the state says so
        return ""


def _count_masks(run: Run) -> str:
    if (imported := run.imported) is not None:
        return describe_import(imported)
    return f"{_num_rows(run.cut_masks_path)} masks of {int(run.images()['readable'].sum())} photos"


def _describe_foreground(run: Run) -> str:
    record = read_json(run.foreground.record_path)
    return f"{record['recut']} of {record['masks']} masks cut anew" if record["used"] else record["why"].rstrip(".")


def _describe_clusters(run: Run) -> str:
    record = read_json(run.path / "clusters.json")
    return f"{record['num_classes']} clusters by {record['embedding']}, {record['dimensions']} dimensions"


def _describe_classes(run: Run) -> str:
    record = read_json(run.path / "classes.json")
    number = record["num_edits"]
    changes = f"{number} change{'' if number == 1 else 's'} by people" if number else "as clustered"
    return f"{len(record['used'])} classes, {changes}"


def _describe_instances(run: Run) -> str:
    record = read_json(run.instances.record_path)
    found = "{instances} objects in {photos} photos"
    return found.format_map(record) if record["used"] else record["why"].rstrip(".")


def _count_kept(run: Run) -> str:
    kept = run.kept()["kept"]
    return f"{int(kept.sum())} of {len(kept)} masks"


def _describe_rounds(run: Run) -> str:
    rounds = read_json(run.rounds_path)["rounds"]
    shares = ", ".join(f"{item['agreement']:.1%}" for item in rounds)
    return f"{sum(item['trained'] for item in rounds)} trained; labels kept: {shares}" if rounds else "none asked for"


def _describe_metrics(run: Run) -> str:
    metrics = read_json(run.path / "metrics.json")
    if not metrics.get("ground_truth", True):
        return "no ground truth"
    found = final_measures(metrics["reported"])
    if found is None:
        return "no reported photo has ground truth"
    return f"mIoU {found['miou']:.3f} on {found['num_images']} photos"


def _num_rows(path: Path) -> int:
    with reading(path):
        return parquet.read_metadata(path).num_rows


SUMMARIES: dict[str, Callable[[Run], str]] = {
    "proposals": _count_masks,
    "foreground": _describe_foreground,
    "repairs": lambda run: describe_repairs(read_json(run.repairs.record_path)),
    "clusters": _describe_clusters,
    "classes": _describe_classes,
    "instances": _describe_instances,
    "candidates": lambda run: f"{_num_rows(run.candidates_path)} candidates",
    "filter": _count_kept,
    "pseudo_labels": lambda run: f"{len(read_json(run.path / 'pseudo_labels.json')['photos'])} label maps",
    "rounds": _describe_rounds,
    "predictions": lambda run: f"{len(read_json(run.path / 'predictions.json')['photos'])} photos",
    "evaluation": _describe_metrics,
}
