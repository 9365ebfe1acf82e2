"""What each stage of a run is made from, and so which of them are done."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from maskdistill.config import RunConfig
from maskdistill.config.training import HOW
from maskdistill.datasets import PhotoSource
from maskdistill.evaluation.ground_truth import state_of_labels
from maskdistill.features.registry import BackboneChoice, choose_backbone
from maskdistill.review.decisions import class_digest, repairs_digest
from maskdistill.stages.context import Context
from maskdistill.stages.disk_needs import find_needs, require_disk
from maskdistill.stages.imported import without_own_masks
from maskdistill.stages.mask_inputs import CHOICE, describe_inputs, token_folder
from maskdistill.stages.propose import missed_photos
from maskdistill.stages.select import decisions_digest
from maskdistill.stages.soundness import find_damage, is_finished
from maskdistill.stages.stage_list import BY_NAME, Stage
from maskdistill.storage.read_files import DamagedFileError, read_json_if_there
from maskdistill.storage.run_folder import Run, fingerprint

if TYPE_CHECKING:
    from maskdistill.stages.chain import Options  # which does what is planned here

logger = logging.getLogger(__name__)

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

    def context(self, name: str, options: "Options") -> Context:
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
            if self.config.features.tokens != "float16":
                values["tokens"] = self.config.features.tokens
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


def _section(config: RunConfig, name: str) -> dict[str, Any]:
    """A section of the settings, without what only decides how the work is done."""
    values = asdict(getattr(config, name))
    for how in HOW:
        values.pop(how, None)
    before = _LATER.get(name, {})
    return {key: value for key, value in values.items() if key not in before or value != before[key]}
