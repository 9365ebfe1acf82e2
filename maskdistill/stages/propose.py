"""Stage ``proposals``: masks of every photo of a source."""

import importlib.metadata
import logging
import platform
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from maskdistill import __version__
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, PhotoSource
from maskdistill.datasets.scanning import is_as_seen
from maskdistill.errors import ConfigError, DatasetError, MaskDistillError
from maskdistill.features.registry import BackboneChoice
from maskdistill.files import describe_file_error, write_json
from maskdistill.proposals.crf import INSTALL_HINT, crf_available
from maskdistill.stages.batches import map_batches
from maskdistill.stages.disk_needs import find_needs, require_disk
from maskdistill.stages.imported import worker_of, write_brought
from maskdistill.stages.mask_inputs import STAGE, settle_inputs, token_folder
from maskdistill.stages.merge import follow_move, merge_results
from maskdistill.stages.photo_work import LeftToOthersError, Share
from maskdistill.stages.pool import HERE, Workers, map_photos
from maskdistill.stages.shards import Parts, Shard
from maskdistill.stages.soundness import is_finished, make_way
from maskdistill.stages.tasks import PhotoResult, WorkerSpec, leave_out
from maskdistill.stages.token_axes import find_axes
from maskdistill.storage.imported_masks import MASKS_PER_PHOTO as IMPORTED_PER_PHOTO
from maskdistill.storage.imported_masks import BroughtMasks
from maskdistill.storage.progress import Reporter, format_duration
from maskdistill.storage.read_files import DamagedFileError, count_rows, read_json, read_json_if_there
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run, fingerprint
from maskdistill.storage.run_lock import hold_run

logger = logging.getLogger(__name__)

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
        if imported is None:
            options = {"thumbs": run.thumbs_path(key), "pool": pool, "tokens": tokens}
            spec = WorkerSpec("maskdistill.stages.worker:PhotoWorker", run.path, config, options)
            work = partial(map_batches, spec, source.photos, workers=workers)
        else:
            work = partial(_map_each, worker_of(run, config, key, imported), source.photos, workers=workers)
        parts = Parts(run.parts_path(STAGE, key), [(photo.height, photo.width) for photo in source.photos])
        new = _process(run, work, shard or Shard(), parts, quiet)
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


def _is_alone_again(share: Share | None, left: int) -> bool:
    """Whether this process is to put together what all have made."""
    try:
        if share is not None:
            share.end(left)
    except LeftToOthersError:
        return False
    return not left


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


def _map_each(
    spec: WorkerSpec, photos: Sequence[Photo], numbers: Sequence[int], workers: Workers
) -> Generator[PhotoResult, None, None]:
    """``map_batches`` for a worker that takes one photo after the other."""
    return map_photos(spec, [(number, photos[number]) for number in numbers], workers, on_crash=leave_out)


def _process(
    run: Run, work: Callable[[list[int]], Generator[PhotoResult, None, None]], shard: Shard, parts: Parts, quiet: bool
) -> int:
    """Process what is missing of a shard; returns the number of photos processed."""
    done = {number: parts.read(number) for number in parts.of(shard)}
    wanted = {photo: number for number in done for photo in parts.photos[number]}
    finished = {photo for found in done.values() for photo, item in found.items() if not item.get("missed")}
    left = [photo for photo in wanted if photo not in finished]
    reporter = Reporter(run.progress_path, STAGE, len(wanted), len(wanted) - len(left), quiet=quiet)
    try:
        parts.keep(done, work(left), reporter.advance)
    except KeyboardInterrupt:
        reporter.finish("stopped", "Stopped; start again to go on.")
        raise
    except (MaskDistillError, OSError) as error:
        reporter.finish("failed", describe_file_error(error, run.path) if isinstance(error, OSError) else str(error))
        raise
    reporter.finish("done", f"{len(left)} photos processed.")
    return len(left)


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
