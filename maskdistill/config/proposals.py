"""Settings of the frozen features, of the masks taken out of them, and of the CRF."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.settings import check_values, setting

Component = Literal["auto", "large", "seed"]
Engine = Literal["ncut", "published"]
FeatureKind = Literal["auto", "tokens", "keys"]
Foreground = Literal["attended", "border", "largest"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Views = Literal["none", "score", "merge"]


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Which frozen transformer reads the photos, and at which size."""

    backbone: str = setting("auto", "a short name, a timm name, or the path of a .safetensors or .pth file", basic=True)
    architecture: str = setting("", "timm name of the model that a file of weights belongs to")
    shorter_side: int = setting(
        0, "size the photo is read at", "[28, 2048]", unit="pixels", zero="the backbone's default", basic=True
    )
    fit: Literal["resize", "pad"] = setting("resize", "how the sides become whole patches; pad is the published way")
    device: str = setting("auto", "auto, cpu, cuda, cuda:1 or mps", basic=True)
    precision: Precision = setting("auto", "number format of the forward pass; auto: what is fast on the device")
    head_blocks: tuple[int, ...] = setting((), "blocks, from 1, whose patch tokens the head reads; none: the default")
    store: bool = setting(True, "keep the head's tokens on disk, 1.2 MB a photo at 336 pixels; training needs them")

    def __post_init__(self) -> None:
        check_values(FeatureConfig, vars(self), "features.")


@dataclass(frozen=True, kw_only=True)
class ProposalConfig:
    """How object masks are taken out of the features. Published values: METHOD names in each engine's docstring."""

    engine: Engine = setting("ncut", "normalised cut of the graph of patches, or the published rule", basic=True)
    num_objects: int = setting(1, "at most so many masks per photo; published gives one", "[1, 10]", basic=True)
    feature: FeatureKind = setting("auto", "which features make the affinity; auto: the backbone's default")
    blocks: tuple[int, ...] = setting((), "blocks, from 1, whose cosines are averaged; none: the backbone's default")
    tau: float = setting(0.2, "ncut: cosine above which two patches are linked", "[-1, 1]", basic=True)
    foreground: Foreground = setting(
        "attended",
        "the object: the side off the border, unless CLS prefers the other / off the border / of largest |value|",
    )
    component: Component = setting(
        "auto", "pieces kept: all large ones, or the seed's; auto: the seed's if several objects are looked for"
    )
    min_piece: float = setting(0.1, "share of the largest piece's area below which a piece is dropped", "[0, 1]")
    refine_steps: int = setting(
        2, "rounds of assigning patches to the nearer of two mean directions; 0 keeps the cut as it is", "[0, 20]"
    )
    refine_blocks: tuple[int, ...] = setting(
        (), "blocks, from 1, compared in the refinement; none: the backbone's default"
    )
    smooth: bool = setting(True, "interpolate to pixels, then split; false: split patches, then nearest pixels")
    min_area: float = setting(
        0.01, "fraction of the photo below which a further object is dropped", "[0, 1]", step=0.001
    )
    max_overlap: float = setting(0.5, "IoU with an earlier object above which a further one is dropped", "[0, 1]")
    views: Views = setting(
        "merge", "second look, at the smaller mirror image: not at all, for the score only, averaged into the mask too"
    )
    view_scale: float = setting(0.75, "size of the second look, as a fraction of the first", "[0.25, 1]")
    num_heads: int = setting(5, "published: CLS attention is the mean of so many first heads", "[1, 64]")
    topk: float = setting(0.4, "published: fraction of patches kept as candidates", "(0, 1]", basic=True)
    mass: float = setting(0.5, "published: fraction of the attention's mass kept", "(0, 1]", basic=True)

    def __post_init__(self) -> None:
        check_values(ProposalConfig, vars(self), "proposals.")

    @property
    def seed_piece_only(self) -> bool:
        """Whether only the connected piece that holds the seed is kept."""
        return self.component == "seed" or (self.component == "auto" and self.num_objects > 1)


@dataclass(frozen=True, kw_only=True)
class CrfConfig:
    """Dense CRF of Krähenbühl and Koltun (NIPS 2011) at image resolution; published weights and widths."""

    enabled: bool = setting(False, "refine the proposals; predictions.crf says it of the predictions", basic=True)
    iterations: int = setting(10, "rounds of mean-field inference", "[1, 100]", basic=True)
    max_pixels: int = setting(
        120_000, "photos with more are refined on a copy of this size", "[1000, inf)", unit="pixels", zero="no limit"
    )
    gaussian_weight: float = setting(3.0, "pull of pixels that are near", "[0, 1000]", step=0.5)
    gaussian_sigma: float = setting(1.0, "reach of the pull of near pixels", "[0.1, 1000]", unit="pixels", step=0.5)
    bilateral_weight: float = setting(4.0, "pull of pixels that are near and alike in colour", "[0, 1000]", step=0.5)
    bilateral_sigma_xy: float = setting(67.0, "reach of the pull of like colours", "[0.1, 1000]", unit="pixels", step=1)
    bilateral_sigma_rgb: float = setting(
        3.0, "how different colours may be and still pull", "[0.1, 1000]", unit="grey levels of 255", step=0.5
    )
    min_agreement: float = setting(0.5, "IoU with the mask before, below which the refinement is not taken", "[0, 1]")

    def __post_init__(self) -> None:
        check_values(CrfConfig, vars(self), "crf.")
