"""Heads trained with ground truth, beside which the report puts the run's own result. FOR REPORTING ONLY.

No stage reads anything that is made here: not the weights, not the measures. The chain never trains with labels.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from maskdistill.config import TrainConfig
from maskdistill.datasets import IGNORE_INDEX
from maskdistill.evaluation.confusion import Confusion, identity_matching, report
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.features.backbone import choose_device
from maskdistill.models import Predictor
from maskdistill.models.patch_head import PatchHead, PatchHeadPredictor, PatchHeadTask
from maskdistill.models.predictor import label_photo
from maskdistill.models.training.task import Callbacks, Task
from maskdistill.models.training.train import train
from maskdistill.proposals.crf import crf_available
from maskdistill.stages.context import Context
from maskdistill.stages.label import LabelsOf, flat_labels

LINEAR, LINEAR_CRF, SUPERVISED = "linear", "linear_crf", "supervised"
# The published linear evaluation of DeepLab: 60 epochs where the model itself was trained for 45, rate cut after 25.
_EPOCHS, _MILESTONE, _OWN_EPOCHS, _RATE = 60, 25, 45, 0.1
LAST_LAYER = "net.3."  # of a PatchHead's parameters


def train_probes(context: Context, truth: GroundTruth, numbers: Sequence[int]) -> dict[str, Any]:
    """Train with the ground truth of the training photos, and measure. FOR REPORTING ONLY.

    ``linear`` is the published linear evaluation: all of the final model is frozen but its last layer, which starts
    afresh with an output per class; ``linear_crf`` is of a DeepLab, its predictions refined as the run's own are.
    ``supervised`` is a fresh head on frozen tokens: what labels reach there. Both go on where they were stopped, in
    run/evaluation/linear and run/evaluation/supervised.

    Args:
        context: A run whose second stage is trained.
        truth: Of its photos.
        numbers: Photos to measure on.

    Returns:
        ``num_photos`` with ground truth that were trained on, and by name what ``SegmentationReport.to_dict`` says
        with ``num_training``, how many of the measured photos are among them. ``linear`` is None if the final model is
        neither a patch_head nor a deeplabv3. Without ground truth to train on, or to measure with, nothing is trained
        and both are None.

    Source: linear evaluation of Van Gansbeke et al., arXiv 2206.06363.
    """
    with_tokens = [number for number in context.training_numbers if context.tokens.path(number).is_file()]
    labelled = [number for number in with_tokens if _has_truth(context, truth, number)]
    measurable = any(_has_truth(context, truth, number) for number in numbers)
    heads = _heads(context, labelled) if labelled and measurable else {}
    found: dict[str, Any] = {"num_photos": len(labelled), LINEAR: None, SUPERVISED: None}
    for name, (head, config) in heads.items():
        _train(context, truth, name, head, config, labelled)
        found[name] = _measure(context, truth, head, config, numbers, set(labelled))
    if heads and context.config.stage2.model == "deeplabv3":
        found |= _linear_deeplab(context, truth, labelled, numbers)
    return found


def _linear_deeplab(
    context: Context, truth: GroundTruth, labelled: list[int], numbers: Sequence[int]
) -> dict[str, Any]:
    """The linear evaluation of a DeepLab, without and with the CRF, as published."""
    from maskdistill.models.deeplabv3 import DeepLabPredictor, DeepLabTask, linear_deeplab

    settings = context.config.stage2
    epochs = max(1, round(settings.epochs * _EPOCHS / _OWN_EPOCHS))
    config = replace(
        settings,
        weights="",
        optimizer="sgd",
        learning_rate=_RATE,
        schedule="step",
        epochs=epochs,
        milestones=(max(1, round(epochs * _MILESTONE / _EPOCHS)),),
        warmup=0.0,
        ema=0.0,
        hard_pixels=1.0,
    )
    trained = context.predictor("final")
    assert isinstance(trained, DeepLabPredictor)  # by the settings of stage 2
    model = linear_deeplab(trained.model, len(context.source.classes), config, seed=context.config.seed)
    photos = [context.photo(number) for number in labelled]
    task = DeepLabTask(
        model.to(choose_device(context.config.features.device)),
        photos,
        lambda index: _labels_of(context, truth, labelled[index]),
        config,
    )
    _run(context, task, config, LINEAR, len(photos))
    predictor = DeepLabPredictor(model, config)
    wants_crf = context.config.predictions.crf and crf_available()
    return {
        name: _compare(
            context,
            truth,
            partial(_label, context, predictor, crf=crf),
            numbers,
            set(labelled),
        )
        for name, crf in ((LINEAR, False), *(((LINEAR_CRF, True),) if wants_crf else ()))
    }


def _label(context: Context, predictor: Predictor, number: int, *, crf: bool) -> np.ndarray:
    return label_photo(predictor, context.photo(number), context.config, crf=crf)


def _has_truth(context: Context, truth: GroundTruth, number: int) -> bool:
    classes = truth.read(context.photo(number))
    return classes is not None and bool((classes != IGNORE_INDEX).any())


def _heads(context: Context, numbers: list[int]) -> dict[str, tuple[PatchHead, TrainConfig]]:
    """Both heads before their training, and their settings."""
    num_classes, seed = len(context.source.classes), context.config.seed
    device = choose_device(context.config.features.device)
    config = context.config.stage2
    heads = {}
    if config.model == "patch_head":
        # Dropout belongs to the training of the layer before, which is over.
        trained: Any = context.predictor("final")  # of this kind: a PatchHeadPredictor
        heads[LINEAR] = (linear_head(trained.model, num_classes, config, seed), _plain(config))
    else:
        config = TrainConfig()  # those of another network would not suit a head
    fresh = PatchHead(num_classes, context.tokens.read(numbers[0]).shape[-1], config, seed=seed)
    fresh.standardise(context.tokens, numbers)
    heads[SUPERVISED] = (fresh, config)
    return {name: (head.to(device), settings) for name, (head, settings) in heads.items()}


def linear_head(trained: PatchHead, num_classes: int, config: TrainConfig, seed: int) -> PatchHead:
    """A copy of a trained head, frozen, with a fresh last layer of ``num_classes`` + 1 outputs that is not."""
    head = PatchHead(num_classes, len(trained.mean), _plain(config), seed=seed)
    frozen = {name: value for name, value in trained.state_dict().items() if not name.startswith(LAST_LAYER)}
    head.load_state_dict({**head.state_dict(), **frozen})
    for name, parameter in head.named_parameters():
        parameter.requires_grad_(name.startswith(LAST_LAYER))
    return head


def _plain(config: TrainConfig) -> TrainConfig:
    return replace(config, dropout=0.0)


def _train(
    context: Context, truth: GroundTruth, name: str, head: PatchHead, config: TrainConfig, numbers: list[int]
) -> None:
    """Train a head in place, or load what was trained before."""
    geometries = [context.geometry(context.photo(number)) for number in numbers]

    def labels_of(index: int) -> np.ndarray:
        return _labels_of(context, truth, numbers[index])

    _run(
        context, PatchHeadTask(head, context.tokens, numbers, geometries, labels_of, config), config, name, len(numbers)
    )


def _labels_of(context: Context, truth: GroundTruth, number: int) -> np.ndarray:
    """(H, W) class ids; nothing to learn from what has gone since."""
    classes = truth.read(context.photo(number))
    return flat_labels(context, number, IGNORE_INDEX) if classes is None else classes


def _run(context: Context, task: Task, config: TrainConfig, name: str, num_photos: int) -> None:
    """Train in run/evaluation/<name>."""
    steps = config.epochs * -(-num_photos // config.batch_size)
    folder = context.run.path / "evaluation" / name
    with context.reporter("evaluation", steps, unit="steps") as reporter:
        train(
            task,
            config,
            folder=folder,
            seed=context.config.seed,
            key=context.key,
            calls=Callbacks(on_step=lambda done, _total: reporter.reach(done)),
        )


def _measure(
    context: Context,
    truth: GroundTruth,
    head: PatchHead,
    config: TrainConfig,
    numbers: Sequence[int],
    trained_on: set[int],
) -> dict[str, Any] | None:
    predictor = PatchHeadPredictor(
        head, config, lambda photo: context.stored_tokens.read(context.numbers[photo.id], photo)
    )
    return _compare(context, truth, lambda number: _predict(context, predictor, number), numbers, trained_on)


def _compare(
    context: Context,
    truth: GroundTruth,
    labels_of: LabelsOf,
    numbers: Sequence[int],
    trained_on: set[int],
) -> dict[str, Any] | None:
    """As ``evaluate.compare``, but value n of the prediction is class n: nothing is matched."""
    num_classes = len(context.source.classes)
    counts = Confusion(num_classes=num_classes, num_clusters=num_classes)
    seen = 0
    for number in numbers:
        classes = truth.read(context.photo(number))
        if classes is not None:
            counts.update(classes, labels_of(number))
            seen += number in trained_on
    if counts.coverage is None:
        return None
    return {**report(counts, context.source.classes, identity_matching(num_classes)).to_dict(), "num_training": seen}


def _predict(context: Context, predictor: PatchHeadPredictor, number: int) -> np.ndarray:
    """(H, W) uint8 label map; background only, as in the other measures, for a photo that could not be read."""
    if not context.tokens.path(number).is_file():
        return flat_labels(context, number)
    return predictor.probabilities(context.photo(number)).argmax(axis=0).astype(np.uint8)
