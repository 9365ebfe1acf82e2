"""Settings of the frozen features, of the masks taken out of them, and of the CRF."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.settings import check_values, setting

Component = Literal["auto", "large", "seed"]
Engine = Literal["ncut", "published"]
FeatureKind = Literal["auto", "tokens", "keys", "queries", "values"]
Foreground = Literal["attended", "border", "largest"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Views = Literal["none", "score", "merge"]
Switch = Literal["auto", "on", "off"]
Auto = Literal["auto"]

MOST_OBJECTS = 10  # masks of a photo


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Which frozen transformer reads the photos, and at which size."""

    backbone: str = setting("auto", "a short name, a timm name, or the path of a .safetensors or .pth file", basic=True)
    architecture: str = setting("", "timm name of the model that a file of weights belongs to")
    shorter_side: int = setting(
        0, "size the photo is read at", "[28, 2048]", unit="pixels", zero="the backbone's default", basic=True
    )
    fit: Literal["resize", "pad"] = setting(
        "resize", "how the sides become whole patches; the paper pads", label="Fit to whole patches"
    )
    device: str = setting("auto", "auto, cpu, cuda, cuda:1 or mps", basic=True)
    precision: Precision = setting("auto", "number format of the forward pass; auto: what is fast on the device")
    runtime: Literal["torch", "compiled"] = setting("torch", "what runs the blocks; compiled: torch.compile, for GPUs")
    batch_size: int = setting(
        0,
        "photos in one forward pass while masks are made; those of one shape go together",
        "[1, 32]",
        zero="8 on an NVIDIA GPU, else 1",
    )
    head_blocks: tuple[int, ...] = setting((), "blocks, from 1, whose patch tokens the head reads; none: the default")
    store: bool = setting(
        True,
        "keep the head's tokens on disk, 1.2 MB a photo at 336 pixels; training needs them",
        label="Keep tokens on disk",
    )
    tokens: Literal["float16", "compact"] = setting(
        "float16",
        "what is kept of them; compact: 8 bits on each of 128 principal axes, a twelfth of the disk",
        label="Tokens on disk",
    )

    def __post_init__(self) -> None:
        check_values(FeatureConfig, vars(self), "features.")


