"""Settings: one frozen dataclass a stage, gathered in ``RunConfig``; presets, and changes from the command line."""

import dataclasses
import functools
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Self

from maskdistill.config.clusters import ClusterConfig, EmbeddingConfig, ProjectionConfig
from maskdistill.config.foreground import ForegroundConfig
from maskdistill.config.instances import InstanceConfig
from maskdistill.config.labels import CandidateConfig, FilterConfig, LabelConfig
from maskdistill.config.parsing import assign, build, flatten, unknown_name
from maskdistill.config.proposals import CrfConfig, Engine, FeatureConfig, FeatureKind, ProposalConfig
from maskdistill.config.reports import EvaluationConfig, PredictionConfig
from maskdistill.config.rounds import RoundsConfig
from maskdistill.config.settings import Setting, check_values, describe, setting
from maskdistill.config.training import ModelName, TrainConfig
from maskdistill.errors import ConfigError

__all__ = [
    "CandidateConfig",
    "ClusterConfig",
    "CrfConfig",
    "EmbeddingConfig",
    "Engine",
    "EvaluationConfig",
    "FeatureConfig",
    "FeatureKind",
    "FilterConfig",
    "ForegroundConfig",
    "InstanceConfig",
    "LabelConfig",
    "ModelName",
    "PredictionConfig",
    "ProjectionConfig",
    "ProposalConfig",
    "RoundsConfig",
    "RunConfig",
    "Setting",
    "TrainConfig",
    "describe_setting",
    "describe_settings",
    "flatten",
    "load_preset",
    "preset_names",
    "section_names",
    "setting_names",
]

_PRESETS = resources.files("maskdistill.config") / "presets"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run makes, saved as ``run.json``.

    Example:
        ```python
        import maskdistill as md

        config = md.RunConfig().with_overrides(["seed=1", "proposals.tau=0.3"])
        assert md.RunConfig.from_dict(config.to_dict()) == config
        ```
    """

    seed: int = setting(
        0,
        "start of all random numbers; the same seed gives the same run",
        "[0, 4294967295]",
        label="Seed of the whole run",
        basic=True,
    )
    features: FeatureConfig = field(default_factory=FeatureConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    crf: CrfConfig = field(default_factory=CrfConfig)
    foreground: ForegroundConfig = field(default_factory=ForegroundConfig)
    embeddings: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    clusters: ClusterConfig = field(default_factory=ClusterConfig)
    projection: ProjectionConfig = field(default_factory=ProjectionConfig)
    stage1: TrainConfig = field(default_factory=TrainConfig)
    instances: InstanceConfig = field(default_factory=InstanceConfig)
    candidates: CandidateConfig = field(default_factory=CandidateConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    stage2: TrainConfig = field(default_factory=TrainConfig)
    rounds: RoundsConfig = field(default_factory=RoundsConfig)
    predictions: PredictionConfig = field(default_factory=PredictionConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        check_values(RunConfig, vars(self))
        if self.candidates.objects == "instances" and self.instances.enabled == "off":
            raise ConfigError(
                "candidates.objects=instances needs the single objects, but instances.enabled is off. "
                "Set instances.enabled=on, or candidates.objects=auto."
            )

    @property
    def judges_instances(self) -> bool:
        """Whether the candidates are the single objects of the photos, where there are any."""
        return self.candidates.objects != "proposals" and self.instances.enabled != "off"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of ``to_dict``; names that are missing keep their default.

        Raises:
            ConfigError: If a name is unknown or a value has another type, naming it.
        """
        return build(cls, values, setting_names())

    def with_overrides(self, assignments: Sequence[str]) -> Self:
        """A copy with ``section.name=value`` changes applied in order.

        Raises:
            ConfigError: If an assignment has no ``=``, an unknown name (the nearest is suggested) or a bad value.
        """
        values = self.to_dict()
        for assignment in assignments:
            assign(values, assignment, _number_words())
        return type(self).from_dict(values)


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(item.name.removesuffix(".toml") for item in _PRESETS.iterdir() if item.name.endswith(".toml"))


@functools.cache
def load_preset(name: str) -> RunConfig:
    """The preset of that name; what it leaves out is as in the preset it is based on, or else the default.

    Raises:
        ConfigError: If there is none; the message lists those there are.

    Example:
        ```python
        import maskdistill as md

        config = md.load_preset("quick").with_overrides(["features.backbone=focus_vits14"])
        config.stage1.epochs
        ```
    """
    if name not in preset_names():
        raise ConfigError(f"No preset '{name}'. There are: {', '.join(preset_names())}.")
    changes = tomllib.loads((_PRESETS / f"{name}.toml").read_text(encoding="utf-8"))
    changes.pop("about", None)
    base = changes.pop("based_on", None)
    values = load_preset(base).to_dict() if base else {}
    for section, value in changes.items():
        values[section] = {**values.get(section, {}), **value} if isinstance(value, dict) else value
    return RunConfig.from_dict(values)


@functools.cache
def setting_names() -> tuple[str, ...]:
    """Every name that ``--set`` takes, as ``section.name``."""
    return tuple(flatten(RunConfig().to_dict()))


@functools.cache
def _number_words() -> dict[str, str]:
    """By the setting's full name, the word that may stand for a whole number to be found."""
    known = (setting for section in ["", *section_names()] for setting in describe_settings(section))
    return {setting.full_name: setting.word for setting in known if setting.word}


def section_names() -> list[str]:
    """The sections of the settings, in the order of the method."""
    return [name for name, value in vars(RunConfig()).items() if dataclasses.is_dataclass(value)]


@functools.cache
def describe_settings(section: str) -> tuple[Setting, ...]:
    """What there is to know of each setting of a section, in their order; "" for those that are in none.

    Raises:
        ConfigError: If there is no such section (the nearest is suggested).
    """
    if section and section not in section_names():
        raise ConfigError(unknown_name(section, section_names(), "section of settings"))
    config = RunConfig()
    return tuple(describe(getattr(config, section) if section else config, section))


def describe_setting(full_name: str) -> Setting:
    """What there is to know of one setting.

    Args:
        full_name: As ``--set`` takes it, such as "proposals.tau".

    Raises:
        ConfigError: If there is no such setting or section (the nearest is suggested).
    """
    known = {setting.full_name: setting for setting in describe_settings(full_name.rpartition(".")[0])}
    if full_name not in known:
        raise ConfigError(unknown_name(full_name, setting_names()))
    return known[full_name]
