"""Doing the stages that are missing or stale, in order."""

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from maskdistill.config import RunConfig, TrainConfig
from maskdistill.datasets import PhotoSource, ProgressCallback, open_source
from maskdistill.datasets.addresses import is_address, is_public, public
from maskdistill.errors import ConfigError, printable
from maskdistill.evaluation.ground_truth import label_notes
from maskdistill.features.registry import check_weight_file
from maskdistill.files import set_aside, write_json
from maskdistill.machine import explain_lack_of_memory
from maskdistill.stages.imported import without_own_masks
from maskdistill.stages.mask_inputs import made_features, settle_inputs
from maskdistill.stages.photo_work import LeftToOthersError, Share
from maskdistill.stages.plan import Plan, read_record
from maskdistill.stages.pool import EngineName, Workers
from maskdistill.stages.propose import hold_masks
from maskdistill.stages.repairs import describe_clustering, take_back
from maskdistill.stages.shards import Shard
from maskdistill.stages.soundness import damaged_numbered, find_damage, is_finished
from maskdistill.stages.stage_list import BY_NAME, NAMES, SHARED, with_needs
from maskdistill.storage.imported_masks import BroughtMasks
from maskdistill.storage.progress import format_duration
from maskdistill.storage.read_files import DamagedFileError, MissingFileError
from maskdistill.storage.run_folder import Run, fingerprint
from maskdistill.storage.run_lock import refuse_if_held

logger = logging.getLogger(__name__)

_MAX_NOTES = 5  # on ground truth, of which a report tells in full
OnStage = Callable[[str, str], None]
# The run, the stage, its settings, its seconds, and of how many photos where that is not all: ``record_speed``.
OnFinished = Callable[[Run, str, RunConfig, float, int | None], None]


@dataclass(frozen=True)
class Options:
    """How to work, without influence on the result.

    Example:
        ```python
        import maskdistill as md

        config = md.load_preset("quick").with_overrides(["features.backbone=focus_vits14"])
        run = md.Run("runs/sample")
        md.run_stages(run, "sample", config, wanted=("embeddings",), options=md.Options(limit=2))
        assert len(run.masks()) >= 1
        ```
    """

    shard: Shard | None = None
    limit: int = 0  # photos, 0 for all
    num_workers: int = 0  # as ``Workers.count``, and so the two that follow
    engine: EngineName = "local"
    address: str = ""
    quiet: bool = False
    on_finished: OnFinished = lambda *_: None  # called after a stage that was worked on from beginning to end
    on_search: ProgressCallback | None = None  # called while the photos are looked for and inspected
    on_disk: Callable[[str], None] = logger.info  # called with a sentence on how much disk the work will take
    source: PhotoSource | None = None  # the photos, where they are open already
    brought: BroughtMasks | None = None  # masks made elsewhere that the run has from now on

    @property
    def workers(self) -> Workers:
        """Where photos meet processes."""
        return Workers(self.num_workers, self.engine, self.address)


