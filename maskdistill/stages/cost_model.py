"""What each stage costs on the reference machine.

Measured on two cores of an AMD EPYC of 2021 (AVX2), on the 328 MSRC photos of 213 x 320 pixels, with the weights
``focus_vits14``: CPU seconds of one thread, because others used the machine too, medians of three to eight repeats.
A whole run that had the machine to itself agreed to about a fifth in every stage. Rough by nature: sizes between and
beyond those measured are interpolated by the work that grows with them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maskdistill.config import FeatureConfig, RunConfig, TrainConfig
from maskdistill.features.registry import SPECS, likely_auto
from maskdistill.proposals.crf import crf_available

VIT_GFLOPS = 55.0  # per second and core, of the transformer in float32
MAX_RATIO = 4.0  # a more elongated photo is scaled down further, see ``patch_grid``
NUM_EMBEDDINGS = 15  # that are compared where clusters.embedding is "auto"
NUM_DIMENSIONS = 6  # that each is tried in where clusters.dimensions is 0
MOST_COMPARED = 5000  # masks; of more, a sample decides what is left open
NUM_IN_SIGHT = 4  # labels that the CRF decides between in a photo, as a rule
SENDING = 1.5  # times the CRF itself: with sending the probabilities to its processes
CHECKED = {"patch_head": 32, "deeplabv3": 16, "mask_rcnn": 8}  # photos that a model checks itself on after an epoch
WIDTHS = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24), "giant": (1536, 40)}


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much there is to do."""

    num_photos: int
    num_training: int  # photos that training may see
    num_labelled: int  # photos with pseudo-labels
    num_reported: int  # photos of the report
    num_masks: int
    num_training_masks: int
    num_classes: int  # K
    height: int  # pixels of the photo in the middle
    width: int  # pixels likewise

    @property
    def pixels(self) -> int:
        """Of one photo."""
        return self.height * self.width

    @property
    def ratio(self) -> float:
        """Longer side by shorter side."""
        return min(MAX_RATIO, max(self.height, self.width) / max(1, min(self.height, self.width)))


@dataclass(frozen=True)
class Cost:
    """Seconds of the reference machine."""

    start: float = 0.0  # until the first unit is at work: libraries, models
    shared: float = 0.0  # of one core, in work that all cores do together
    alone: float = 0.0  # of one core, in work that the others wait for

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.start + other.start, self.shared + other.shared, self.alone + other.alone)

    def seconds(self, num_cores: int) -> float:
        """On a machine with so many of the reference's cores."""
        return self.start + self.shared / num_cores + self.alone


@dataclass(frozen=True)
class Network:
    """A transformer, as far as its speed goes."""

    name: str
    patch_size: int  # pixels
    dimensions: int
    depth: int
    shorter_side: int  # pixels that photos are read at

    @classmethod
    def of(cls, features: FeatureConfig) -> "Network":
        """Guessed from the names alone: asking timm would load torch, asking the hub may take seconds."""
        name = likely_auto() if features.backbone == "auto" else features.backbone
        spec = SPECS.get(name)
        architecture = spec.architecture if spec else features.architecture or name
        patch = re.search(r"patch(\d+)", architecture)
        width = next((word for word in WIDTHS if word in architecture), "small")
        side = features.shorter_side or (spec.shorter_side if spec else 336)
        return cls(Path(name).stem, int(patch[1]) if patch else 16, *WIDTHS[width], side)

    def patches(self, ratio: float, scale: float = 1.0) -> float:
        """Of a photo with this ratio of sides, at a fraction of the usual size."""
        return max(1.0, (self.shorter_side * scale / self.patch_size) ** 2 * ratio)

    def seconds(self, patches: float) -> float:
        """One forward pass on one core."""
        return self.depth * (24 * patches * self.dimensions**2 + 4 * patches**2 * self.dimensions) / VIT_GFLOPS / 1e9


def cost_of(stage: str, work: Work, config: RunConfig) -> Cost:
    """What a stage costs, all of it."""
    return _COSTS[stage](work, config)


def stages_with_costs() -> tuple[str, ...]:
    """Names of the stages, in the order of the work."""
    return tuple(_COSTS)


def _proposals(work: Work, config: RunConfig) -> Cost:
    network, settings = Network.of(config.features), config.proposals
    scales = [1.0] if settings.views == "none" else [1.0, settings.view_scale]
    each = 0.03
    for scale in scales:
        patches = network.patches(work.ratio, scale)
        cuts = 4.5e-8 * settings.num_objects if settings.engine == "ncut" else 0.0
        each += network.seconds(patches) + cuts * patches**2
    if config.crf.enabled:
        each += _crf_seconds(work, config, num_labels=2) * settings.num_objects
    return Cost(start=15, shared=each * work.num_photos)


def _embeddings(work: Work, config: RunConfig) -> Cost:
    network, settings = Network.of(config.features), config.embeddings
    looks = 2 if settings.mirror else 1
    each = 0.06 + looks * network.seconds((settings.crop_side / network.patch_size) ** 2)
    return Cost(start=9, shared=each * work.num_masks)


def _clusters(work: Work, config: RunConfig) -> Cost:
    settings, num_masks = config.clusters, work.num_training_masks
    tries = (NUM_EMBEDDINGS if settings.embedding == "auto" else 1) * (1 if settings.dimensions else NUM_DIMENSIONS)
    compared = min(num_masks, MOST_COMPARED)
    seconds = 1 + tries * (0.075 + 1.65e-4 * compared) + _clustering_seconds(work, config)
    if not settings.num_classes:
        seconds += 3 + 0.004 * compared
    return Cost(alone=seconds)


