"""Settings of the mask embeddings, of their clusters and of their map."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.settings import check_values, setting
from maskdistill.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig:
    """How each mask becomes vectors: its crop through the frozen backbone, and the photo's tokens under it."""

    margin: float = setting(
        0.1, "context around the mask's box on each side, as a fraction of its width and height", "[0, 2]", basic=True
    )
    crop_side: int = setting(
        224, "side to which the crop is resized, rounded to whole patches", "[28, 2048]", unit="pixels"
    )
    background: Literal["keep", "mean"] = setting(
        "keep", "pixels outside the mask: as they are (published), or the mean colour", basic=True
    )
    mirror: bool = setting(True, "average with the mirror image of the crop")
    blocks: tuple[int, ...] = setting((), "blocks, from 1, whose CLS tokens are kept; none: the last four")

    def __post_init__(self) -> None:
        check_values(EmbeddingConfig, vars(self), "embeddings.")


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Clusters of the embeddings."""

    by: Literal["vectors", "categories"] = setting(
        "vectors",
        "vectors: masks that look alike; categories: those that came with masks made elsewhere are taken as classes",
        label="Classes are",
    )
    num_classes: int = setting(
        0,
        "number of clusters K; 0: the curve of bootstrap agreement suggests it",
        "[2, 254]",
        zero="suggest",
        basic=True,
    )
    method: Literal["consensus", "kmeans"] = setting(
        "consensus", "consensus: what many K-means runs agree on; kmeans: the run of least inertia", basic=True
    )
    embedding: str = setting("auto", 'which vectors, as "CLS 12"; auto: chosen by neighbour agreement', basic=True)
    dimensions: int = setting(0, "dimensions after PCA; 0: chosen by neighbour agreement; -1: no PCA", "[-1, 4096]")
    whiten: bool = setting(True, "scale each dimension to variance 1")
    normalise: bool = setting(True, "scale each vector to length 1")
    num_seeds: int = setting(20, "kmeans: runs, the one of least inertia is kept", "[1, 1000]")
    num_spaces: int = setting(
        12, "consensus: embeddings that the runs use in turn, those of best neighbour agreement", "[1, 1000]"
    )
    num_rounds: int = setting(120, "consensus: runs, each with a number of clusters of its own", "[1, 10000]")
    soft_runs: int = setting(
        0,
        "clusterings of further seeds that are made too, so that a patch_head learns for each mask the share of them "
        "that puts it in each class; 0: each mask is wholly of its cluster",
        "[2, 100]",
        zero="off",
        label="Clusterings that share a mask",
    )
    overcluster: int = setting(
        0, "kmeans: clusters made first, then merged by Ward's rule to num_classes; 0: no merging", "[0, inf)"
    )
    minibatch_from: int = setting(20_000, "number of masks from which K-means works in mini-batches", "[0, inf)")
    fit_to: Literal["all", "first"] = setting(
        "all",
        "masks that the clusters are made of: all, or the first of each photo; others go to the nearest centre",
        label="Clusters are made of",
    )
    leave_out_doubtful: bool = setting(
        False,
        "clusters of bad masks, as the foreground across photos tells them, are no classes and beside K; people may "
        "include them again; false: they are only named",
        label="Leave doubtful clusters out",
    )
    support: str = setting("", "a second folder of photos, used for the clustering only")

    def __post_init__(self) -> None:
        check_values(ClusterConfig, vars(self), "clusters.")
        if self.overcluster and self.overcluster < max(2, self.num_classes):
            raise ConfigError(
                f"clusters.overcluster must be 0 or at least num_classes ({self.num_classes}), got {self.overcluster}."
            )


@dataclass(frozen=True, kw_only=True)
class ProjectionConfig:
    """UMAP of the embeddings to two dimensions (McInnes et al., 2018)."""

    num_neighbors: int = setting(
        15, "masks that each mask is placed near; more of them show the coarse structure", "[2, 200]", basic=True
    )
    min_dist: float = setting(0.1, "least distance between points, in units of the map", "[0, 1]", basic=True)
    num_epochs: int = setting(200, "rounds of optimization", "[1, 5000]")
    most_unfolded: int = setting(
        200_000,
        "masks that the map is made of, as many of each cluster; others are placed among them",
        "[100, 10000000]",
    )

    def __post_init__(self) -> None:
        check_values(ProjectionConfig, vars(self), "projection.")
