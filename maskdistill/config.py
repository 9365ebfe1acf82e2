"""Settings: one frozen dataclass a stage, gathered in ``RunConfig``; presets, and changes from the command line."""

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal, Self

from maskdistill.errors import ConfigError

Engine = Literal["ncut", "published"]
FeatureKind = Literal["auto", "tokens", "keys"]


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Which frozen transformer reads the photos, and at which size."""

    backbone: str = "auto"  # a short name, a timm name, or the path of a .safetensors or .pth file
    architecture: str = ""  # timm name of the model that a file of weights belongs to
    shorter_side: int = 0  # pixels, size the photo is read at; 0 takes the backbone's default
    fit: Literal["resize", "pad"] = "resize"  # how the sides become whole patches; "pad" is the published way
    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1", "mps"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    def __post_init__(self) -> None:
        if self.shorter_side and not 28 <= self.shorter_side <= 2048:
            raise ConfigError(f"features.shorter_side must be 0 or in [28, 2048] pixels, got {self.shorter_side}.")


@dataclass(frozen=True, kw_only=True)
class ProposalConfig:
    """How object masks are taken out of the features. Published values: METHOD names in each engine's docstring."""

    engine: Engine = "ncut"
    num_objects: int = 1  # at most so many masks per photo, 1 to 10; "published" gives one
    feature: FeatureKind = "auto"  # which features make the affinity; "auto" takes the backbone's default
    blocks: tuple[int, ...] = ()  # block numbers from 1, cosines averaged; () takes the backbone's default
    tau: float = 0.2  # cosine above which two patches are linked, [-1, 1]
    foreground: Literal["attended", "border", "largest"] = "attended"  # side that touches the photo's border less,
    # unless CLS attends to the other plainly more / touches the border less / holds the largest |value|
    component: Literal["auto", "large", "seed"] = "auto"  # pieces kept: all large ones / the seed's; "auto": seed's if
    # several objects are looked for
    min_piece: float = 0.1  # fraction of the largest piece's area below which a piece is dropped, [0, 1]
    refine_steps: int = 2  # rounds of assigning patches to the nearer of two mean directions; 0 keeps the cut as it is
    refine_blocks: tuple[int, ...] = ()  # blocks whose tokens are compared in those rounds; () takes the default
    smooth: bool = True  # interpolate to pixels, then split; False: split patches, then nearest pixels
    min_area: float = 0.01  # fraction of the photo below which a further object is dropped, [0, 1]
    max_overlap: float = 0.5  # IoU with an earlier object above which a further one is dropped, [0, 1]
    views: Literal["none", "score", "merge"] = "merge"  # second look at the mirror image in a smaller size: not at
    # all / for the score only / averaged into the mask too
    view_scale: float = 0.75  # size of the second look, as a fraction of the first, [0.25, 1]
    num_heads: int = 5  # "published": CLS attention is the mean of so many first heads
    topk: float = 0.4  # "published": fraction of patches kept as candidates, (0, 1]
    mass: float = 0.5  # "published": fraction of the row's mass kept, (0, 1]

    def __post_init__(self) -> None:
        _check_range("proposals.num_objects", self.num_objects, 1, 10)
        _check_range("proposals.tau", self.tau, -1, 1)
        _check_range("proposals.num_heads", self.num_heads, 1, 64)
        _check_range("proposals.refine_steps", self.refine_steps, 0, 20)
        _check_range("proposals.view_scale", self.view_scale, 0.25, 1)
        for name in ("min_piece", "min_area", "max_overlap"):
            _check_range(f"proposals.{name}", getattr(self, name), 0, 1)
        for name in ("topk", "mass"):
            _check_range(f"proposals.{name}", getattr(self, name), 1e-6, 1)

    @property
    def seed_piece_only(self) -> bool:
        """Whether only the connected piece that holds the seed is kept."""
        return self.component == "seed" or (self.component == "auto" and self.num_objects > 1)


