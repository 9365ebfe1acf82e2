"""What the values of label maps are called and how they are coloured, the same in every picture of the Results page.

A ground-truth class has the colour of the cluster that was matched to it, so that agreement is seen as one colour.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.images.colors import cluster_color
from app.results.figures import final_group, final_kind, measured
from maskdistill.datasets import IGNORE_INDEX

_UNKNOWN = {"name": "left open", "colour": "#969696", "key": ""}
_BACKGROUND = "background"


@dataclass(frozen=True)
class Names:
    """Names of clusters and classes, and which stands for which."""

    cluster_names: tuple[str, ...]  # of clusters 1 to K, as people gave them
    classes: tuple[str, ...] = ()  # of the ground truth, without background; empty without it
    matching: Mapping[int, int] = field(default_factory=dict)  # cluster -> class; 0 -> 0 among them

    @property
    def num_clusters(self) -> int:
        """K."""
        return len(self.cluster_names)

    def cluster(self, label: int) -> str:
        """A cluster with the class that it stands for, if that is known and called otherwise: "cluster 3 · cow"."""
        own = self.cluster_names[label - 1]
        matched = self.class_of(label)
        return own if matched is None or matched.lower() == own.lower() else f"{own} · {matched}"

    def class_of(self, label: int) -> str | None:
        """Name of the class that a cluster stands for."""
        matched = self.matching.get(label)
        return None if matched is None else ("background", *self.classes)[matched]

    def clusters(self) -> dict[int, dict[str, str]]:
        """name, colour and key of every value of a run's own label maps; values of one key mean the same."""
        found = {
            label: {"name": self.cluster(label), "colour": cluster_color(label), "key": self._key(label)}
            for label in range(1, self.num_clusters + 1)
        }
        return _BASE | found

    def truth(self) -> dict[int, dict[str, str]]:
        """The same of ground truth; a class without a cluster has a colour that no cluster has."""
        clusters = {label: cluster for cluster, label in self.matching.items() if cluster}
        found = {IGNORE_INDEX: _UNKNOWN | {"name": "not labelled"}}
        for label, name in enumerate(self.classes, start=1):
            cluster = clusters.get(label, self.num_clusters + label)
            found[label] = {"name": name, "colour": cluster_color(cluster), "key": f"class {label}"}
        return _BASE | found

    def other_run(self, names: Sequence[str], matching: Mapping[int, int]) -> dict[int, dict[str, str]]:
        """The same of another run's label maps, its clusters in the colours of those of this run that they match.

        Args:
            names: Of the other run's clusters, from 1.
            matching: Its clusters -> this run's.
        """
        found = {}
        for label, name in enumerate(names, start=1):
            own = matching.get(label, 0)
            if own:
                entry = {"name": f"{name} = {self.cluster(own)}", "key": self._key(own)}
            else:
                entry = {"name": f"{name}, only there", "key": f"other {label}"}
            found[label] = entry | {"colour": cluster_color(own or self.num_clusters + len(self.classes) + label)}
        return _BASE | found

    def _key(self, label: int) -> str:
        matched = self.matching.get(label)
        return f"cluster {label}" if matched is None else _BACKGROUND if matched == 0 else f"class {matched}"


_BASE = {
    0: {"name": "background", "colour": "", "key": _BACKGROUND},
    IGNORE_INDEX: _UNKNOWN,
}


def names_of(num_clusters: int, name_of: Callable[[int], str], metrics: Mapping[str, Any] | None) -> Names:
    """Names from what people called the clusters and from how the final label maps were matched.

    Args:
        num_clusters: K.
        name_of: What a cluster is called.
        metrics: metrics.json, if there is one.
    """
    names = tuple(name_of(label) for label in range(1, num_clusters + 1))
    found = measured(metrics, final_group(metrics)) if metrics else {}
    if not found:
        return Names(names)
    classes = tuple(metrics["classes"])
    places = {name: place for place, name in enumerate(("background", *classes))}
    matched = found[final_kind(found)]["matching"]
    return Names(names, classes, {int(cluster): places[name] for cluster, name in matched.items()})
