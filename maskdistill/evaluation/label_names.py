"""Names and colors of the values of label maps, the same in every picture of the Results page.

A ground-truth class has the color of the cluster that was matched to it, so that agreement shows as one color.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maskdistill.datasets import IGNORE_INDEX
from maskdistill.evaluation.metric_tables import final_measures
from maskdistill.pictures.colors import cluster_color

_UNKNOWN = {"name": "no label", "colour": "#969696", "key": ""}
_BACKGROUND = "background"


@dataclass(frozen=True)
class LabelNames:
    """Names of clusters and classes, and which class each cluster is matched to."""

    cluster_names: tuple[str, ...]  # of clusters 1 to K, as people gave them
    classes: tuple[str, ...] = ()  # of the ground truth, without background; empty without it
    matching: Mapping[int, int] = field(default_factory=dict)  # cluster -> class; 0 -> 0 among them

    @property
    def num_clusters(self) -> int:
        """K."""
        return len(self.cluster_names)

    def cluster(self, label: int) -> str:
        """Name of a cluster, with its class if that is known and has another name: "cluster 3 · cow"."""
        own = self.cluster_names[label - 1]
        matched = self.class_of(label)
        return own if matched is None or matched.lower() == own.lower() else f"{own} · {matched}"

    def class_of(self, label: int) -> str | None:
        """Name of the class that a cluster is matched to."""
        matched = self.matching.get(label)
        return None if matched is None else (_BACKGROUND, *self.classes)[matched]

    def clusters(self) -> dict[int, dict[str, str]]:
        """name, color and key of every value of a run's own label maps; values of one key mean the same."""
        entries = {
            label: {"name": self.cluster(label), "colour": cluster_color(label), "key": self._key(label)}
            for label in range(1, self.num_clusters + 1)
        }
        return _BASE | entries

    def truth(self) -> dict[int, dict[str, str]]:
        """The same of ground truth; a class without a cluster has a color that no cluster has."""
        clusters = {label: cluster for cluster, label in self.matching.items() if cluster}
        entries = {IGNORE_INDEX: _UNKNOWN | {"name": "ignored"}}
        for label, name in enumerate(self.classes, start=1):
            cluster = clusters.get(label, self.num_clusters + label)
            entries[label] = {"name": name, "colour": cluster_color(cluster), "key": f"class {label}"}
        return _BASE | entries

    def other_run(self, names: Sequence[str], matching: Mapping[int, int]) -> dict[int, dict[str, str]]:
        """The same of another run's label maps, its clusters in the colors of those of this run that they match.

        Args:
            names: Of the other run's clusters, from 1.
            matching: Its clusters -> this run's.
        """
        entries = {}
        for label, name in enumerate(names, start=1):
            own = matching.get(label, 0)
            if own:
                entry = {"name": f"{name} = {self.cluster(own)}", "key": self._key(own)}
            else:
                entry = {"name": f"{name}, only in the other run", "key": f"other {label}"}
            entries[label] = entry | {"colour": cluster_color(own or self.num_clusters + len(self.classes) + label)}
        return _BASE | entries

    def _key(self, label: int) -> str:
        matched = self.matching.get(label)
        return f"cluster {label}" if matched is None else _BACKGROUND if matched == 0 else f"class {matched}"


_BASE = {
    0: {"name": _BACKGROUND, "colour": "", "key": _BACKGROUND},
    IGNORE_INDEX: _UNKNOWN,
}


def names_of(num_clusters: int, name_of: Callable[[int], str], metrics: Mapping[str, Any] | None) -> LabelNames:
    """Names that people gave the clusters, and classes as the final label maps were matched.

    Args:
        num_clusters: K.
        name_of: Name of a cluster.
        metrics: metrics.json, if there is one.
    """
    names = tuple(name_of(label) for label in range(1, num_clusters + 1))
    measures = final_measures(metrics)
    if metrics is None or measures is None:
        return LabelNames(names)
    classes = tuple(metrics["classes"])
    places = {name: place for place, name in enumerate((_BACKGROUND, *classes))}
    return LabelNames(names, classes, {int(cluster): places[name] for cluster, name in measures["matching"].items()})
