"""Stage ``proposals``: masks of every photo of a source."""

import dataclasses
import importlib.metadata
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from maskdistill import __version__
from maskdistill.config import ProposalConfig, RunConfig
from maskdistill.datasets import PhotoSource
from maskdistill.datasets.scanning import digest_file, is_as_seen
from maskdistill.errors import ConfigError, DatasetError, MaskDistillError
from maskdistill.features.registry import BackboneChoice, check_weight_file, choose_backbone
from maskdistill.files import describe_file_error, write_json
from maskdistill.proposals.crf import INSTALL_HINT, crf_available
from maskdistill.stages.disk_needs import find_needs, require_disk
from maskdistill.stages.imported import worker_of, write_brought
from maskdistill.stages.merge import follow_move, merge_results
from maskdistill.stages.photo_work import LeftToOthersError, Share
from maskdistill.stages.pool import HERE, Workers, ask_precision, map_photos
from maskdistill.stages.shards import Parts, Shard
from maskdistill.stages.soundness import is_finished, make_way
from maskdistill.stages.tasks import WorkerSpec, leave_out
from maskdistill.stages.token_axes import find_axes
from maskdistill.storage.imported_masks import MASKS_PER_PHOTO as IMPORTED_PER_PHOTO
from maskdistill.storage.imported_masks import BroughtMasks
from maskdistill.storage.progress import Reporter, format_duration
from maskdistill.storage.read_files import DamagedFileError, count_rows, read_json, read_json_if_there
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run, fingerprint
from maskdistill.storage.run_lock import hold_run

logger = logging.getLogger(__name__)

STAGE = "proposals"
CODE_VERSION = 2  # raise it when the same settings would make other masks
_NOT_OF_MASKS = frozenset({"device", "head_blocks", "store", "tokens"})  # settings of the features that decide no mask
_LATER_FEATURES = {"runtime": "torch", "tokens": "float16"}  # which runs made before did not have
CHOICE = ("pool_keep", "pool_share")  # settings by which the stage ``foreground`` chooses from the pool
MADE_BY = ("backbone", "versions")  # of run.json, kept beside the finished masks too


@dataclass(frozen=True)
class ProposeSummary:
    """What a call of the stage did."""

    num_photos: int
    num_done: int  # photos with a result, over all shards
    num_new: int  # photos processed by this call
    num_masks: int
    num_skipped: int  # photos that could not be read
    num_problems: int  # photos whose result is degenerate
    complete: bool  # False while other shards are missing
    seconds: float

    @property
    def sentence(self) -> str:
        """One line for people."""
        if not self.num_new and self.complete:
            return f"Nothing to do: {self.num_masks} masks of {self.num_photos} photos are there."
        text = (
            f"{self.num_masks} masks of {self.num_done} photos; {self.num_new} new in {format_duration(self.seconds)}"
        )
        if self.num_new and self.seconds > 0:
            text += f" ({self.num_new / self.seconds:.2f} photos/s)"
        if self.num_skipped:
            text += f"; {self.num_skipped} skipped, see images.parquet"
        if self.num_problems:
            text += f"; {self.num_problems} doubtful"
        if self.complete:
            return f"{text}."
        left = self.num_photos - self.num_done
        return f"{text}; {f'{left} photos left to other shards' if left else 'another shard goes on with them'}."