@dataclass(frozen=True, kw_only=True)
class ProposalConfig:
    """How object masks are taken out of the features. Published values: preset ``paper-voc``."""

    engine: Engine = setting(
        "ncut",
        "ncut: the graph of patches is cut in two; published: attention chooses seeds, keys spread them",
        basic=True,
    )
    num_objects: int | Auto = setting(
        "auto",
        "ncut: most masks per photo, by cuts repeated on the rest; auto: as many as the scores of the pool carry, one "
        "on a photo of one object",
        "[1, 10]",
        label="Objects, at most",
        usual="[1, 5]",
        word="auto",
        basic=True,
    )
    pool: Switch = setting(
        "auto",
        "ncut: candidates at every size, by a tree of cuts of each view; auto: where num_objects is auto",
        label="Pool of candidates",
    )
    pool_depth: int = setting(
        6, "how often each side of a cut is cut again", "[1, 10]", label="Cuts, one after another"
    )
    pool_joins: bool = setting(
        False,
        "candidates by joining neighbours that are alike, too, beside those of the cuts: more of the small and medium "
        "objects of a scene; wants a larger pool_size",
        label="Joined parts too",
    )
    pool_size: int = setting(
        150, "candidates kept of each view, the best by themselves", "[1, 1000]", label="Candidates a view, at most"
    )
    pool_keep: float = setting(
        0.4,
        "IoU with the best candidate from which the photo's one mask stays the first; higher: candidates replace it "
        "more often",
        "[0, 1]",
        label="Mask that stays (IoU)",
    )
    pool_share: float = setting(
        0.1,
        "least score of a further mask of a scene, as a share of the best candidate's; lower: more masks a photo",
        "[0, 1]",
        label="Least score (share of the best)",
    )
    feature: FeatureKind = setting(
        "auto",
        "ncut: what patches are compared by; keys suit DINO, tokens DINOv2; auto: the backbone's default; see "
        "maskdistill probe-features",
    )
    blocks: tuple[int, ...] = setting(
        (),
        "ncut: blocks, from 1, whose cosines are averaged; none: the backbone's default, of what is not its default "
        "feature the last one",
        label="Blocks compared",
    )
    tau: float = setting(
        0.2,
        "ncut: two patches are linked if their cosine is above it; higher: fewer links, smaller masks",
        "[-1, 1]",
        label="Link threshold τ (cosine)",
        usual="[-0.2, 0.8]",
        basic=True,
    )
    foreground: Foreground = setting(
        "attended",
        "ncut: the part that is the object; border: touches the border less; attended: likewise, unless CLS attends "
        "to the other twice as much; largest: has the largest value",
    )
    component: Component = setting(
        "auto",
        "connected components kept: all large ones, or the one with the seed; auto: large for one object, else seed",
        label="Components kept",
    )
    min_piece: float = setting(
        0.1,
        "ncut: components below this share of the largest one's area are dropped",
        "[0, 1]",
        label="Smallest component (share of the largest)",
    )
    refine_steps: int = setting(
        2,
        "ncut: rounds in which each patch joins the nearer of two mean directions, object or rest; 0: none",
        "[0, 20]",
        label="Refinement (rounds)",
        usual="[0, 6]",
    )
    refine_blocks: tuple[int, ...] = setting(
        (), "blocks, from 1, compared in the refinement; none: the backbone's default"
    )
    smooth: bool = setting(
        True, "interpolate to pixels, then split; false: split patches, then nearest pixels", label="Smooth outlines"
    )
    min_area: float = setting(
        0.01, "fraction of the photo below which a further object is dropped", "[0, 1]", step=0.001
    )
    max_overlap: float = setting(0.5, "IoU with an earlier object above which a further one is dropped", "[0, 1]")
    views: Views = setting(
        "merge",
        "ncut: use of the smaller mirror image: averaged into the mask and the score, the score only, or not at all",
        label="Second view",
    )
    view_scale: float = setting(
        0.75, "size of the second view, as a share of the first; above 1 finds small objects", "[0.25, 2]"
    )
    num_heads: int = setting(
        5,
        "published: CLS attention is the mean of the first heads, this many; the paper takes 5 of 6",
        "[1, 64]",
        label="Heads averaged",
        usual="[1, 6]",
    )
    topk: float = setting(
        0.4,
        "published: share of patches, those with the most CLS attention, that are candidates; the paper takes 0.4",
        "(0, 1]",
        label="Top patches (share of all)",
        basic=True,
    )
    mass: float = setting(
        0.5,
        "published: share of the CLS attention that is kept, the strongest first; the paper takes 0.5",
        "(0, 1]",
        label="Attention mass kept (share)",
        basic=True,
    )

    def __post_init__(self) -> None:
        check_values(ProposalConfig, vars(self), "proposals.")

    @property
    def interpolates(self) -> bool:
        """Whether maps are interpolated to pixels; the published rule keeps whole patches."""
        return self.smooth and self.engine != "published"

    @property
    def seed_component_only(self) -> bool:
        """Whether only the connected component that holds the seed is kept."""
        return self.component == "seed" or (self.component == "auto" and self.num_cuts > 1)

    @property
    def num_cuts(self) -> int:
        """Cuts of a photo that are to be objects by themselves."""
        return 1 if self.num_objects == "auto" else self.num_objects

    @property
    def makes_pool(self) -> bool:
        """Whether candidates of every size are kept."""
        wanted = self.pool == "on" or (self.pool == "auto" and self.num_objects == "auto")
        return wanted and self.engine == "ncut"

    @property
    def chooses_from_pool(self) -> bool:
        """Whether a photo's masks are as many as the scores of its candidates carry."""
        return self.makes_pool and self.num_objects == "auto"


@dataclass(frozen=True, kw_only=True)
class CrfConfig:
    """Dense CRF of Krähenbühl and Koltun (NIPS 2011) at image resolution; published weights and widths."""

    enabled: bool = setting(
        False,
        "refine the proposals by the photo's colours, at image resolution; predictions have a setting of their own",
        label="CRF refinement",
        basic=True,
    )
    iterations: int = setting(10, "rounds of mean-field inference", "[1, 100]", usual="[1, 20]", basic=True)
    max_pixels: int = setting(
        120_000,
        "larger photos are refined on a copy of this size, which is faster",
        "[1000, inf)",
        label="Working size, at most",
        usual="[0, 1000000]",
        unit="pixels",
        zero="no limit",
        step=10_000,
    )
    gaussian_weight: float = setting(3.0, "how strongly near pixels pull each other", "[0, 1000]", step=0.5)
    gaussian_sigma: float = setting(
        1.0, "distance over which near pixels pull each other", "[0.1, 1000]", unit="pixels", step=0.5
    )
    bilateral_weight: float = setting(
        4.0,
        "how strongly near pixels of similar colour pull each other",
        "[0, 1000]",
        label="Colour weight",
        usual="[0, 12]",
        step=0.5,
    )
    bilateral_sigma_xy: float = setting(
        67.0,
        "distance over which pixels of similar colour pull each other",
        "[0.1, 1000]",
        label="Colour reach",
        usual="[1, 150]",
        unit="pixels",
        step=1,
    )
    bilateral_sigma_rgb: float = setting(
        3.0,
        "how different colours may be and still pull each other",
        "[0.1, 1000]",
        label="Colour tolerance",
        usual="[1, 30]",
        unit="grey levels of 255",
        step=0.5,
    )
    min_agreement: float = setting(
        0.5,
        "IoU with the mask before, below which the refined mask is not taken",
        "[0, 1]",
        label="Least agreement (IoU)",
    )

    def __post_init__(self) -> None:
        check_values(CrfConfig, vars(self), "crf.")
