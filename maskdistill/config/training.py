"""Settings of a training: one dataclass for both stages and all models."""

from dataclasses import dataclass
from typing import Literal

from maskdistill.config.checks import check_range

ModelName = Literal["patch_head", "mask_rcnn", "deeplabv3"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training; fields that a model has no use for are ignored by it, as the comments say."""

    model: ModelName = "patch_head"
    epochs: int = 10
    batch_size: int = 8  # photos
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9  # sgd
    weight_decay: float = 1e-4
    schedule: Literal["cosine", "step"] = "cosine"
    milestones: tuple[int, ...] = ()  # epochs after which "step" multiplies the rate by 0.1
    warmup: float = 0.0  # share of all steps in which the rate rises from 0
    ema: float = 0.0  # decay per step of the averaged weights that are kept, [0, 1); 0 keeps the last ones
    clip_norm: float = 0.0  # largest norm of the gradient; 0 does not clip
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    checkpoint_seconds: float = 30.0  # time between two checkpoints; one is written after each epoch anyway
    hard_pixels: float = 1.0  # share of pixels with the largest loss that count, (0, 1]; published for deeplabv3: 0.2
    class_balance: float = 0.0  # weight of a class = (its share) ** -balance, [0, 1]
    label_smoothing: float = 0.0  # [0, 1)
    hidden: int = 256  # units of the head's middle layer (patch_head)
    patch_share: float = 0.25  # of each photo's patches that a step sees, drawn anew each time (patch_head)
    whole_patches: bool = True  # a patch counts as its most frequent class; False: as the shares of all (patch_head)
    smoothing: float = 0.1  # predictions are averaged over like patches by softmax(cosine / this); 0: not (patch_head)
    dropout: float = 0.1  # share of those units left out in a step, [0, 1) (patch_head)
    weights: str = ""  # ResNet-50 initial weights: a file as DINO or MoCo publish it; "" starts at random
    frozen_stages: int = 2  # first ResNet stages, of stem and four layers, that are not trained (mask_rcnn, deeplabv3)
    image_side: int = 512  # pixels: longer side of the photo and side of the training crops (deeplabv3); shorter side,
    # of which a training step takes 0.6 to 1 (mask_rcnn)

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, 1, 100_000)
        check_range("batch_size", self.batch_size, 1, 100_000)
        check_range("learning_rate", self.learning_rate, 0, 100)
        check_range("momentum", self.momentum, 0, 1)
        check_range("weight_decay", self.weight_decay, 0, 10)
        for epoch in self.milestones:
            check_range("milestones", epoch, 1, 100_000)
        check_range("warmup", self.warmup, 0, 1)
        check_range("ema", self.ema, 0, 0.999999)
        check_range("clip_norm", self.clip_norm, 0, 1e6)
        check_range("checkpoint_seconds", self.checkpoint_seconds, 0, 1e6)
        check_range("hard_pixels", self.hard_pixels, 1e-6, 1)
        check_range("class_balance", self.class_balance, 0, 1)
        check_range("label_smoothing", self.label_smoothing, 0, 0.99)
        check_range("hidden", self.hidden, 1, 65536)
        check_range("patch_share", self.patch_share, 1e-6, 1)
        check_range("smoothing", self.smoothing, 0, 10)
        check_range("dropout", self.dropout, 0, 0.99)
        check_range("frozen_stages", self.frozen_stages, 0, 5)
        check_range("image_side", self.image_side, 32, 4096)


def default_stage1() -> TrainConfig:
    """Stage 1 unless a preset says otherwise: the patch head, as the preset ``quick`` trains it."""
    return TrainConfig(weight_decay=1e-2, warmup=0.1, class_balance=0.6)


def default_stage2() -> TrainConfig:
    """Stage 2 unless a preset says otherwise."""
    return default_stage1()
