"""Settings of the head that finds single objects."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.settings import check_values, setting
from maskdistill.config.training import TrainConfig

MOST_HEADS = 10


@dataclass(frozen=True, kw_only=True)
class InstanceConfig:
    """Further heads on the same tokens: taught where one object ends, by the pool and by composites."""

    enabled: Literal["auto", "on", "off"] = setting(
        "off",
        "find single objects by heads of their own; auto: where the photos hold several; needs foreground.enabled",
        label="Single objects",
        basic=True,
    )
    folds: int = setting(
        2,
        "heads, each of which judges a part of the photos and learns from the others; 1: one learns from all it judges",
        f"[1, {MOST_HEADS}]",
        label="Heads",
    )
    composites: int = setting(
        500,
        "photos made of objects cut out of others, whose masks are exact, for all heads together; 0: they learn from "
        "the pool alone",
        "[0, 100000]",
        label="Composites",
        unit="photos",
        basic=True,
    )
    epochs: int = setting(5, "number of passes over photos and composites", "[1, 100000]", label="Epochs", basic=True)
    learning_rate: float = setting(2e-3, "learning rate at its peak", "[0, 100]", step=0.001)
    targets: int = setting(6, "masks of each photo that a head learns from, at most", "[1, 100]", unit="masks")
    least_target: float = setting(
        0.25, "a mask is learnt from if its score is at least this share of a usual photo's best", "[0, 1]"
    )
    confident: float = setting(0.6, "share of the photos, by their best mask's score, that give cut-outs", "(0, 1]")
    overlap: float = setting(0.7, "overlap (IoU) above which the lower-scored of two masks is dropped", "[0, 1]")
    most: int = setting(100, "masks a photo, at most", "[1, 1000]", label="Masks a photo", unit="masks", basic=True)

    def __post_init__(self) -> None:
        check_values(InstanceConfig, vars(self), "instances.")

    @property
    def training(self) -> TrainConfig:
        """The training of the head as the loop takes it: one photo a step, as each has its own grid."""
        return TrainConfig(
            epochs=self.epochs,
            batch_size=1,
            learning_rate=self.learning_rate,
            weight_decay=1e-2,
            warmup=0.02,
            clip_norm=5.0,
        )
