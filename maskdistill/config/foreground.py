"""Settings of the foreground that is learnt across photos."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.settings import check_values, setting

ForegroundMasks = Literal["auto", "recut", "rank"]


@dataclass(frozen=True, kw_only=True)
class ForegroundConfig:
    """A small head on the patches of all photos, taught by their cut masks: what other photos say of this one."""

    enabled: bool = setting(
        False,
        "learn across all photos what is foreground, and correct the masks by it; false: the masks stay as cut",
        label="Foreground across photos",
        basic=True,
    )
    masks: ForegroundMasks = setting(
        "auto",
        "recut: the mask becomes the learnt foreground; rank: masks keep their shape, their scores change; auto: recut "
        "where a photo has one mask, else rank",
        label="What becomes of the masks",
        basic=True,
    )
    folds: int = setting(
        5, "parts of the photos; each is judged by a head that never saw it", "[2, 20]", label="Folds", unit="parts"
    )
    dimensions: int = setting(
        192, "dimensions that PCA leaves of a patch's tokens", "[2, 4096]", label="Dimensions after PCA"
    )
    hidden: int = setting(64, "width of the head's hidden layer", "[1, 4096]", label="Hidden units")
    steps: int = setting(
        600, "steps of training, each on 2048 random patches", "[1, 100000]", label="Training length", unit="steps"
    )

    def __post_init__(self) -> None:
        check_values(ForegroundConfig, vars(self), "foreground.")
