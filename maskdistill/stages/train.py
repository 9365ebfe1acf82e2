"""Stages ``stage1`` and ``stage2``: the first model learns from every mask, the final one from the label maps kept."""

import sys
from collections.abc import Callable

import numpy as np
import torch

from maskdistill.backbones import choose_device
from maskdistill.config import LabelConfig, TrainConfig
from maskdistill.errors import DatasetError
from maskdistill.masks import decode_mask
from maskdistill.painting import paint_labels, read_label_png
from maskdistill.stages.context import Context
from maskdistill.store import read_json
from maskdistill.training import EpochReport, Task, TrainResult, train

LabelsOf = Callable[[int], np.ndarray]


def train_stage1(context: Context) -> str:
    """Train on all masks of the training photos and their clusters, noise and all."""
    numbers = context.training_numbers
    clusters = context.run.cluster_of_mask()
    result = _train(
        context,
        "stage1",
        context.config.stage1,
        numbers,
        lambda number: clustered_labels(context, number, clusters),
        lambda number: clustered_masks(context, number, clusters),
    )
    return _sentence(result, len(numbers))


def train_stage2(context: Context) -> str:
    """Train on the pseudo-labels, from the initial weights again."""
    record = read_json(context.run.path / "pseudo_labels.json")
    numbers = record["photos"]
    result = _train(
        context,
        "stage2",
        context.config.stage2,
        numbers,
        lambda number: read_label_png(context.run.pseudo_label(number)),
        lambda number: split_labels(read_label_png(context.run.pseudo_label(number))),
    )
    return _sentence(result, len(numbers))


def clustered_labels(context: Context, number: int, clusters: dict[int, int]) -> np.ndarray:
    """(H, W) label map of a photo's masks, each in its cluster, before any filter."""
    photo = context.photo(number)
    items = [item for item in context.annotations.get(number, []) if item["id"] in clusters]
    return paint_labels(
        (photo.height, photo.width),
        [decode_mask(item["segmentation"]) for item in items],
        [clusters[item["id"]] for item in items],
        [item["score"] for item in items],
        [True] * len(items),
        LabelConfig(),
    )


def clustered_masks(context: Context, number: int, clusters: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(n, H, W) bool masks of a photo and their (n,) clusters."""
    photo = context.photo(number)
    items = [item for item in context.annotations.get(number, []) if item["id"] in clusters]
    masks = [decode_mask(item["segmentation"]) for item in items]
    stacked = np.stack(masks) if masks else np.zeros((0, photo.height, photo.width), bool)
    return stacked, np.array([clusters[item["id"]] for item in items], dtype=np.int64)


def split_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One mask a class of a label map: (n, H, W) bool and (n,) classes."""
    present = np.array([label for label in np.unique(labels) if label not in (0, 255)], dtype=np.int64)
    return labels[None] == present[:, None, None], present


def _train(
    context: Context,
    stage: str,
    config: TrainConfig,
    numbers: list[int],
    label_of: LabelsOf,
    masks_of: Callable[[int], tuple[np.ndarray, np.ndarray]],
) -> TrainResult:
    if not numbers:
        raise DatasetError("No training photo has a mask. Loosen the proposals' settings, or add photos.")
    device = choose_device(context.config.features.device)
    num_classes = read_json(context.run.path / "clusters.json")["num_classes"]
    task = _make_task(context, config, numbers, num_classes, label_of, masks_of, device)
    steps = config.epochs * -(-len(numbers) // config.batch_size)
    done = 0

    def on_step(step: int, _total: int) -> None:
        nonlocal done
        reporter.advance(step - done)
        done = step

    with context.reporter(stage, steps, unit="steps") as reporter:
        return train(
            task,
            config,
            folder=context.run.path / stage,
            seed=context.config.seed,
            key=context.key,
            on_epoch=None if context.quiet else _say,
            on_step=on_step,
        )


def _say(report: EpochReport) -> None:
    """One line a finished epoch, where no bar would be spoiled by it."""
    if not sys.stderr.isatty():
        losses = ", ".join(f"{name} {value:.4f}" for name, value in report.losses.items())
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in report.metrics.items())
        sys.stderr.write(f"epoch {report.epoch}: {losses}; {metrics}\n")


def _make_task(
    context: Context,
    config: TrainConfig,
    numbers: list[int],
    num_classes: int,
    label_of: LabelsOf,
    masks_of: Callable[[int], tuple[np.ndarray, np.ndarray]],
    device: torch.device,
) -> Task:
    photos = [context.photo(number) for number in numbers]
    seed = context.config.seed
    if config.model == "deeplabv3":
        from maskdistill.models.deeplabv3 import DeepLab, DeepLabTask

        model = DeepLab(num_classes, config, seed=seed).to(device)
        return DeepLabTask(model, photos, lambda index: label_of(numbers[index]), config)
    if config.model == "mask_rcnn":
        from maskdistill.models.mask_rcnn import MaskRcnnTask, build_mask_rcnn

        model = build_mask_rcnn(num_classes, config, seed=seed).to(device)
        return MaskRcnnTask(model, photos, lambda index: masks_of(numbers[index]), config)
    from maskdistill.models.patch_head import PatchHead, PatchHeadTask

    tokens = context.tokens
    head = PatchHead(num_classes, tokens.read(numbers[0]).shape[-1], config, seed=seed).to(device)
    head.standardise(tokens, numbers)
    geometries = [context.geometry(photo) for photo in photos]
    return PatchHeadTask(head, tokens, numbers, geometries, lambda index: label_of(numbers[index]), config)


def _sentence(result: TrainResult, num_photos: int) -> str:
    last = result.history[-1]
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in last.metrics.items())
    losses = ", ".join(f"{name} {value:.4f}" for name, value in last.losses.items())
    return f"{last.epoch} epochs on {num_photos} photos: loss {losses}; {metrics}."
