"""Settings of the further rounds after stage 2, in which the final model is trained on its own label maps."""

from dataclasses import dataclass

from maskdistill.config.settings import check_values, setting


@dataclass(frozen=True, kw_only=True)
class RoundsConfig:
    """The model labels the training photos and is trained again on that, with the settings and seed of stage 2."""

    count: int = setting(0, "rounds after stage 2, at most; 0: none", "[0, 100]", unit="rounds", basic=True)
    crf: bool = setting(True, "refine the model's predictions by the dense CRF before they become labels", basic=True)
    stop_at: float = setting(
        0.99, "no round follows once this share of the labelled pixels keeps its label", "(0, 1]", basic=True
    )

    def __post_init__(self) -> None:
        check_values(RoundsConfig, vars(self), "rounds.")
