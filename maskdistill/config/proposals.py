"""Settings of the frozen features, of the masks taken out of them, and of the CRF."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.checks import check_range
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
    head_blocks: tuple[int, ...] = ()  # block numbers from 1 whose patch tokens the head reads; () the default
    store: bool = True  # keep those tokens on disk (float16, 1.2 MB a photo at 336 pixels); training needs them

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
        check_range("proposals.num_objects", self.num_objects, 1, 10)
        check_range("proposals.tau", self.tau, -1, 1)
        check_range("proposals.num_heads", self.num_heads, 1, 64)
        check_range("proposals.refine_steps", self.refine_steps, 0, 20)
        check_range("proposals.view_scale", self.view_scale, 0.25, 1)
        for name in ("min_piece", "min_area", "max_overlap"):
            check_range(f"proposals.{name}", getattr(self, name), 0, 1)
        for name in ("topk", "mass"):
            check_range(f"proposals.{name}", getattr(self, name), 1e-6, 1)

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
        check_range("crf.iterations", self.iterations, 1, 100)
        if self.max_pixels and self.max_pixels < 1000:
            raise ConfigError(f"crf.max_pixels must be 0 (no limit) or at least 1000, got {self.max_pixels}.")
        check_range("crf.min_agreement", self.min_agreement, 0, 1)
        for name in ("gaussian_sigma", "bilateral_sigma_xy", "bilateral_sigma_rgb"):
            check_range(f"crf.{name}", getattr(self, name), 0.1, 1000)
