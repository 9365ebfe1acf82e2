"""Settings of the predictions and of the report."""

from dataclasses import dataclass

from maskdistill.config.checks import check_range


@dataclass(frozen=True, kw_only=True)
class PredictionConfig:
    """Which label maps are made once the models are trained."""

    split: str = "auto"  # photos that the report is about: "val", "train", "all"; "auto": val where there is one
    crf: bool = True  # also with the dense CRF, by the settings of ``crf``; needs pydensecrf


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What the report holds. Ground truth is used here and nowhere else."""

    num_seeds: int = 3  # seeds of the clustering whose mean and spread are reported; 0 leaves that out
    probe: bool = False  # train a linear probe and a head of the same size with labels, for comparison

    def __post_init__(self) -> None:
        check_range("evaluation.num_seeds", self.num_seeds, 0, 100)
