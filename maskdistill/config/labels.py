"""Settings of the filter, the third idea of the method, and of the label maps painted from what it keeps."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.checks import check_range


@dataclass(frozen=True, kw_only=True)
class CandidateConfig:
    """Objects that the first model sees where no proposal was."""

    min_area: float = 0.005  # fraction of the photo below which such an object is left out

    def __post_init__(self) -> None:
        check_range("candidates.min_area", self.min_area, 0, 1)


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """Which masks the first model believes enough to keep. A threshold at its neutral end, the default, does nothing.

    ``maskdistill.filtering`` says in which order they apply and what a person's decision does.
    """

    min_score: float = 0.0  # stage 1's mean probability of the mask's class inside it, [0, 1]; published 0.9
    min_iou: float = 0.0  # IoU of the proposal with what stage 1 predicts there, [0, 1]
    min_agreement: float = 0.0  # share of the mask in which stage 1 predicts its cluster, [0, 1]
    max_distance: float = 1.0  # quantile of the distance to the cluster's centre, among all of the cluster, [0, 1]
    min_area: float = 0.0  # fraction of the photo, [0, 1]
    max_area: float = 1.0  # fraction of the photo, [0, 1]
    max_border: float = 1.0  # share of the photo's border that the mask covers, [0, 1]
    keep_share: float = 1.0  # share of each cluster that is kept, the best by score among all of it, (0, 1]
    min_per_cluster: int = 0  # a cluster gets its best back up to this number of masks, whatever the thresholds say
    empty_photos: Literal["best", "none"] = "best"  # a photo left without a mask keeps its best (published), or none

    def __post_init__(self) -> None:
        for name in ("min_score", "min_iou", "min_agreement", "max_distance", "min_area", "max_area", "max_border"):
            check_range(f"filter.{name}", getattr(self, name), 0, 1)
        check_range("filter.keep_share", self.keep_share, 1e-6, 1)
        check_range("filter.min_per_cluster", self.min_per_cluster, 0, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How kept masks become a label map; 255 is uncertain, and no loss sees it."""

    masks: Literal["stage1", "proposals"] = "stage1"  # as stage 1 draws them (published), or the proposals themselves
    classes: Literal["stage1", "clusters"] = "stage1"  # the class that stage 1 gives a mask (published), or its cluster
    min_probability: float = 0.0  # pixels of which stage 1 is less sure become 255, [0, 1]
    border_band: int = 0  # pixels on each side of a visible edge between labels that become 255
    ignore_dropped: bool = True  # dropped masks, where no kept one covers them, become 255 rather than background

    def __post_init__(self) -> None:
        check_range("labels.min_probability", self.min_probability, 0, 1)
        check_range("labels.border_band", self.border_band, 0, 100)