def run_stages(
    run: Run,
    data: str,
    config: RunConfig,
    *,
    preset: str = "",
    wanted: Sequence[str] = NAMES,
    options: Options = Options(),
    on_stage: OnStage = lambda _name, _sentence: None,
) -> None:
    """Do what is missing or stale of the wanted stages, and of the stages that these need, in order.

    Args:
        run: Run folder; made if missing.
        data: What ``open_source`` takes.
        config: Settings; the choices of "auto" are recorded in run.json.
        preset: Name of the preset they came from, for the record.
        wanted: Names of stages.
        options: How to work.
        on_stage: Called with the name of each stage that is done, and a sentence on what it made or found there.

    Raises:
        ConfigError: If a setting cannot work.
        RunBusyError: If another process is at work on this run.

    Example:
        ```python
        import maskdistill as md

        config = md.load_preset("quick").with_overrides(["features.backbone=focus_vits14"])
        run = md.Run("runs/sample")
        md.run_stages(run, "sample", config, wanted=("embeddings",), options=md.Options(limit=2))
        run.masks()[["image_id", "score"]]
        ```
    """
    if options.shard is None:
        refuse_if_held(run.path)
    source = options.source or open_source(data, on_progress=options.on_search, seen=run.seen_path)
    for note in label_notes(source)[:_MAX_NOTES]:
        logger.warning("Ground truth: %s (%s)", note.reason, printable(note.path))
    if options.limit:
        source = source.limited(options.limit)
    imported = run.imported if options.brought is None else options.brought.record
    config = without_own_masks(config, imported)
    needed = with_needs(wanted, config)
    _check_weights(run, config, needed)
    _check_support(source, config)
    shared = [name for name in needed if name in SHARED]
    if options.shard is not None and shared and options.brought is None:
        *_, made_from = settle_inputs(run, source, config, options.workers, imported)
        if is_finished(run, "proposals", fingerprint(made_from)):
            for name in shared:
                plan = Plan(run, source, _with_made_features(run, config))
                if plan.is_done(name) and name != shared[-1]:
                    continue
                with Share(run, name, plan.key(name), options.shard) as share:
                    _do_share(share, _note_settings(run, config, preset, options.limit), source, options, on_stage)
                if share.begun:  # else there was no photo to share, as where the stage is switched off
                    break
            return
    with hold_masks(
        run,
        source,
        config,
        preset=preset,
        shard=options.shard,
        workers=options.workers,
        quiet=options.quiet,
        brought=options.brought,
        stages=needed,
        on_disk=options.on_disk,
    ) as summary:
        on_stage("proposals", summary.sentence)
        if not summary.complete:
            return
        settled = _note_settings(run, config, preset, options.limit)
        if options.shard is None and imported is None and summary.num_new:
            options.on_finished(run, "proposals", settled, summary.seconds, summary.num_new)
        if "embeddings" in needed and settled.clusters.support:
            _embed_support(run, settled, options)
        plan = Plan(run, source, settled)
        if not summary.num_new:
            plan.require_disk(needed[1:], options.on_disk)
        mended: set[Path] = set()
        while not _do_all(needed[1:], plan, options, on_stage, mended):
            plan = Plan(run, source, settled)
            logger.info("Once more from the stage that makes it.")


def _do_all(names: Sequence[str], plan: Plan, options: Options, on_stage: OnStage, mended: set[Path]) -> bool:
    """Do stages in order; False if a file of one of them proved damaged, and was put out of the way of its stage."""
    try:
        for name in names:
            _do(name, plan, options, on_stage)
    except (DamagedFileError, MissingFileError) as error:
        if error.stage not in names or error.path in mended:
            raise
        mended.add(error.path)
        _clear(plan.run, error)
        set_aside(plan.run.stage_path(error.stage))
        return False
    return True


def _do(name: str, plan: Plan, options: Options, on_stage: OnStage, share: Share | None = None) -> None:
    if name == "repairs" and not plan.is_mended:  # nothing is left of it, so that a run without is as it ever was
        if plan.run.repairs.path.exists():
            take_back(plan.run)
        return
    if plan.is_done(name) and not _set_damaged_aside(plan, name, options):
        on_stage(name, "Nothing to do.")
        return
    module, _, function = BY_NAME[name].work.partition(":")
    began = time.monotonic()
    if (problem := find_damage(plan.run, name)) is not None:
        before = read_record(plan.run, name)
        _clear(plan.run, problem, tell=before is None or before["fingerprint"] == plan.key(name))
    set_aside(plan.run.stage_path(name))  # until the work is finished the artifacts are of neither kind
    context = dataclasses.replace(plan.context(name, options), share=share)
    with explain_lack_of_memory():
        sentence = getattr(import_module(module), function)(context)
    record = {"fingerprint": plan.key(name), "made_from": plan.made_from(name)}
    if name == "clusters" and context.own_key:
        record |= describe_clustering(plan.run, context.own_key)
    write_json(plan.run.stage_path(name), record)
    shutil.rmtree(plan.run.parts_path(name, plan.key(name)), ignore_errors=True)
    seconds = time.monotonic() - began
    if share is None:
        options.on_finished(plan.run, name, plan.config, seconds, None)
    on_stage(name, f"{sentence} ({format_duration(seconds)})")