def _clustering_seconds(work: Work, config: RunConfig) -> float:
    settings = config.clusters
    runs = settings.num_rounds if settings.method == "consensus" else settings.num_seeds
    return 4.8e-6 * work.num_training_masks * runs * work.num_classes


def _training(stage: str) -> Callable[[Work, RunConfig], Cost]:
    def cost(work: Work, config: RunConfig) -> Cost:
        num_photos = work.num_training if stage == "stage1" else work.num_labelled
        return Cost(start=4) + _training_cost(getattr(config, stage), num_photos, work, config)

    return cost


def _training_cost(settings: TrainConfig, num_photos: int, work: Work, config: RunConfig) -> Cost:
    looks = settings.epochs * (min(num_photos, CHECKED[settings.model]) + 6)  # checks, and the sample photos
    rounds = settings.epochs * num_photos
    if settings.model == "patch_head":
        network = Network.of(config.features)
        patches = network.patches(work.ratio)
        num_blocks = len(config.features.head_blocks) or 2
        multiplied = 2 * num_blocks * network.dimensions * settings.hidden  # two operations a weight
        learn = 3 * multiplied * patches * settings.patch_share / VIT_GFLOPS / 1e9
        setup = num_photos * (0.004 + 7e-8 * work.pixels)
        alone = setup + 0.0017 * rounds + 0.1 * settings.epochs
        return Cost(shared=learn * rounds + multiplied * patches / VIT_GFLOPS / 1e9 * looks, alone=alone)
    side = settings.image_side**2
    learn = 7.9e-5 * side if settings.model == "deeplabv3" else 2.2 + 2.3e-5 * side * work.ratio
    return Cost(shared=learn * rounds + _predict_seconds(settings, work, config) * looks)


def _predict_seconds(settings: TrainConfig, work: Work, config: RunConfig) -> float:
    """Probabilities of one photo by a trained model, on one core."""
    painted = 1.75e-8 * work.pixels * (work.num_classes + 1)
    if settings.model == "deeplabv3":
        return 2.05e-5 * settings.image_side**2 / work.ratio + painted
    if settings.model == "mask_rcnn":
        return 3 + 8e-6 * settings.image_side**2 * work.ratio + painted
    patches = Network.of(config.features).patches(work.ratio)
    smoothing = 3.3e-8 * patches**2 if settings.smoothing else 0.0
    return 8.7e-6 * patches + smoothing + painted


def _candidates(work: Work, config: RunConfig) -> Cost:
    each = _predict_seconds(config.stage1, work, config) + 2e-7 * work.pixels
    return Cost(start=1, shared=each * work.num_training)


def _pseudo_labels(work: Work, config: RunConfig) -> Cost:
    each = 0.002 + 3e-8 * work.pixels
    if config.labels.min_probability:
        each += _predict_seconds(config.stage1, work, config)
    return Cost(alone=each * work.num_training)


def _rounds(work: Work, config: RunConfig) -> Cost:
    """As if every round were done; few of them often suffice."""
    settings = config.rounds
    look = _predict_seconds(config.stage2, work, config) + 2e-7 * work.pixels
    if settings.crf and crf_available():
        look += SENDING * _crf_seconds(work, config, NUM_IN_SIGHT)
    each = Cost(shared=look * work.num_training) + _pseudo_labels(work, config)
    each += _training_cost(config.stage2, work.num_training, work, config)
    return Cost(4 if settings.count else 0, settings.count * each.shared, settings.count * each.alone)


def _predictions(work: Work, config: RunConfig) -> Cost:
    models = [config.stage1, config.stage2, *([config.stage2] if config.rounds.count else [])]
    each = sum(_predict_seconds(settings, work, config) for settings in models)
    cost = Cost(start=4, shared=(each + 4e-8 * work.pixels) * work.num_photos)
    if config.predictions.crf and crf_available():
        cost += Cost(start=2, shared=SENDING * _crf_seconds(work, config, NUM_IN_SIGHT) * work.num_reported)
    return cost


def _crf_seconds(work: Work, config: RunConfig, num_labels: int) -> float:
    pixels = min(work.pixels, config.crf.max_pixels or work.pixels)
    return pixels * (3.5e-6 + 5.3e-7 * num_labels) * (0.4 + 0.06 * config.crf.iterations)


def _evaluation(work: Work, config: RunConfig) -> Cost:
    maps = 3 * work.num_reported + (5 + config.evaluation.num_seeds) * work.num_training
    cost = Cost(alone=1 + 3.7e-8 * work.pixels * maps + config.evaluation.num_seeds * _clustering_seconds(work, config))
    if config.evaluation.probe:
        head = config.stage2 if config.stage2.model == "patch_head" else TrainConfig()
        each = _training_cost(head, work.num_training, work, config)
        cost += Cost(start=4) + each + each
    return cost


def _projection(work: Work, config: RunConfig) -> Cost:
    moves = config.projection.num_epochs / 200
    return Cost(start=18, alone=1 + 0.0055 * work.num_masks * moves)  # the start is numba, which compiles


_COSTS: dict[str, Callable[[Work, RunConfig], Cost]] = {
    "proposals": _proposals,
    "embeddings": _embeddings,
    "clusters": _clusters,
    "classes": lambda work, _config: Cost(alone=0.2 + 1e-5 * work.num_masks),
    "stage1": _training("stage1"),
    "candidates": _candidates,
    "filter": lambda work, _config: Cost(alone=0.2 + 1e-5 * work.num_masks),
    "pseudo_labels": _pseudo_labels,
    "stage2": _training("stage2"),
    "rounds": _rounds,
    "predictions": _predictions,
    "evaluation": _evaluation,
    "projection": _projection,
}
