"""Settings of the mask embeddings, of their clusters and of their map."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.checks import check_range
from maskdistill.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig:
    """How each mask becomes vectors: its crop through the frozen backbone, and the photo's tokens under it."""

    margin: float = 0.1  # context around the mask's box, as a fraction of its width and height, on each side
    crop_side: int = 224  # pixels, side the crop is read at, rounded to whole patches
    background: Literal["keep", "mean"] = "keep"  # pixels outside the mask: as they are (published) / the mean colour
    mirror: bool = True  # average with the mirror image of the crop
    blocks: tuple[int, ...] = ()  # block numbers from 1 whose CLS tokens are kept; () the last four

    def __post_init__(self) -> None:
        check_range("embeddings.margin", self.margin, 0, 2)
        check_range("embeddings.crop_side", self.crop_side, 28, 2048)


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Clusters of the embeddings."""

    num_classes: int = 0  # K; 0: the curve of bootstrap agreement suggests it
    method: Literal["consensus", "kmeans"] = "consensus"  # what many K-means runs agree on / the run of least inertia
    embedding: str = "auto"  # which vectors; "auto": chosen by neighbour agreement. clusters.json names them
    dimensions: int = 0  # after PCA; 0: chosen by neighbour agreement; -1: no PCA
    whiten: bool = True  # each dimension to variance 1
    normalise: bool = True  # each vector to length 1
    num_seeds: int = 20  # "kmeans": runs, the one of least inertia is kept
    num_spaces: int = 12  # "consensus": embeddings that the runs take in turn, the best by neighbour agreement
    num_rounds: int = 120  # "consensus": runs, each with a number of clusters of its own
    overcluster: int = 0  # "kmeans": this many clusters first, merged by Ward's rule to num_classes; 0 does not
    minibatch_from: int = 20_000  # masks from which mini-batch K-means is used
    support: str = ""  # a second folder of photos that only helps the clustering

    def __post_init__(self) -> None:
        if self.num_classes < 0 or self.num_classes == 1 or self.num_classes > 254:
            raise ConfigError(f"clusters.num_classes must be 0 (suggest) or in [2, 254], got {self.num_classes}.")
        if self.overcluster and self.overcluster < max(2, self.num_classes):
            raise ConfigError(
                f"clusters.overcluster must be 0 or at least num_classes ({self.num_classes}), got {self.overcluster}."
            )
        check_range("clusters.dimensions", self.dimensions, -1, 4096)
        check_range("clusters.num_seeds", self.num_seeds, 1, 1000)
        check_range("clusters.num_spaces", self.num_spaces, 1, 1000)
        check_range("clusters.num_rounds", self.num_rounds, 1, 10_000)


@dataclass(frozen=True, kw_only=True)
class ProjectionConfig:
    """UMAP of the embeddings to two dimensions (McInnes et al., 2018)."""

    num_neighbors: int = 15
    min_dist: float = 0.1
    num_epochs: int = 200

    def __post_init__(self) -> None:
        check_range("projection.num_neighbors", self.num_neighbors, 2, 200)
        check_range("projection.min_dist", self.min_dist, 0, 1)
        check_range("projection.num_epochs", self.num_epochs, 1, 5000)
