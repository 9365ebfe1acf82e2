"""What the masks of a run are made from: photos, weights, and settings with what was left to the machine."""

import dataclasses
from collections.abc import Mapping, Set
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskdistill.config import ProposalConfig, RunConfig
from maskdistill.datasets import PhotoSource
from maskdistill.datasets.scanning import digest_file
from maskdistill.features.registry import BackboneChoice, check_weight_file, choose_backbone
from maskdistill.stages.pool import HERE, Workers, ask_features
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run, fingerprint

STAGE = "proposals"
CODE_VERSION = 2  # raise it when the same settings would make other masks
_NOT_OF_MASKS = frozenset({"device", "head_blocks", "store", "tokens"})  # settings of the features that decide no mask
_LATER_FEATURES = {"runtime": "torch", "tokens": "float16", "batch_size": 1}  # which runs made before did not have
_OF_THE_MACHINE = {"precision": "auto", "batch_size": 0}  # settings that may be left to the machine
CHOICE = ("pool_keep", "pool_share")  # settings by which the stage ``foreground`` chooses from the pool


def settle_inputs(
    run: Run, source: PhotoSource, config: RunConfig, workers: Workers = HERE, imported: Mapping[str, Any] | None = None
) -> tuple[RunConfig, BackboneChoice, dict[str, Any]]:
    """Settings with every "auto" of the masks resolved, the transformer, and all that the masks are made from.

    Raises:
        ConfigError: If the weights cannot be used.
    """
    choice = choose_backbone(config.features.backbone, config.features.architecture)
    if choice.spec.path:
        check_weight_file(Path(choice.spec.path))
    config = _settle(config, choice, run, workers)
    return config, choice, describe_inputs(source, config, choice, imported)


def _settle(config: RunConfig, choice: BackboneChoice, run: Run, workers: Workers) -> RunConfig:
    """Replace every "auto" that could come out differently tomorrow; a run keeps what it began with."""
    features = dataclasses.replace(
        config.features,
        backbone=choice.spec.path or choice.spec.name,
        shorter_side=config.features.shorter_side or choice.spec.shorter_side,
    )
    known = {**_OF_THE_MACHINE, **_LATER_FEATURES, **run.info()["config"]["features"]} if run.exists else {}
    if known and all(known.get(name) == getattr(features, name) for name in ("device", "runtime")):
        left = {name: known[name] for name, auto in _OF_THE_MACHINE.items() if getattr(features, name) == auto}
        features = dataclasses.replace(features, **left)
    if any(getattr(features, name) == auto for name, auto in _OF_THE_MACHINE.items()):
        features = ask_features(features, workers)
    return dataclasses.replace(config, features=features)


def describe_inputs(
    source: PhotoSource, config: RunConfig, choice: BackboneChoice, imported: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """All that decides the masks: photos, settings, weights, versions of the code that touches them.

    Of masks that were brought into the run, ``imported`` of run.json, it is a digest; what makes masks has no part.
    """
    if imported is not None:
        features = _describe_features(source, config, choice, _NOT_OF_MASKS)
        brought = {"proposals": {"imported": imported["digest"]}, "crf": None}
        return {"stage": STAGE, "code": CODE_VERSION, **features, **brought}
    return {
        "stage": STAGE,
        "code": CODE_VERSION,
        **_describe_features(source, config, choice, _NOT_OF_MASKS),
        "proposals": _describe_proposals(config.proposals),
        "crf": asdict(config.crf) if config.crf.enabled else None,
    }


def _describe_proposals(config: ProposalConfig) -> dict[str, Any]:
    """The settings that masks and candidates depend on: without a pool, what it would be is of no account."""
    values = {name: value for name, value in asdict(config).items() if name not in CHOICE}
    if not config.pool_joins:
        del values["pool_joins"]  # which runs made before did not have
    if config.makes_pool:
        return values
    return {name: value for name, value in values.items() if name.partition("_")[0] != "pool"}


def token_folder(run: Run, source: PhotoSource, config: RunConfig, choice: BackboneChoice) -> Path:
    """Folder of the patch tokens of these photos, by these weights."""
    key = fingerprint(_describe_features(source, config, choice, {"device", "store"}))
    return run.path / "features" / key[:12]


def made_features(run: Run) -> dict[str, Any]:
    """The settings of the features that a run's finished masks depend on, as they were made."""
    before = {name: value for name, value in _LATER_FEATURES.items() if name not in _NOT_OF_MASKS}
    return {**before, **read_json(run.stage_path(STAGE))["made_from"]["features"]}


def _describe_features(
    source: PhotoSource, config: RunConfig, choice: BackboneChoice, skip: Set[str]
) -> dict[str, Any]:
    values = {key: value for key, value in asdict(config.features).items() if key not in skip}
    values["batch_size"] = values["batch_size"] or 1  # nobody chose in runs of before
    for name, before in _LATER_FEATURES.items():
        if values.get(name) == before:
            del values[name]
    return {
        "photos": source.fingerprint,
        "num_photos": len(source.photos),
        "weights": [choice.spec.name, choice.spec.architecture, _digest_weights(choice)],
        "features": values,
    }


def _digest_weights(choice: BackboneChoice) -> str:
    """Fingerprint of a local file of weights, empty for those that are known by name."""
    path = Path(choice.spec.path) if choice.spec.path else None
    return digest_file(path) if path is not None and path.is_file() else ""
