"""A head on frozen patch tokens that says where one object ends: scored masks, whatever their class.

A patch head knows for each patch what it is part of, not where its neighbour of the same class begins. This one learns
masks as a whole. At every patch, for each of three sizes of objects, it says whether such an object has its middle
there, and gives the weights of a small linear function of two things: what every other patch is like (an embedding of
32 numbers), and where it lies from here. The sign of that function is the object's mask. Masks by such dynamic weights
are the idea of CondInst (Tian et al., ECCV 2020) and SOLOv2 (Wang et al., NeurIPS 2020).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskdistill.machine import one_thread
from maskdistill.models.trained import load_trained
from maskdistill.proposals.foreground import fit_projection, project

AREAS = (0.03, 0.12)  # shares of the photo that part the three sizes of objects
PRIOR = -3.0  # logit of objectness at the start: few patches are the middle of an object
POSITIONS = 5  # weights of a mask besides those of the embedding: two slopes, two widths, a bias
FEWEST_PATCHES = 2  # of a mask that counts
MOST_CENTRES, CENTRE_SHARE = 12, 4  # patches that count as an object's middle: so many, or this part of it
MASKS_A_STEP = 24  # that the loss of masks looks at
MISSED = 0.8  # of the weight that a patch which is foreground loses where no target covers it
COVERED = 0.5  # weight of a patch inside a target that is not its middle
LEAST_SPREAD = 3e-3  # of the largest spread, below which a direction of the projection is noise
NOISE = 0.1  # standard deviation of what is added to the points while training; they have a variance of 1
LOOKED_AT = 200  # places of highest objectness whose masks are drawn
_LAST_LAYER = "objectness.weight"


@dataclass(frozen=True, eq=False)
class Lesson:
    """What the head learns of one photo."""

    points: np.ndarray  # (rows, cols, d + 1) float of ``points_of``: projected tokens, the foreground from -1 to 1
    masks: np.ndarray  # (K, rows, cols) float in [0, 1], share of each patch that an object covers; K may be 0
    weights: np.ndarray  # (K,) float, how much each object counts

    @property
    def foreground(self) -> np.ndarray:
        """(rows, cols) float32 in [0, 1]."""
        return (self.points[..., -1].astype(np.float32) + 1) / 2


@dataclass(frozen=True, eq=False)
class Found:
    """Masks that the head draws in one photo, best first."""

    logits: np.ndarray  # (P, rows, cols) float32, positive inside
    scores: np.ndarray  # (P,) float32 in [0, 1], objectness times mean probability inside


@dataclass(frozen=True)
class _Seen:
    """What the head says of one photo, N = rows * cols patches, S sizes."""

    embedding: Tensor  # (E, N)
    weights: Tensor  # (S, E + POSITIONS, N)
    objectness: Tensor  # (S, N) logits
    grid: tuple[int, int]

    def masks(self, sizes: Tensor, places: Tensor) -> Tensor:
        """(P, N) logits of the masks of (P,) sizes at (P,) patches."""
        weights = self.weights[sizes, :, places]  # (P, E + POSITIONS)
        num = len(self.embedding)
        rows, cols = self.grid
        patches = torch.arange(rows * cols, device=weights.device)
        there = torch.stack((patches // cols, patches % cols))
        down, right = (there[:, None] - there[:, places, None]) / min(rows, cols)  # (P, N) each
        slope_down, slope_right, narrow_down, narrow_right, bias = weights[:, num:].split(1, dim=1)
        flat = weights[:, :num] @ self.embedding + slope_down * down + slope_right * right + bias
        return flat - 4 * (F.softplus(narrow_down) * down**2 + F.softplus(narrow_right) * right**2)


class InstanceHead(nn.Module):
    """Points of a photo's patches to masks.

    Args:
        inputs: D, of the patches' vectors.
        dimensions: d, to which they are projected.
        width: Channels inside; a multiple of 8.
        embedding: E, numbers that a mask is told by.
        seed: Of the initial weights.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, inputs: int, dimensions: int, width: int = 128, embedding: int = 32, *, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("basis", torch.zeros(inputs, dimensions))
        sizes = len(AREAS) + 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = [nn.Conv2d(dimensions + 3, width, 1), nn.GELU()]
            for step in (1, 2, 1):
                layers += [nn.Conv2d(width, width, 3, padding=step, dilation=step), nn.GroupNorm(8, width), nn.GELU()]
            self.body = nn.Sequential(*layers)
            self.embedding = nn.Conv2d(width, embedding, 1)
            self.weights = nn.Conv2d(width, sizes * (embedding + POSITIONS), 1)
            self.objectness = nn.Conv2d(width, sizes, 1)
            nn.init.constant_(self.objectness.get_parameter("bias"), PRIOR)

    @classmethod
    def load(cls, path: Path) -> "InstanceHead":
        """Read what ``train`` left in model.safetensors.

        Raises:
            CheckpointError: If it cannot be read, or is of another model.
        """

        def build(_classes: int, tensors: Mapping[str, Tensor]) -> InstanceHead:
            inputs, dimensions = tensors["basis"].shape
            width = len(tensors["body.0.weight"])
            return cls(inputs, dimensions, width, len(tensors["embedding.weight"]))

        return load_trained(path, "instance head", _LAST_LAYER, build).eval()

    def look_at(self, vectors: np.ndarray) -> None:
        """Choose the projection by a sample of patches, (M, D) float32: PCA, each direction with a variance of 1."""
        mean, basis = fit_projection(vectors, self.basis.shape[1])
        spread = project(vectors, mean, basis).std(axis=0)
        spread = np.maximum(spread, LEAST_SPREAD * spread.max())
        self.mean.copy_(torch.from_numpy(mean))
        self.basis.copy_(torch.from_numpy(basis / spread))

    def points_of(self, vectors: np.ndarray, probability: np.ndarray) -> np.ndarray:
        """What ``forward`` takes of a photo, the last axis first.

        Args:
            vectors: (N, D) of ``patch_vectors``.
            probability: (rows, cols) of each patch to be foreground; N = rows * cols.

        Returns:
            (rows, cols, d + 1) float16.
        """
        with one_thread():
            points = project(vectors, self.mean.cpu().numpy(), self.basis.cpu().numpy())
        flat = np.concatenate([points, 2 * probability.reshape(-1, 1) - 1], axis=1)
        return flat.reshape(*probability.shape, -1).astype(np.float16)

    def forward(self, points: Tensor) -> _Seen:
        """What there is at each patch of one photo, from (d + 1, rows, cols) points."""
        rows, cols = points.shape[1:]
        down = torch.linspace(-1, 1, rows, device=points.device)[:, None].expand(rows, cols)
        right = torch.linspace(-1, 1, cols, device=points.device)[None].expand(rows, cols)
        inside = self.body(torch.cat([points, down[None], right[None]])[None])
        embedding, weights, objectness = (layer(inside)[0] for layer in (self.embedding, self.weights, self.objectness))
        sizes = len(objectness)
        return _Seen(embedding.flatten(1), weights.reshape(sizes, -1, rows * cols), objectness.flatten(1), (rows, cols))


