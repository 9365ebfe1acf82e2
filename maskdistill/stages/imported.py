"""Runs whose masks were brought from elsewhere: what of the settings has no meaning there, and sentences on it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from maskdistill.config import RunConfig
from maskdistill.files import replace_atomically
from maskdistill.stages.tasks import WorkerSpec
from maskdistill.storage.imported_masks import FORMATS, BroughtMasks, masks_path
from maskdistill.storage.run_folder import Run

STAY = "Not used: the masks were brought from elsewhere and stay as they are."
_MOST_REASONS = 3


def without_own_masks(config: RunConfig, imported: Mapping[str, Any] | None) -> RunConfig:
    """The settings of a run; where its masks were brought, without what makes or changes masks."""
    if imported is None:
        return config
    return replace(
        config,
        proposals=replace(config.proposals, num_objects=1, pool="off"),
        foreground=replace(config.foreground, enabled=False),
        instances=replace(config.instances, enabled="off"),
        candidates=replace(config.candidates, objects="proposals"),
    )


def write_brought(run: Run, brought: BroughtMasks) -> None:
    """Put the masks into the run; run.json, which tells of them, is written when the stage begins."""
    path = masks_path(run.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_atomically(path, lambda temporary: brought.table.to_parquet(temporary, index=False))


def worker_of(run: Run, config: RunConfig, key: str, imported: Mapping[str, Any]) -> WorkerSpec:
    """What gives the photos their masks."""
    options = {
        "thumbs": run.thumbs_path(key),
        "digest": imported["digest"],
        "refused": dict(imported.get("refused", {})),
    }
    return WorkerSpec("maskdistill.stages.import_worker:ImportWorker", run.path, config, options, torch=False)


def describe_import(imported: Mapping[str, Any]) -> str:
    """A clause: where the masks of a run are from, how many, and what of the file is left out."""
    name = FORMATS.get(imported["format"], imported["format"])
    text = f"imported from {imported['from']} ({name}), {imported['masks']:,} masks of {imported['photos']:,} photos"
    return f"{text}; {_left_out(imported)}"


def _left_out(imported: Mapping[str, Any]) -> str:
    reasons = imported.get("left_out", [])
    if not reasons:
        return "none left out"
    listed = "; ".join(f"{item['count']:,} {item['reason']} ({item['first']})" for item in reasons[:_MOST_REASONS])
    more = f"; {len(reasons) - _MOST_REASONS} further reasons in run.json" if len(reasons) > _MOST_REASONS else ""
    return f"{sum(item['count'] for item in reasons):,} left out: {listed}{more}"