def _do_share(share: Share, config: RunConfig, source: PhotoSource, options: Options, on_stage: OnStage) -> None:
    """Do one shard of a stage's photos, and put all together once the last is done."""
    plan, run = Plan(share.run, source, config), share.run
    for need in with_needs((share.stage,), plan.config)[:-1]:
        if not plan.is_done(need):
            raise ConfigError(
                f"--shard shares the photos of {share.stage} once the stages before it are done; {need} is not. Do "
                f"that first, by one process: maskdistill run --run {run.path} --until {need}"
            )
    try:
        _do(share.stage, plan, options, on_stage, share)
    except LeftToOthersError as left:
        on_stage(share.stage, str(left))


def _set_damaged_aside(plan: Plan, name: str, options: Options) -> bool:
    """Whether files that come in numbers were damaged; they are out of the way of the work that makes them anew."""
    found = list(damaged_numbered(plan.run, name, plan.context(name, options).tokens_path))
    for problem in found:
        _clear(plan.run, problem)
    return bool(found)


def _clear(run: Run, problem: DamagedFileError | MissingFileError, *, tell: bool = True) -> None:
    """Put a file out of the way; what is made anew anyway may well be of other masks, which nobody needs to be told."""
    if tell and isinstance(problem, DamagedFileError):
        logger.warning("%s", problem)
    set_aside(problem.path)
    for folder in (run.path / "rounds").glob("*/"):
        if problem.path.is_relative_to(folder):  # its labels would be taken for whole
            set_aside(folder / "round.json")


def _check_weights(run: Run, config: RunConfig, needed: Sequence[str]) -> None:
    """Refuse files that cannot be weights now, and not when the training that wants them begins."""
    for stage in ("stage1", "stage2"):
        training: TrainConfig = getattr(config, stage)
        wanted = stage in needed and training.weights and training.model != "patch_head"
        if wanted and read_record(run, stage) is None:  # what was trained before does without
            check_weight_file(Path(training.weights))


def _check_support(source: PhotoSource, config: RunConfig) -> None:
    support = config.clusters.support
    if support and support == source.spec:
        raise ConfigError("clusters.support is the run's own data. Name another folder, or leave it empty.")
    if is_address(support) and not is_public(support):
        raise ConfigError(
            f"clusters.support has a query or a name before its host ({public(support)}), which would stand in the "
            "run's settings for all to read. Fetch that list, and name the file."
        )


def _note_settings(run: Run, config: RunConfig, preset: str, limit: int) -> RunConfig:
    """Put the settings into run.json, beside the choices that the masks were made with; returns both together."""
    info = run.info()
    settled = _with_made_features(run, config)
    info_now = {**info, "config": settled.to_dict(), "preset": preset or info["preset"], "limit": limit}
    if info_now != info:
        run.write_info(info_now)
    return settled


def _with_made_features(run: Run, config: RunConfig) -> RunConfig:
    """The settings with the features that the masks were made with, as far as others would be other masks."""
    return dataclasses.replace(config, features=dataclasses.replace(config.features, **made_features(run)))


def _embed_support(run: Run, config: RunConfig, options: Options) -> None:
    """Masks and vectors of the second folder, in a run of their own inside this one."""
    alone = dataclasses.replace(config, clusters=dataclasses.replace(config.clusters, support=""))
    quietly = dataclasses.replace(options, shard=None, limit=0, source=None, brought=None)
    run_stages(Run(run.path / "support"), config.clusters.support, alone, wanted=("embeddings",), options=quietly)
