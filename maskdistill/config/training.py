"""Settings of a training: one dataclass for both stages and all models."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.proposals import Precision
from maskdistill.config.settings import check_values, setting

HOW = ("checkpoint_seconds", "processes")  # settings that only decide how the work is done
ModelName = Literal["patch_head", "mask_rcnn", "deeplabv3"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training; a setting that names models is ignored by the others."""

    model: ModelName = setting(
        "patch_head", "network that is trained; mask_rcnn and deeplabv3 are slow without a GPU", basic=True
    )
    epochs: int = setting(10, "number of passes over the photos", "[1, 100000]", basic=True)
    batch_size: int = setting(8, "photos in a step", "[1, 100000]", unit="photos", basic=True)
    optimizer: Literal["adamw", "sgd"] = setting("adamw", "optimizer; the paper uses sgd")
    learning_rate: float = setting(1e-3, "learning rate at its peak", "[0, 100]", step=0.001, basic=True)
    momentum: float = setting(0.9, "sgd: share of the previous step that is added to the next", "[0, 1]")
    weight_decay: float = setting(1e-4, "L2 penalty on the weights", "[0, 10]", step=0.001)
    schedule: Literal["cosine", "step"] = setting(
        "cosine", "how the learning rate falls: cosine: smoothly to 0; step: at milestones"
    )
    milestones: tuple[int, ...] = setting(
        (), "step: epochs after which the learning rate is multiplied by 0.1", "[1, 100000]"
    )
    warmup: float = setting(0.0, "share of all steps in which the learning rate rises from 0", "[0, 1]", step=0.001)
    ema: float = setting(0.0, "decay per step of averaged weights (EMA); 0: no averaging", "[0, 0.999999]", step=0.001)
    clip_norm: float = setting(0.0, "largest norm of the gradient; 0 does not clip", "[0, 1000000]", step=0.1)
    precision: Precision = setting("auto", "number format of the model's layers; auto: half on CUDA, else float32")
    checkpoint_seconds: float = setting(
        30.0, "time between two checkpoints; each epoch ends with one anyway", "[0, 1000000]", step=1
    )
    processes: int = setting(0, "processes that share a batch; 0: one a GPU, of a patch_head one", "[0, 1024]")
    hard_pixels: float = setting(
        1.0, "deeplabv3: share of pixels, those of largest loss, that count; published 0.2", "(0, 1]"
    )
    class_balance: float = setting(
        0.0,
        "a class is weighted by its share of the pixels to the power of minus this; not mask_rcnn",
        "[0, 1]",
        basic=True,
    )
    label_smoothing: float = setting(0.0, "share of each label given to all classes alike; not mask_rcnn", "[0, 1)")
    hidden: int = setting(256, "patch_head: units of the hidden layer", "[1, 65536]")
    patch_share: float = setting(
        0.25, "patch_head: share of a photo's patches in a step, drawn again in each step", "(0, 1]"
    )
    whole_patches: bool = setting(
        True, "patch_head: a patch counts as its most frequent class; false: as the shares of all"
    )
    smoothing: float = setting(
        0.1, "patch_head: predictions are averaged over similar patches by softmax(cosine / this); 0: not", "[0, 10]"
    )
    dropout: float = setting(0.1, "patch_head: share of the hidden layer's units left out in a step", "[0, 1)")
    weights: str = setting(
        "", "ResNet-50: file of initial weights as DINO or MoCo publish it; empty starts at random", basic=True
    )
    frozen_stages: int = setting(2, "ResNet-50: first stages, of stem and four layers, not trained", "[0, 5]")
    image_side: int = setting(
        512,
        "deeplabv3: longer side of photos and side of crops; mask_rcnn: shorter side, of which steps take 0.6 to 1",
        "[32, 4096]",
        unit="pixels",
    )

    def __post_init__(self) -> None:
        check_values(TrainConfig, vars(self))  # of either stage; parsing knows which
