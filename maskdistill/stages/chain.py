"""What each stage is made from, and doing only what is missing or stale, in order."""

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from maskdistill.config import RunConfig, TrainConfig
from maskdistill.config.training import HOW
from maskdistill.datasets import PhotoSource, ProgressCallback, open_source
from maskdistill.errors import ConfigError, printable
from maskdistill.evaluation.ground_truth import label_notes, state_of_labels
from maskdistill.features.registry import BackboneChoice, check_weight_file, choose_backbone
from maskdistill.files import set_aside, write_json
from maskdistill.machine import explain_lack_of_memory
from maskdistill.review.decisions import class_digest, repairs_digest
from maskdistill.stages.context import Context
from maskdistill.stages.disk_needs import find_needs, require_disk
from maskdistill.stages.imported import without_own_masks
from maskdistill.stages.photo_work import LeftToOthersError, Share
from maskdistill.stages.pool import EngineName, Workers
from maskdistill.stages.propose import CHOICE, describe_inputs, hold_masks, missed_photos, settle_inputs, token_folder
from maskdistill.stages.repairs import describe_clustering, take_back
from maskdistill.stages.select import decisions_digest
from maskdistill.stages.shards import Shard
from maskdistill.stages.soundness import damaged_numbered, find_damage, is_finished
from maskdistill.stages.stage_list import BY_NAME, NAMES, SHARED, Stage, with_needs
from maskdistill.storage.imported_masks import BroughtMasks
from maskdistill.storage.progress import format_duration
from maskdistill.storage.read_files import DamagedFileError, MissingFileError, read_json, read_json_if_there
from maskdistill.storage.run_folder import Run, fingerprint
from maskdistill.storage.run_lock import refuse_if_held

logger = logging.getLogger(__name__)

_MAX_NOTES = 5  # on ground truth, of which a report tells in full
# Settings of later versions, with the value that does what was done without them: runs of before stay as they are.
_LATER: dict[str, dict[str, Any]] = {
    "clusters": {"soft_runs": 0, "by": "vectors"},
    "projection": {"most_unfolded": 200_000},
}
# The stages that use people's decisions, and a digest of these that changes with them.
_DIGESTS: dict[str, Callable[[Run], str]] = {
    "repairs": repairs_digest,
    "classes": class_digest,
    "filter": decisions_digest,
}
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


