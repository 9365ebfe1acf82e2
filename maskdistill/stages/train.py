"""Stages ``stage1`` and ``stage2``: the first model learns from every mask, the final one from the label maps kept."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from maskdistill.config import TrainConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.errors import DatasetError
from maskdistill.features.backbone import choose_device
from maskdistill.masks import decode_mask
from maskdistill.models.training.checkpoint import EpochReport, write_tensors
from maskdistill.models.training.task import Callbacks, Task, TrainResult
from maskdistill.models.training.train import train
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.stages.context import Context
from maskdistill.stages.label import LabelsOf, clustered_labels
from maskdistill.stages.samples import Predict, SamplePhoto, SampleWriter, choose_samples
from maskdistill.storage.label_folder import LabelFolder
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.shares import shares_of_mask

if TYPE_CHECKING:
    from maskdistill.models.patch_head import SoftLabels

KEPT_EPOCHS = 40  # up to so many the head's weights are kept of each: 0.8 MB an epoch
SoftLabelsOf = Callable[
    [int], "SoftLabels"
]  # number of a photo -> its masks, with a distribution over the classes each
MasksOf = Callable[[int], tuple[np.ndarray, np.ndarray]]  # number of a photo -> (n, H, W) bool masks, (n,) classes


@dataclass(frozen=True)
class Lesson:
    """What a stage's model learns from."""

    context: Context
    stage: str  # folder of its model in the run
    numbers: list[int]  # of the photos
    label_of: LabelsOf
    masks_of: MasksOf
    soft_of: SoftLabelsOf | None = None  # where each mask has a share in several classes: what a patch_head learns

    @property
    def config(self) -> TrainConfig:
        """Settings of the training."""
        return self.context.config.stage1 if self.stage == "stage1" else self.context.config.stage2

    @property
    def num_classes(self) -> int:
        """K, background not counted."""
        return self.context.run.num_classes

    @property
    def photos(self) -> list[Photo]:
        """The photos, in the order of their numbers."""
        return [self.context.photo(number) for number in self.numbers]


def train_stage1(context: Context) -> str:
    """Train on all masks of the training photos and their clusters, noise and all.

    What people rejected or excluded is background; but a photo of which they left nothing by rejecting shows an object
    somewhere that no mask outlines, so nothing is learnt from it.
    """
    return train_stage(context, "stage1")


def train_stage2(context: Context) -> str:
    """Train on the pseudo-labels."""
    return train_stage(context, "stage2")


def train_stage(context: Context, stage: str) -> str:
    """Train a model by one process, or by as many as ``num_processes`` says.

    Args:
        context: The run; its key must differ where the labels are made from other inputs.
        stage: Folder of the model in the run: ``stage1``, ``stage2``, or ``rounds/<number>``, which learns from the
            label maps there, with the settings of stage 2 and from the initial weights again.
    """
    from maskdistill.stages import train_processes

    config = context.config.stage1 if stage == "stage1" else context.config.stage2
    size = train_processes.num_processes(config, context.config.features.device)
    if size > 1:
        train_processes.train_in_processes(context, stage, size)
    return train_lesson(context, stage)  # where several have trained it, it is there


def train_lesson(context: Context, stage: str) -> str:
    """``train_stage`` as one process, or as one of those that train it together."""
    if stage == "stage1":
        return _train(_clusters_lesson(context))
    folder = context.run if stage == "stage2" else LabelFolder(context.run.path / stage)
    return _train(
        Lesson(
            context,
            stage,
            folder.labelled(),
            lambda number: read_label_png(folder.pseudo_label(number)),
            lambda number: split_labels(read_label_png(folder.pseudo_label(number))),
        )
    )


def _clusters_lesson(context: Context) -> Lesson:
    clusters, shares = context.run.class_of_mask(), shares_of_mask(context.run)
    return Lesson(
        context,
        "stage1",
        _outlined_numbers(context, clusters),
        lambda number: clustered_labels(context, number, clusters),
        lambda number: clustered_masks(context, number, clusters),
        (lambda number: shared_labels(context, number, shares)) if shares else None,
    )


def _outlined_numbers(context: Context, clusters: dict[int, int]) -> list[int]:
    """The training photos without those whose masks are all rejected by people, or in clusters of bad masks."""
    classes = read_json_if_there(context.run.path / "classes.json")
    rejected = {*classes["rejected"], *classes.get("left_out", [])} if classes else set()
    ids = {number: {item["id"] for item in context.annotations[number]} for number in context.training_numbers}
    return [number for number, masks in ids.items() if not masks & rejected or masks & clusters.keys()]


