"""Settings of the filter, the third idea of the method, and of the label maps painted from what it keeps."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.settings import check_values, setting


@dataclass(frozen=True, kw_only=True)
class CandidateConfig:
    """What the filter judges: the proposals as the first model draws them, or the single objects of the photos."""

    objects: Literal["proposals", "instances", "auto"] = setting(
        "proposals",
        "proposals: each as stage 1 draws it; instances: the single objects of the stage of that name; auto: these "
        "where there are any",
        label="Candidates are",
        basic=True,
    )
    min_area: float = setting(
        0.005,
        "smallest object that is added where no proposal was, as a fraction of the photo",
        "[0, 1]",
        step=0.001,
        basic=True,
    )

    def __post_init__(self) -> None:
        check_values(CandidateConfig, vars(self), "candidates.")


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """Which masks the filter keeps. A threshold at its neutral end, the default, does nothing.

    ``maskdistill.pseudo_labels.filter`` documents in which order they apply and what a person's decision does.
    """

    min_score: float = setting(
        0.0, "least mean probability that stage 1 gives the mask's class inside it; published 0.9", "[0, 1]", basic=True
    )
    min_iou: float = setting(0.0, "least IoU of the proposal with what stage 1 predicts there", "[0, 1]")
    min_agreement: float = setting(
        0.0, "least share of the mask in which stage 1 predicts its cluster", "[0, 1]", basic=True
    )
    max_distance: float = setting(
        1.0, "largest distance to the cluster's centre, as a quantile among all of the cluster", "[0, 1]"
    )
    min_area: float = setting(0.0, "smallest mask, as a fraction of the photo", "[0, 1]", step=0.001)
    max_area: float = setting(1.0, "largest mask, as a fraction of the photo", "[0, 1]")
    max_border: float = setting(1.0, "largest share of the photo's border that a mask may cover", "[0, 1]")
    keep_share: float = setting(
        1.0, "share of each cluster that is kept, those of highest score among all its masks", "(0, 1]", basic=True
    )
    min_per_cluster: int = setting(
        0, "least masks that each cluster keeps, those of highest score, whatever the thresholds", "[0, 1000000]"
    )
    empty_photos: Literal["best", "none"] = setting(
        "best", "a photo left without a mask keeps its best one (best, published), or none"
    )

    def __post_init__(self) -> None:
        check_values(FilterConfig, vars(self), "filter.")


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How kept masks become a label map; 255 is uncertain, and left out of every loss."""

    masks: Literal["stage1", "proposals"] = setting(
        "stage1", "as stage 1 draws them (published), or the proposals themselves", basic=True
    )
    classes: Literal["stage1", "clusters"] = setting(
        "stage1", "the class that stage 1 gives a mask (published), or its cluster", basic=True
    )
    min_probability: float = setting(0.0, "pixels of which stage 1 is less sure become 255", "[0, 1]", basic=True)
    border_band: int = setting(
        0, "width on each side of a visible edge between labels that becomes 255", "[0, 100]", unit="pixels"
    )
    ignore_dropped: bool = setting(
        True, "dropped masks become 255, where no kept one covers them, rather than background"
    )

    def __post_init__(self) -> None:
        check_values(LabelConfig, vars(self), "labels.")