class Plan:
    """What every stage of a run would be made from now.

    Args:
        run: Run folder.
        source: Photos.
        config: Settings, with the backbone chosen.
        choice: What that backbone is, where it is known already; finding out may have to load timm.
    """

    def __init__(self, run: Run, source: PhotoSource, config: RunConfig, choice: BackboneChoice | None = None) -> None:
        self.run, self.source, self._imported = run, source, run.imported
        self.config = without_own_masks(config, self._imported)
        self._choice = choice or choose_backbone(config.features.backbone, config.features.architecture)
        self._made_from: dict[str, dict[str, Any]] = {}
        self._decided: dict[str, str] = {}
        self._unmended = False

    def made_from(self, name: str) -> dict[str, Any]:
        """All that decides what a stage makes. Needed stages stand in it by their fingerprints."""
        if name not in self._made_from:
            self._made_from[name] = self._describe(BY_NAME[name])
        return self._made_from[name]

    def key(self, name: str) -> str:
        """Fingerprint of ``made_from``."""
        return fingerprint(self.made_from(name))

    def needs(self, name: str) -> tuple[str, ...]:
        """The stages that a stage is made from now: without rounds, stage 2 stands where they would, where people
        changed no cluster, the clusters where the classes would, where they mended no mask, what made the masks where
        the repairs would, without the foreground, the proposals. A report
        without single objects is made from the predictions alone, and candidates that are none from stage 1 alone.
        """
        needs = BY_NAME[name].needs
        if self.config.instances.enabled == "off":
            needs = () if name == "instances" else tuple(need for need in needs if need != "instances")
        if name == "candidates" and not self.config.judges_instances:
            needs = ("stage1",)
        if needs == ("classes",) and not self._decisions("classes"):
            return ("clusters",)
        if needs == ("repairs",) and not self.is_mended:
            needs = BY_NAME["repairs"].needs
        if needs == ("foreground",) and not self.config.foreground.enabled:
            return ("proposals",)
        return ("stage2",) if needs == ("rounds",) and not self.config.rounds.count else needs

    @property
    def is_mended(self) -> bool:
        """Whether there are masks that people mended."""
        return not self._unmended and bool(self._decisions("repairs"))

    def unmended(self) -> "Plan":
        """The same as if nobody had mended a mask."""
        plan = Plan(self.run, self.source, self.config, self._choice)
        plan._unmended = True
        plan._made_from = {name: self.made_from(name) for name in ("proposals", "foreground")}
        return plan

    def is_done(self, name: str) -> bool:
        """Whether the stage was finished from exactly these inputs and what others read of it is there and whole."""
        if name == "repairs" and not self.is_mended:
            return not self.run.repairs.path.exists()
        return is_finished(self.run, name, self.key(name))

    def require_disk(self, names: Sequence[str], tell: Callable[[str], None]) -> None:
        """Say how much disk those of the stages will take that were never made, and refuse where there is less.

        Raises:
            RunError: If too little is free.
        """
        missing = [name for name in names if not self.run.stage_path(name).is_file()]
        tokens = token_folder(self.run, self.source, self.config, self._choice)
        if missing:
            require_disk(
                self.run, find_needs(self.source, self.config, self._choice.spec, missing, tokens=tokens), tell
            )

    def context(self, name: str, options: Options) -> Context:
        """What the stage's work is given."""
        tokens = token_folder(self.run, self.source, self.config, self._choice)
        own_key = self.unmended().key(name) if name in ("embeddings", "clusters") and self.is_mended else ""
        how = (options.workers, options.quiet, own_key)
        return Context(self.run, self.source, self.config, tokens, self.key(name), *how)

    def _describe(self, stage: Stage) -> dict[str, Any]:
        if stage.name == "proposals":
            return describe_inputs(self.source, self.config, self._choice, self._imported)
        values: dict[str, Any] = {"stage": stage.name, "code": stage.code}
        values["from"] = {name: self.key(name) for name in self.needs(stage.name)}
        values["settings"] = {section: _section(self.config, section) for section in stage.sections}
        if stage.name == "rounds" and self.config.rounds.count and self.config.rounds.crf:
            values["settings"]["crf"] = _section(self.config, "crf")
        if missed := [id for name in self.needs(stage.name) for id in missed_photos(self.run, name)]:
            values["missed"] = missed  # once they can be read, what was made without them is stale
        if stage.name == "foreground" and not self.config.foreground.enabled:
            return values | {"settings": {"foreground": {"enabled": False}}}
        if stage.name == "instances" and self.config.instances.enabled == "off":
            return values | {"settings": {"instances": {"enabled": "off"}}}
        if stage.name == "candidates" and not self.config.judges_instances:
            del values["settings"]["candidates"]["objects"]  # which runs made before did not have
        if stage.name == "foreground" and self.config.proposals.chooses_from_pool:
            values["choice"] = {name: getattr(self.config.proposals, name) for name in CHOICE}
        if stage.seeded:
            values["seed"] = self.config.seed
        if stage.name in ("foreground", "embeddings"):
            values["head_blocks"] = list(self.config.features.head_blocks)
        if stage.name == "clusters" and self.config.clusters.support:
            support = read_record(Run(self.run.path / "support"), "embeddings")
            values["support"] = support and support["fingerprint"]
        if stage.name in _DIGESTS and (digest := self._decisions(stage.name)):
            values["decisions"] = digest
        if stage.name == "evaluation":
            values["labels"] = state_of_labels(self.source)
        return values

    def _decisions(self, name: str) -> str:
        """What people decided about what the stage reads; "" for nothing, or while that has to be made first."""
        (need,) = BY_NAME[name].needs
        stage = self.run.own_mask_stage if name == "repairs" else self.run.mask_stage
        if not self.is_done(need) or find_damage(self.run, stage) is not None:
            return ""
        if name not in self._decided:
            self._decided[name] = _DIGESTS[name](self.run)
        return self._decided[name]


def read_record(run: Run, name: str) -> dict[str, Any] | None:
    """What a stage was made from when it was last finished; None if it never was, or that cannot be read any more."""
    try:
        record = read_json_if_there(run.stage_path(name))
        return record and {**record, "fingerprint": record["fingerprint"], "made_from": record["made_from"]}
    except DamagedFileError as error:
        logger.warning("%s", error)
        return None


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


def _section(config: RunConfig, name: str) -> dict[str, Any]:
    """A section of the settings, without what only decides how the work is done."""
    values = asdict(getattr(config, name))
    for how in HOW:
        values.pop(how, None)
    before = _LATER.get(name, {})
    return {key: value for key, value in values.items() if key not in before or value != before[key]}


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
    made = read_json(run.stage_path("proposals"))["made_from"]["features"]  # without device, head_blocks and store
    return dataclasses.replace(config, features=dataclasses.replace(config.features, **made))


def _embed_support(run: Run, config: RunConfig, options: Options) -> None:
    """Masks and vectors of the second folder, in a run of their own inside this one."""
    if config.clusters.support == run.info()["data"]:
        raise ConfigError("clusters.support is the run's own data. Name another folder, or leave it empty.")
    alone = dataclasses.replace(config, clusters=dataclasses.replace(config.clusters, support=""))
    quietly = dataclasses.replace(options, shard=None, limit=0, source=None, brought=None)
    run_stages(Run(run.path / "support"), config.clusters.support, alone, wanted=("embeddings",), options=quietly)