def clustered_masks(context: Context, number: int, clusters: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(n, H, W) bool masks of a photo and their (n,) clusters."""
    photo = context.photo(number)
    items = [item for item in context.annotations.get(number, []) if item["id"] in clusters]
    masks = [decode_mask(item["segmentation"]) for item in items]
    stacked = np.stack(masks) if masks else np.zeros((0, photo.height, photo.width), bool)
    return stacked, np.array([clusters[item["id"]] for item in items], dtype=np.int64)


def shared_labels(context: Context, number: int, shares: Mapping[int, np.ndarray]) -> "SoftLabels":
    """A photo's masks as regions, painted as ``clustered_labels`` paints them, with each one's (K,) shares."""
    from maskdistill.models.patch_head import SoftLabels

    found = [item["id"] for item in context.annotations.get(number, []) if item["id"] in shares]
    regions = clustered_labels(context, number, {mask_id: place for place, mask_id in enumerate(found, start=1)})
    classes = np.zeros((len(found) + 1, context.run.num_classes + 1), np.float32)
    classes[0, 0] = 1
    for place, mask_id in enumerate(found, start=1):
        classes[place, 1:] = shares[mask_id]
    return SoftLabels(regions, classes)


def split_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One mask a class of a label map: (n, H, W) bool and (n,) classes."""
    present = np.array([label for label in np.unique(labels) if label not in (0, 255)], dtype=np.int64)
    return labels[None] == present[:, None, None], present


def _train(lesson: Lesson) -> str:
    if not lesson.numbers:
        raise DatasetError("No training photo has a mask. Loosen the proposals' settings, or add photos.")
    context, config = lesson.context, lesson.config
    task, predict = _MAKERS[config.model](lesson, choose_device(context.config.features.device))
    steps = config.epochs * -(-len(lesson.numbers) // config.batch_size)
    first = os.environ.get("RANK", "0") == "0"  # of the processes that train it
    with context.reporter(lesson.stage, steps, unit="steps") if first else nullcontext() as reporter:
        result = train(
            task,
            config,
            folder=context.run.path / lesson.stage,
            seed=context.config.seed,
            key=context.key,
            calls=Callbacks(
                on_epoch=None if context.quiet else _say,
                on_step=(lambda done, _total: reporter.reach(done)) if reporter else None,
                on_inspect=_sample_writer(lesson, predict, task.model),
            ),
        )
    return _sentence(result, len(lesson.numbers))


def _say(report: EpochReport) -> None:
    """One line a finished epoch, where no bar would be spoiled by it."""
    if not sys.stderr.isatty():
        losses = ", ".join(f"{name} {value:.4f}" for name, value in report.losses.items())
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in report.metrics.items())
        sys.stderr.write(f"epoch {report.epoch}: {losses}; {metrics}\n")


def _sample_writer(lesson: Lesson, predict: Predict, model: nn.Module) -> SampleWriter:
    context, config = lesson.context, lesson.config
    classes = context.run.classes()
    chosen = choose_samples(lesson.numbers, classes, photos=context.run.photo_of(classes["mask_id"].to_numpy()))
    photos = [
        SamplePhoto(number, photo.id, photo.height, photo.width)
        for number in chosen
        for photo in [context.photo(number)]
    ]
    about = {"training": context.key, "num_epochs": config.epochs, "num_classes": lesson.num_classes}
    small = config.model == "patch_head" and config.epochs <= KEPT_EPOCHS
    keep = (lambda path: write_tensors(path, model.state_dict(), {})) if small else None
    return SampleWriter(context.run, lesson.stage, about, photos, lesson.label_of, predict, keep)


def _make_patch_head(lesson: Lesson, device: torch.device) -> tuple[Task, Predict]:
    from maskdistill.models.patch_head import PatchHead, PatchHeadPredictor, PatchHeadTask

    context, config, numbers = lesson.context, lesson.config, lesson.numbers
    tokens = context.tokens
    dimensions = tokens.read(numbers[0]).shape[-1]
    head = PatchHead(lesson.num_classes, dimensions, config, seed=context.config.seed).to(device)
    head.standardise(tokens, numbers)
    geometries = [context.geometry(photo) for photo in lesson.photos]

    @cache  # each photo's own predictor keeps the affinity of its patches
    def predictor_of(number: int, size: tuple[int, int]) -> PatchHeadPredictor:
        geometry = replace(context.geometry(context.photo(number)), height=size[0], width=size[1])
        return PatchHeadPredictor(head, config, lambda _photo: (tokens.read(number), geometry))

    def predict(number: int, size: tuple[int, int]) -> np.ndarray:
        return predictor_of(number, size).probabilities(context.photo(number))

    label_of = lesson.soft_of or lesson.label_of
    return PatchHeadTask(head, tokens, numbers, geometries, lambda index: label_of(numbers[index]), config), predict


def _make_deeplab(lesson: Lesson, device: torch.device) -> tuple[Task, Predict]:
    from maskdistill.models.deeplabv3 import DeepLab, DeepLabPredictor, DeepLabTask

    context, config = lesson.context, lesson.config
    model = DeepLab(lesson.num_classes, config, seed=context.config.seed).to(device)
    task = DeepLabTask(model, lesson.photos, lambda index: lesson.label_of(lesson.numbers[index]), config)

    def predict(number: int, size: tuple[int, int]) -> np.ndarray:
        image = read_photo(context.photo(number), min_short_side=config.image_side)
        return DeepLabPredictor(model, config).predict(image, size)

    return task, predict


def _make_mask_rcnn(lesson: Lesson, device: torch.device) -> tuple[Task, Predict]:
    from maskdistill.models import paint_probabilities
    from maskdistill.models.mask_rcnn import MaskRcnnPredictor, MaskRcnnTask, build_mask_rcnn

    context, config = lesson.context, lesson.config
    model = build_mask_rcnn(lesson.num_classes, config, seed=context.config.seed).to(device)
    task = MaskRcnnTask(model, lesson.photos, lambda index: lesson.masks_of(lesson.numbers[index]), config)

    def predict(number: int, size: tuple[int, int]) -> np.ndarray:
        image = read_photo(context.photo(number), min_short_side=config.image_side)
        predictor = MaskRcnnPredictor(model, config)
        return paint_probabilities(predictor.predict(image, size), predictor.num_classes, *size)

    return task, predict


_MAKERS = {"patch_head": _make_patch_head, "deeplabv3": _make_deeplab, "mask_rcnn": _make_mask_rcnn}


def _sentence(result: TrainResult, num_photos: int) -> str:
    if not result.history:  # it was damaged, and the model is whole
        return f"Trained on {num_photos} photos; the course of it is lost."
    last = result.history[-1]
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in last.metrics.items())
    losses = ", ".join(f"{name} {value:.4f}" for name, value in last.losses.items())
    return f"{last.epoch} epochs on {num_photos} photos: loss {losses}; {metrics}."
