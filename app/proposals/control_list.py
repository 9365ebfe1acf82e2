"""The settings people can move: label, unit, range, and a sentence for a student."""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["slider", "choice", "segments", "blocks"]
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Control:
    """One setting and how it is drawn."""

    name: str  # section.name
    label: str
    help: str
    kind: Kind = "slider"
    low: float = 0
    high: float = 1
    step: float = 0.01
    options: dict[str, str] = field(default_factory=dict)  # value -> what people read


ENGINE = Control(
    name="proposals.engine",
    label="Engine",
    help="Normalised cut: the graph of patches is cut in two. Published rule: attention seeds, keys spread.",
    kind="segments",
    options={"ncut": "Normalised cut", "published": "Published"},
)
NCUT = (
    Control(
        name="proposals.tau",
        label="Link threshold τ (cosine)",
        help="Two patches are linked if their cosine is above it. Higher: fewer links, tighter masks.",
        low=-0.2,
        high=0.8,
    ),
    Control(
        name="proposals.num_objects",
        label="Objects, at most",
        help="The cut is repeated on what is left; pieces that are too small or overlap an earlier one are dropped.",
        low=1,
        high=5,
        step=1,
    ),
    Control(
        name="proposals.foreground",
        label="Foreground",
        help="Which side of the cut is the object. Attended: the one off the border, unless CLS attends to the other "
        "at least twice as much per patch. Border: the one that touches the border less. Largest: the one with the "
        "largest value.",
        kind="segments",
        options={"attended": "Attended", "border": "Border", "largest": "Largest"},
    ),
    Control(
        name="proposals.refine_steps",
        label="Refinement (rounds)",
        help="Rounds in which each patch joins the nearer of two mean directions, object or rest. 0 keeps the cut.",
        low=0,
        high=6,
        step=1,
    ),
)
NCUT_MORE = (
    Control(
        name="proposals.feature",
        label="Feature",
        help="What patches are compared by. DINO's keys cut well, DINOv2's do not; auto knows the backbone.",
        kind="segments",
        options={AUTO: "Auto", "tokens": "Tokens", "keys": "Keys"},
    ),
    Control(
        name="proposals.blocks",
        label="Blocks of the tokens",
        help="Cosines of these blocks are averaged. None chosen: the backbone's default.",
        kind="blocks",
    ),
    Control(
        name="proposals.views",
        label="Second view",
        help="A look at the mirrored, smaller photo: averaged into the mask, for the score only, or not at all.",
        kind="segments",
        options={"merge": "Merge", "score": "Score", "none": "None"},
    ),
    Control(
        name="proposals.component",
        label="Pieces kept",
        help="All large pieces, or the one with the seed. Auto: the seed's, if several objects are looked for.",
        kind="segments",
        options={AUTO: "Auto", "large": "Large", "seed": "Seed's"},
    ),
    Control(
        name="proposals.min_piece",
        label="Smallest piece (share of the largest)",
        help="Connected pieces below this share of the largest one's area are dropped.",
    ),
)
PUBLISHED = (
    Control(
        name="proposals.topk",
        label="Top patches (share of all)",
        help="So many patches with the most CLS attention are candidates. Published: 0.4.",
        low=0.01,
    ),
    Control(
        name="proposals.mass",
        label="Attention mass kept (share)",
        help="CLS attention outside this share of its mass is set to zero. Published: 0.5.",
        low=0.01,
    ),
    Control(
        name="proposals.num_heads",
        label="Heads averaged",
        help="CLS attention is the mean of so many first heads. Published: 5 of 6.",
        low=1,
        high=6,
        step=1,
    ),
)
CRF = (
    Control(
        name="crf.iterations",
        label="Iterations",
        help="Rounds of mean-field inference. Published: 10.",
        low=1,
        high=20,
        step=1,
    ),
    Control(
        name="crf.bilateral_weight",
        label="Colour weight",
        help="Pull of pixels that are near and alike in colour. Published: 4.",
        low=0,
        high=12,
        step=0.5,
    ),
    Control(
        name="crf.bilateral_sigma_xy",
        label="Colour reach (pixels)",
        help="How far pixels of like colour pull each other. Published: 67.",
        low=1,
        high=150,
        step=1,
    ),
    Control(
        name="crf.bilateral_sigma_rgb",
        label="Colour tolerance (grey levels of 255)",
        help="How different colours may be and still pull each other. Published: 3.",
        low=1,
        high=30,
        step=0.5,
    ),
    Control(
        name="crf.max_pixels",
        label="Working size, at most (pixels)",
        help="Larger photos are refined on a copy of this size, which is faster. 0: always the photo's own pixels.",
        low=0,
        high=1_000_000,
        step=10_000,
    ),
    Control(
        name="crf.min_agreement",
        label="Gate (IoU)",
        help="The refined mask is taken only if its IoU with the mask before is at least this.",
    ),
)