@contextmanager
def hold_masks(
    run: Run,
    source: PhotoSource,
    config: RunConfig,
    *,
    preset: str = "",
    shard: Shard | None = None,
    workers: Workers = HERE,
    quiet: bool = False,
    brought: BroughtMasks | None = None,
    stages: Sequence[str] = (STAGE,),
    on_disk: Callable[[str], None] = logger.info,
) -> Iterator[ProposeSummary]:
    """Make the masks of every photo of the source that this shard takes, and merge once all shards are there.

    Inside the context no other process can change them, or what is made from them. Nothing is written before that is
    so. Finished shards are kept: killed at any moment and started again, the stage goes on, and ends with the same
    files.

    Args:
        run: Run folder; made if missing.
        source: Photos.
        config: Settings; ``auto`` is resolved here and the choice recorded.
        preset: Name of the preset the settings came from, for the record.
        shard: Which part to do; None does all.
        workers: How many processes, and where.
        quiet: No progress on standard error.
        brought: Masks made elsewhere, which the run has from now on; None goes on with its own, or with those that it
            was given before.
        stages: All that will be made in the run, whose disk is asked for before the masks are begun.
        on_disk: Called with a sentence on how much that will be.

    Raises:
        ConfigError: If a setting cannot work here.
        RunBusyError: If another process is at work on the run, other than a shard of the same masks.
        RunError: If there is too little disk.
    """
    started = time.monotonic()
    if config.crf.enabled and not crf_available():
        raise ConfigError(INSTALL_HINT)
    requested = config.features.backbone
    imported = run.imported if brought is None else brought.record
    config, choice, made_from = settle_inputs(run, source, config, workers, imported)
    key = fingerprint(made_from)
    share = None if shard is None else Share(run, STAGE, key, shard)
    with share or hold_run(run.path):
        make_way(run)
        if source.seen is not None and source.seen.is_new:
            source.seen.write(run.seen_path, "" if source.limit else source.fingerprint)
        if brought is not None:
            write_brought(run, brought)
        if is_done(run, key) and not _is_back(source, missed_photos(run, STAGE)):
            _restore(run, source, config, preset, imported)
            yield _summarise(run, source, 0, time.monotonic() - started)
            return
        tokens = token_folder(run, source, config, choice) if config.features.store else None
        progress = run.parts_path(STAGE, key)
        require_disk(run, find_needs(source, config, choice.spec, stages, tokens=tokens, parts=progress), on_disk)
        _begin(run, source, config, choice, requested, preset, imported)
        if tokens is not None and imported is None:
            report = partial(Reporter, run.progress_path, STAGE, quiet=quiet)
            find_axes(run, source, config, tokens, workers, report)
        if share is not None:
            share.begin()
        pool = run.pool_path(key) if config.proposals.makes_pool else None
        options = {"thumbs": run.thumbs_path(key), "pool": pool, "tokens": tokens}
        spec = WorkerSpec("maskdistill.stages.worker:PhotoWorker", run.path, config, options)
        if imported is not None:
            spec = worker_of(run, config, key, imported)
        parts = Parts(run.parts_path(STAGE, key), [(photo.height, photo.width) for photo in source.photos])
        new = _process(run, source, spec, shard or Shard(), parts, workers, quiet)
        results = parts.read_all()
        complete = _is_alone_again(share, len(source.photos) - len(results))
        if complete and is_done(run, key) and missed_photos(run, STAGE) == _missed(source, results):
            _restore(run, source, config, preset, imported)  # another shard was faster, or no photo is back
        elif complete:
            _merge(run, source, results, key, made_from, MASKS_PER_PHOTO if imported is None else IMPORTED_PER_PHOTO)
        seconds = time.monotonic() - started
        if complete:
            yield _summarise(run, source, new, seconds)
        else:
            yield ProposeSummary(len(source.photos), len(results), new, *_counts(results), False, seconds)


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


def _is_alone_again(share: Share | None, left: int) -> bool:
    """Whether this process is to put together what all have made."""
    try:
        if share is not None:
            share.end(left)
    except LeftToOthersError:
        return False
    return not left


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


def _describe_features(
    source: PhotoSource, config: RunConfig, choice: BackboneChoice, skip: Set[str]
) -> dict[str, Any]:
    values = {key: value for key, value in asdict(config.features).items() if key not in skip}
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


def is_done(run: Run, key: str) -> bool:
    """Whether the stage was finished from exactly these inputs."""
    return is_finished(run, STAGE, key)


def missed_photos(run: Run, stage: str) -> list[str]:
    """Ids of the photos whose files were gone or changed when a stage read them, by now finished without them."""
    path = {STAGE: run.stage_path(STAGE), "embeddings": run.path / "embeddings.json"}.get(stage)
    try:
        record = read_json_if_there(path) if path else None
    except DamagedFileError:
        return []
    return record.get("missed", []) if record else []


def _is_back(source: PhotoSource, missed: Sequence[str]) -> bool:
    """Whether one of the photos that were missed can be read by now."""
    ids = set(missed)
    return bool(ids) and any(photo.id in ids and is_as_seen(photo) for photo in source.photos)


def _settle(config: RunConfig, choice: BackboneChoice, run: Run, workers: Workers) -> RunConfig:
    """Replace every "auto" that could come out differently tomorrow; a run keeps the precision it began with."""
    precision: Any = config.features.precision
    if precision == "auto" and config.features.runtime == "openvino":
        precision = "float32"
    elif precision == "auto":
        known = run.info()["config"]["features"] if run.exists else {}
        same = known.get("device") == config.features.device and known.get("precision", "auto") != "auto"
        precision = known["precision"] if same else ask_precision(precision, config.features.device, workers)
    features = dataclasses.replace(
        config.features,
        backbone=choice.spec.path or choice.spec.name,
        precision=precision,
        shorter_side=config.features.shorter_side or choice.spec.shorter_side,
    )
    return dataclasses.replace(config, features=features)