@dataclass(frozen=True, kw_only=True)
class CrfConfig:
    """Dense CRF of Krähenbühl and Koltun (NIPS 2011) at image resolution; published weights and widths."""

    enabled: bool = False
    iterations: int = 10
    max_pixels: int = 120_000  # photos with more pixels are refined on a copy of this size; 0: image resolution always
    gaussian_weight: float = 3.0
    gaussian_sigma: float = 1.0  # pixels
    bilateral_weight: float = 4.0
    bilateral_sigma_xy: float = 67.0  # pixels
    bilateral_sigma_rgb: float = 3.0  # grey levels of 255
    min_agreement: float = 0.5  # IoU of the mask before and after, below which the refinement is not taken

    def __post_init__(self) -> None:
        _check_range("crf.iterations", self.iterations, 1, 100)
        if self.max_pixels and self.max_pixels < 1000:
            raise ConfigError(f"crf.max_pixels must be 0 (no limit) or at least 1000, got {self.max_pixels}.")
        _check_range("crf.min_agreement", self.min_agreement, 0, 1)
        for name in ("gaussian_sigma", "bilateral_sigma_xy", "bilateral_sigma_rgb"):
            _check_range(f"crf.{name}", getattr(self, name), 0.1, 1000)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run makes, saved as ``run.json``."""

    seed: int = 0
    features: FeatureConfig = field(default_factory=FeatureConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    crf: CrfConfig = field(default_factory=CrfConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of ``to_dict``; names that are missing keep their default.

        Raises:
            ConfigError: If a name is unknown or a value has another type, naming it.
        """
        return _build(cls, values, prefix="")

    def with_overrides(self, assignments: Sequence[str]) -> Self:
        """A copy with ``section.name=value`` changes applied in order.

        Raises:
            ConfigError: If an assignment has no ``=``, an unknown name (the nearest is suggested) or a bad value.
        """
        values = self.to_dict()
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals:
                raise ConfigError(f"--set wants section.name=value, got '{assignment}'.")
            *sections, leaf = name.strip().split(".")
            target = values
            for section in sections:
                target = _child(target, section, name)
            if not isinstance(target, dict) or leaf not in target or isinstance(target[leaf], dict):
                raise ConfigError(_unknown(name))
            target[leaf] = _parse(text.strip(), target[leaf], name)
        return type(self).from_dict(values)


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    folder = resources.files("maskdistill") / "presets"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_preset(name: str) -> RunConfig:
    """The preset of that name.

    Raises:
        ConfigError: If there is none; the message lists those there are.
    """
    if name not in preset_names():
        raise ConfigError(f"No preset '{name}'. There are: {', '.join(preset_names())}.")
    text = (resources.files("maskdistill") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    values.pop("about", None)
    return RunConfig.from_dict(values)


def setting_names() -> list[str]:
    """Every name that ``--set`` takes, as ``section.name``."""
    values = RunConfig().to_dict()
    leaves = [name for name, value in values.items() if not isinstance(value, dict)]
    return leaves + [f"{name}.{leaf}" for name, value in values.items() if isinstance(value, dict) for leaf in value]


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} must be in [{low:g}, {high:g}], got {value:g}.")


def _child(values: Any, section: str, name: str) -> Any:
    if not isinstance(values, dict) or section not in values:
        raise ConfigError(_unknown(name))
    return values[section]


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, setting_names(), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else f" There are: {', '.join(setting_names())}."
    return f"No setting '{name}'.{hint}"


def _parse(text: str, current: Any, name: str) -> Any:
    """Text of the command line as a value of the current one's type."""
    if isinstance(current, str):
        return text
    if isinstance(current, list) and not text.startswith("["):
        text = f"[{text}]"
    try:
        return json.loads(text.lower() if isinstance(current, bool) else text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name} wants {type(current).__name__}, got '{text}'.") from error


def _build(cls: type, values: Mapping[str, Any], prefix: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{prefix.removesuffix('.') or 'The configuration'} must be a table of settings, got {values!r}."
        )
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in hints:
            raise ConfigError(_unknown(f"{prefix}{name}"))
    return cls(**{name: _coerce(hints[name], value, f"{prefix}{name}") for name, value in values.items()})


def _coerce(hint: Any, value: Any, name: str) -> Any:
    """Check one value against its field's type; JSON's lists become tuples."""
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, prefix=f"{name}.")
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ConfigError(f"{name} must be one of {', '.join(typing.get_args(hint))}, got '{value}'.")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or not all(type(item) is int for item in value):
            raise ConfigError(f"{name} must be a list of whole numbers, got {value!r}.")
        return tuple(value)
    wanted = (int, float) if hint is float else hint
    if isinstance(wanted, types.UnionType) or (
        isinstance(value, wanted) and not (isinstance(value, bool) and hint is not bool)
    ):
        return float(value) if hint is float else value
    raise ConfigError(f"{name} must be {hint.__name__}, got {value!r}.")