class InstanceTask:
    """Training of an ``InstanceHead``; satisfies ``training.Task``.

    Args:
        model: On its device.
        num_lessons: Photos and composites.
        read: Number of a lesson -> the lesson.
        checked: Lessons that ``metrics`` looks at.
    """

    def __init__(
        self, model: InstanceHead, num_lessons: int, read: Callable[[int], Lesson], checked: Sequence[int] = ()
    ) -> None:
        self.model, self.num_samples = model, num_lessons
        self._read, self._checked = read, checked

    def loss(self, indices: Sequence[int], generator: torch.Generator) -> dict[str, Tensor]:
        """``masks``: how the masks drawn at the objects' middles miss them (Dice and cross-entropy); ``objects``: how
        the middles are missed. A patch that is foreground and in no target counts little: it may be an object that no
        proposal found, and is no example of background.
        """
        parts = [self._loss_of(self._read(index), generator) for index in indices]
        masks, objects = (torch.stack(values).mean() for values in zip(*parts, strict=True))
        return {"masks": masks, "objects": objects}

    def metrics(self) -> dict[str, float]:
        """``mask_iou``: mean overlap of the masks drawn at the objects' middles with these objects, a few photos."""
        ious = []
        for index in self._checked:
            lesson = self._read(index)
            sizes, places, owners = centres_of(lesson.masks)
            seen = self.model(_as_input(lesson.points, self._device))
            drawn = seen.masks(sizes.to(self._device), places.to(self._device)).cpu() > 0
            wanted = torch.from_numpy(lesson.masks > 0.5).flatten(1)[owners]
            union = (drawn | wanted).sum(dim=1).clamp_min(1)
            ious += ((drawn & wanted).sum(dim=1) / union).tolist()
        return {"mask_iou": float(np.mean(ious))} if ious else {}

    @property
    def _device(self) -> torch.device:
        return self.model.objectness.weight.device

    def _loss_of(self, lesson: Lesson, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        lesson = _mirrored(lesson) if torch.rand(1, generator=generator) < 0.5 else lesson
        points = _as_input(lesson.points, torch.device("cpu"))
        points = points + NOISE * torch.randn(points.shape, generator=generator)
        seen = self.model(points.to(self._device))
        targets = torch.from_numpy(lesson.masks.astype(np.float32)).flatten(1).to(self._device)
        centres, weights = centres_of(lesson.masks), torch.from_numpy(lesson.weights.astype(np.float32))
        order = torch.randperm(len(centres[0]), generator=generator)[:MASKS_A_STEP]
        objects = _object_loss(seen, lesson, centres, weights.to(self._device))
        if not len(order):
            return seen.weights.sum() * 0, objects
        sizes, places, owners = (values[order].to(self._device) for values in centres)
        return _mask_loss(seen.masks(sizes, places), targets[owners], weights.to(self._device)[owners]), objects


def centres_of(masks: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Which patches count as the middles of objects: of each one a few that are nearest to the middle of its box.

    Args:
        masks: (K, rows, cols) share of each patch that an object covers.

    Returns:
        (P,) sizes, patches and objects, int64.
    """
    found: list[tuple[int, int, int]] = []
    for number, mask in enumerate(masks):
        rows, cols = np.nonzero(mask > 0.5)
        if not len(rows):
            continue
        away = sum(((item - item.mean()) / (np.ptp(item) + 1)) ** 2 for item in (rows, cols))
        nearest = np.argsort(away, kind="stable")[: max(1, min(MOST_CENTRES, len(rows) // CENTRE_SHARE))]
        size = int(np.searchsorted(AREAS, mask.mean(), side="right"))
        found += [(size, int(rows[place]) * mask.shape[1] + int(cols[place]), number) for place in nearest]
    table = torch.tensor(found, dtype=torch.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


@torch.inference_mode()
def draw_masks(heads: Sequence[InstanceHead], points: Sequence[np.ndarray]) -> Found:
    """The masks at the places of highest objectness, near duplicates among them.

    Args:
        heads: Trained; what they say of each place is averaged.
        points: (rows, cols, d + 1) as in ``Lesson``, of each head.
    """
    rows, cols = points[0].shape[:2]
    seen = [head(_as_input(item, head.objectness.weight.device)) for head, item in zip(heads, points, strict=True)]
    chance = torch.stack([item.objectness.sigmoid().flatten() for item in seen]).mean(dim=0)
    best = torch.argsort(chance, descending=True, stable=True)[:LOOKED_AT]
    sizes, places = best // (rows * cols), best % (rows * cols)
    logits = torch.stack([item.masks(sizes, places) for item in seen]).mean(dim=0)
    inside, probability = logits > 0, logits.sigmoid()
    sure = (probability * inside).sum(dim=1) / inside.sum(dim=1).clamp_min(1)
    kept = inside.sum(dim=1) >= FEWEST_PATCHES
    logits, scores = logits[kept], (chance[best] * sure)[kept]
    order = torch.argsort(scores, descending=True, stable=True)
    return Found(logits[order].reshape(-1, rows, cols).cpu().numpy(), scores[order].cpu().numpy())


def _as_input(points: np.ndarray, device: torch.device) -> Tensor:
    """(rows, cols, d + 1) of any float type to (d + 1, rows, cols) float32."""
    return torch.from_numpy(np.ascontiguousarray(points.transpose(2, 0, 1), np.float32)).to(device)


def _mirrored(lesson: Lesson) -> Lesson:
    return Lesson(lesson.points[:, ::-1], np.ascontiguousarray(lesson.masks[..., ::-1]), lesson.weights)


def _mask_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Dice and cross-entropy of (P, N) masks, weighted by (P,)."""
    drawn = logits.sigmoid()
    dice = 1 - (2 * (drawn * targets).sum(dim=1) + 1) / (drawn.sum(dim=1) + targets.sum(dim=1) + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
    return ((dice + entropy) * weights).sum() / weights.sum()


def _object_loss(seen: _Seen, lesson: Lesson, centres: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Focal cross-entropy (Lin et al., ICCV 2017) of the objectness, for each middle that there should be."""
    logits = seen.objectness
    sizes, places, owners = (values.to(logits.device) for values in centres)
    foreground = torch.from_numpy(lesson.foreground).flatten().to(logits.device)
    counts = (1 - MISSED * foreground).expand_as(logits).clone()
    if len(lesson.masks):
        covered = torch.from_numpy(lesson.masks.max(axis=0) > 0).flatten().to(logits.device)
        counts[:, covered] = COVERED
    targets = torch.zeros_like(logits)
    targets[sizes, places], counts[sizes, places] = 1.0, weights[owners]
    chance = logits.sigmoid()
    wrong = torch.where(targets > 0, 1 - chance, chance)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    balance = torch.where(targets > 0, 0.75, 0.25)
    return (wrong**2 * entropy * counts * balance).sum() / max(len(sizes), 4)
