"""Settings of the mask embeddings, of their clusters and of their map."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.checks import check_range
from maskdistill.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig:
    """How each mask becomes a vector: its crop goes through the frozen backbone."""

    margin: float = 0.1  # context around the mask's box, as a fraction of the box's side, on each side
    crop_side: int = 224  # pixels, side the crop is read at
    background: Literal["keep", "mean"] = "keep"  # pixels outside the mask: as they are (published) / the mean colour
    blocks: tuple[int, ...] = ()  # block numbers from 1 whose CLS tokens are taken; () takes the backbone's default
    pooled_blocks: tuple[int, ...] = ()  # blocks whose patch tokens inside the mask are averaged as well; () none

    def __post_init__(self) -> None:
        check_range("embeddings.margin", self.margin, 0, 2)
        check_range("embeddings.crop_side", self.crop_side, 28, 2048)


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """K-means on the embeddings."""

    num_classes: int = 0  # K; 0: the curve of bootstrap agreement suggests it
    dimensions: int = 0  # after PCA; 0: chosen by neighbour agreement; -1: no PCA
    whiten: bool = True  # each dimension to variance 1
    normalise: bool = True  # each vector to length 1
    num_seeds: int = 20  # K-means runs, the one of least inertia is kept
    overcluster: int = 0  # this many clusters first, merged by Ward's rule to num_classes; 0 does not
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
