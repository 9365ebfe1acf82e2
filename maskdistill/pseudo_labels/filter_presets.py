"""Thresholds of the filter under a name: those that come with the program, those that people save, and a comparison."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from maskdistill.config import FilterConfig, RunConfig
from maskdistill.errors import ConfigError
from maskdistill.pseudo_labels.filter import FilterResult
from maskdistill.storage.run_folder import Run
from maskdistill.storage.saved_views import save_view, views

KIND = "filter"  # of saved views
EVERYTHING, PUBLISHED, OWN = "everything", "published (0.9)", "the run's own"
_EMPTY = {"best": "empty photos keep their best", "none": "empty photos stay empty"}
BUILT_IN = (EVERYTHING, PUBLISHED, OWN)


@dataclass(frozen=True)
class PresetResult:
    """What the filter keeps under one set of thresholds."""

    masks: int
    photos: int  # with a kept mask
    least: int  # masks of the cluster that keeps fewest, 0 without clusters
    weakest: int  # that cluster, 0 without clusters
    empty: int  # clusters that keep none
    shared: float  # share of the masks that this or the reference keeps which both keep; NaN if neither keeps any


def presets(run: Run, own: FilterConfig) -> dict[str, FilterConfig]:
    """Every preset by its name, the built-in ones first; one that this version cannot read is left out.

    Args:
        run: The run that the saved ones belong to.
        own: The run's own thresholds.

    Raises:
        RunError: If the run's database cannot be read.
    """
    found = {EVERYTHING: FilterConfig(), PUBLISHED: FilterConfig(min_score=0.9), OWN: own}
    for view in views(run, KIND):
        config = from_values(view.value)
        if config is not None and view.name not in found:
            found[view.name] = config
    return found


def save_preset(run: Run, name: str, config: FilterConfig) -> None:
    """Keep thresholds under a name, in place of what that stood for.

    Raises:
        ConfigError: If the name is empty, or a built-in preset's.
        RunError: If there is no run, or its database cannot be written.
    """
    name = " ".join(name.split())
    if name in BUILT_IN:
        raise ConfigError(f"The preset '{name}' is built in and stays as it is. Choose another name.")
    save_view(run, KIND, name, to_values(config))


def to_values(config: FilterConfig) -> dict[str, Any]:
    """The settings that do something, by name, for JSON."""
    plain = asdict(FilterConfig())
    return {name: value for name, value in asdict(config).items() if value != plain[name]}


def from_values(values: Any) -> FilterConfig | None:
    """What ``to_values`` was made of; None if this version cannot read it."""
    try:
        return RunConfig.from_dict({"filter": values}).filter
    except ConfigError:
        return None


def describe(config: FilterConfig) -> str:
    """The settings that do something, for people: "min_score 0.9, max_area 0.5"."""
    found = [
        f"{name} {value:g}" if name != "empty_photos" else _EMPTY[value] for name, value in to_values(config).items()
    ]
    return ", ".join(found) or "no thresholds"


def compare(results: Mapping[str, FilterResult], reference: FilterResult) -> dict[str, PresetResult]:
    """What each set of thresholds keeps of the same masks, by name, and how far that is what the reference keeps."""
    return {name: _kept(result, reference.kept) for name, result in results.items()}


def _kept(result: FilterResult, reference: np.ndarray) -> PresetResult:
    clusters = {cluster: counts.kept for cluster, counts in result.clusters().items()}
    weakest = min(clusters, key=lambda cluster: (clusters[cluster], cluster), default=0)
    either = int(np.count_nonzero(result.kept | reference))
    return PresetResult(
        masks=int(np.count_nonzero(result.kept)),
        photos=result.photos().kept,
        least=clusters.get(weakest, 0),
        weakest=weakest,
        empty=sum(count == 0 for count in clusters.values()),
        shared=float(np.count_nonzero(result.kept & reference)) / either if either else float("nan"),
    )
