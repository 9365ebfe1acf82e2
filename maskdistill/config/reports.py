"""Settings of the predictions and of the report."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.settings import check_values, setting


@dataclass(frozen=True, kw_only=True)
class PredictionConfig:
    """Which label maps are made once the models are trained."""

    split: str = setting("auto", "photos of the report: val, train, all; auto: val where there is one", basic=True)
    crf: bool = setting(True, "also with the dense CRF, by the settings of crf; needs pydensecrf", basic=True)
    object_prior: Literal["auto", "always", "never"] = setting(
        "never",
        "the final model settles on one class a connected piece of foreground, by its mean there; auto: where masks of "
        "several classes share few photos",
        label="One class an object",
        basic=True,
    )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What the report holds. Ground truth is used here and nowhere else."""

    num_seeds: int = setting(
        3, "seeds of the clustering whose mean and spread are reported; 0 leaves that out", "[0, 100]", basic=True
    )
    probe: bool = setting(
        False, "train a linear probe and a head of the same size with labels, for comparison", basic=True
    )

    def __post_init__(self) -> None:
        check_values(EvaluationConfig, vars(self), "evaluation.")