def _describe_wanted(
    source: PhotoSource, config: RunConfig, preset: str, imported: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What stands in run.json about the photos and settings that are wanted."""
    return {
        "format": 1,
        "data": source.spec,
        "source": {
            "kind": source.kind,
            "classes": list(source.classes),
            "has_labels": source.has_labels,
            "label_values": source.label_values,
        },
        "preset": preset,
        "config": config.to_dict(),
        **({} if imported is None else {"imported": dict(imported)}),
    }


def _begin(
    run: Run,
    source: PhotoSource,
    config: RunConfig,
    choice: BackboneChoice,
    requested: str,
    preset: str,
    imported: Mapping[str, Any] | None,
) -> None:
    """Write run.json; the finished files of other settings stay as they are until these are finished."""
    if not source.photos:
        raise DatasetError(f"No usable photo in {source.spec}: all {len(source.skipped)} files were skipped.")
    backbone = {"requested": requested, "name": choice.spec.name, "reason": choice.reason}
    known = run.info().get("backbone", {}) if run.exists else {}
    if requested == known.get("name"):  # a run going on with its own weights keeps how it came to them
        backbone = {name: known[name] for name in ("requested", "name", "reason") if name in known}
    packages = ("torch", "timm", "numpy", "scipy", "pillow", "streamlit")
    run.write_info(
        {
            **_describe_wanted(source, config, preset, imported),
            "limit": source.limit,
            "backbone": {**backbone, "weights": choice.spec.weights},
            "versions": {
                "maskdistill": __version__,
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in packages},
            },
        }
    )


def _restore(run: Run, source: PhotoSource, config: RunConfig, preset: str, imported: Mapping[str, Any] | None) -> None:
    """The finished masks are the wanted ones: write that into run.json, whatever was started or moved since."""
    follow_move(run, source)
    info, record = run.info(), read_json(run.stage_path(STAGE))
    made_by = {name: record[name] for name in MADE_BY if name in record}
    wanted = {**info, **_describe_wanted(source, config, preset or info["preset"], imported), **made_by}
    if wanted != info:
        run.write_info(wanted)


def _process(
    run: Run, source: PhotoSource, spec: WorkerSpec, shard: Shard, parts: Parts, workers: Workers, quiet: bool
) -> int:
    """Process what is missing of a shard; returns the number of photos processed."""
    done = {number: parts.read(number) for number in parts.of(shard)}
    wanted = {photo: number for number in done for photo in parts.photos[number]}
    finished = {photo for found in done.values() for photo, item in found.items() if not item.get("missed")}
    tasks = [(photo, source.photos[photo]) for photo in wanted if photo not in finished]
    reporter = Reporter(run.progress_path, STAGE, len(wanted), len(wanted) - len(tasks), quiet=quiet)
    results = map_photos(spec, tasks, workers, on_crash=leave_out)
    try:
        parts.keep(done, results, reporter.advance)
    except KeyboardInterrupt:
        reporter.finish("stopped", "Stopped; start again to go on.")
        raise
    except (MaskDistillError, OSError) as error:
        reporter.finish("failed", describe_file_error(error, run.path) if isinstance(error, OSError) else str(error))
        raise
    reporter.finish("done", f"{len(tasks)} photos processed.")
    return len(tasks)


def _merge(
    run: Run,
    source: PhotoSource,
    results: Sequence[dict[str, Any]],
    key: str,
    made_from: dict[str, Any],
    masks_per_photo: int,
) -> None:
    run.stage_path(STAGE).unlink(missing_ok=True)  # while they are replaced, the files are of neither kind
    merge_results(run, source, results)
    made_by = {name: run.info()[name] for name in MADE_BY}
    missed = _missed(source, results)
    record = {"fingerprint": key, "made_from": made_from, **made_by, **({"missed": missed} if missed else {})}
    if masks_per_photo != MASKS_PER_PHOTO:
        record["masks_per_photo"] = masks_per_photo
    write_json(run.stage_path(STAGE), record)


def _missed(source: PhotoSource, results: Sequence[dict[str, Any]]) -> list[str]:
    return [source.photos[item["number"]].id for item in results if item.get("missed")]


def _counts(results: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
    """Masks, unreadable photos, degenerate results."""
    masks = sum(len(item["annotations"]) for item in results)
    return masks, sum(bool(item["error"]) for item in results), sum(bool(item["problem"]) for item in results)


def _summarise(run: Run, source: PhotoSource, new: int, seconds: float) -> ProposeSummary:
    images = run.images(("problem", "readable"))
    problems = int((images["problem"] != "").sum())
    skipped = int((~images["readable"].astype(bool)).sum())
    total = len(source.photos)
    return ProposeSummary(total, total, new, count_rows(run.cut_masks_path), skipped, problems, True, seconds)
