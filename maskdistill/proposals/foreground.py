"""Foreground learnt across photos: a small perceptron on the patches of all photos, taught by their cut masks.

A cut knows one photo only: where street or quay stands out from the sky, it takes them for the object. A head that sees
many photos learns that these are background elsewhere. The photos are parted into folds, and each is judged by a head
that never saw it, so no cut's mistake is learnt by heart. The idea is FOUND's (Siméoni et al., CVPR 2023). No ground
truth is read.

Neither has the projection of a fold seen its photos: where few photos are centred together, and each direction counts
as much as any other, what is foreground on one is the opposite of what is on the rest, and a head learns just that.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from scipy.special import erf, expit

from maskdistill.config import ForegroundConfig
from maskdistill.files import replace_atomically
from maskdistill.machine import one_thread
from maskdistill.storage.read_files import DamagedFileError, read_arrays

BATCH = 2048  # patches a step
LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 2e-3, 1e-2, 0.1
PROJECTION_PATCHES = 12_000  # that PCA looks at
CHUNK = 20_000  # patches that are made float32 at a time

OnStep = Callable[[], object]


@dataclass(frozen=True, eq=False)
class ForegroundHeads:
    """A projection of the patches and a perceptron on it for each fold. All arrays are float32."""

    mean: np.ndarray  # (folds, D)
    basis: np.ndarray  # (folds, D, d) directions of PCA, over the mean spread along them
    hidden: np.ndarray  # (folds, d, H)
    hidden_bias: np.ndarray  # (folds, H)
    output: np.ndarray  # (folds, H)
    output_bias: np.ndarray  # (folds,)

    @property
    def num_folds(self) -> int:
        """How many heads there are."""
        return len(self.hidden)

    def probability(self, vectors: np.ndarray, fold: int | None = None) -> np.ndarray:
        """Of each patch, to be foreground.

        Args:
            vectors: (N, D) of ``patch_vectors``.
            fold: The head to ask, which must not have seen the photo; None takes the mean of all, for photos that none
                of them saw.

        Returns:
            (N,) float32 in [0, 1].
        """
        heads = range(self.num_folds) if fold is None else (fold,)
        with one_thread():
            return np.stack([self._judge(vectors, head) for head in heads]).mean(axis=0, dtype=np.float32)

    def _judge(self, vectors: np.ndarray, head: int) -> np.ndarray:
        points = project(vectors, self.mean[head], self.basis[head])
        hidden = points @ self.hidden[head] + self.hidden_bias[head]
        hidden = hidden * (0.5 * (1 + erf(hidden / np.float32(np.sqrt(2)))))  # GELU
        return expit(hidden @ self.output[head] + self.output_bias[head]).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write them as one .npz file."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}

        def fill(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez(file, **arrays)

        replace_atomically(path, fill)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: If there is none.
            DamagedFileError: If it cannot be read, or its arrays do not go together.
        """
        names = [field.name for field in fields(cls)]
        arrays = read_arrays(path, names=names)
        heads = cls(**{name: arrays[name] for name in names})
        if not heads._fits():
            raise DamagedFileError(path, "its arrays do not go together")
        return heads

    def _fits(self) -> bool:
        if self.mean.ndim != 2 or self.hidden.ndim != 3:
            return False
        folds, dimensions, width = self.hidden.shape
        shapes = (self.mean.shape, (*self.mean.shape, dimensions), (folds, width), (folds, width), (folds,))
        arrays = (self.mean, self.basis, self.hidden_bias, self.output, self.output_bias)
        return len(self.mean) == folds and shapes == tuple(item.shape for item in arrays)


def patch_vectors(tokens: np.ndarray, num_blocks: int) -> np.ndarray:
    """Stored tokens of several blocks as unit vectors whose inner products are the mean cosine over the blocks.

    Args:
        tokens: (rows, cols, D), the blocks side by side.
        num_blocks: How many they are.

    Returns:
        (rows * cols, D) float32.
    """
    parts = np.asarray(tokens, np.float32).reshape(tokens.shape[0] * tokens.shape[1], num_blocks, -1)
    lengths = np.linalg.norm(parts, axis=2, keepdims=True)
    units = parts / np.maximum(lengths, 1e-6) / np.float32(np.sqrt(num_blocks))
    return units.reshape(len(parts), -1)


def fit_projection(vectors: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """PCA of patches, scaled as a whole: directions keep their spread, so that those of single photos count little.

    Args:
        vectors: (M, D) float32 sample of patches.
        dimensions: Directions wanted; d is at most D.

    Returns:
        (D,) mean and (D, d) basis, float32.
    """
    with one_thread():
        mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - mean.astype(np.float32)
        variances, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(centred))
    order = np.argsort(variances)[::-1][:dimensions]
    scale = np.sqrt(max(float(variances[order].mean()), 1e-12))
    return mean.astype(np.float32), (directions[:, order] / scale).astype(np.float32)


def project(vectors: np.ndarray, mean: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(N, D) vectors to (N, d) float32 points, of variance 1 in the mean over the directions."""
    points = np.empty((len(vectors), basis.shape[1]), np.float32)
    for first in range(0, len(vectors), CHUNK):
        points[first : first + CHUNK] = (vectors[first : first + CHUNK].astype(np.float32) - mean) @ basis
    return points


def assign_folds(groups: Sequence[str], num_folds: int, seed: int) -> dict[str, int]:
    """A fold for each group of photos, all folds of about one size.

    Args:
        groups: What belongs together, as the digests of the photos' files: views of one file are in one fold.
        num_folds: Folds.
        seed: Of the order in which the groups are dealt out.
    """
    known = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(known))
    return {group: int(place) % num_folds for group, place in zip(known, order, strict=True)}


def fit_heads(
    vectors: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    config: ForegroundConfig,
    seed: int,
    on_step: OnStep = lambda: None,
) -> ForegroundHeads:
    """Fit projection and head of each fold on the patches of the other folds.

    Args:
        vectors: (M, D) patches as ``patch_vectors`` gives them, float16 will do.
        targets: (M,) float32 share of each patch that the photo's masks cover.
        folds: (M,) fold of each patch's photo.
        config: ``folds``, ``dimensions``, ``hidden``, ``steps``.
        seed: Of weights, batches and dropout.
        on_step: Called after each step of each head.
    """
    fitted = []
    for fold in range(config.folds):
        rows = np.flatnonzero(folds != fold)
        sample = np.sort(np.random.default_rng((seed, fold)).permutation(rows)[:PROJECTION_PATCHES])
        mean, basis = fit_projection(vectors[sample].astype(np.float32), config.dimensions)
        with one_thread():
            points = project(vectors[rows], mean, basis)
        fitted.append((mean, basis, *_train(points, targets[rows], config, seed + fold, on_step)))
    return ForegroundHeads(*(np.stack(parts) for parts in zip(*fitted, strict=True)))


def _train(
    points: np.ndarray, targets: np.ndarray, config: ForegroundConfig, seed: int, on_step: OnStep
) -> tuple[np.ndarray, ...]:
    """One head: hidden weights (d, H) and bias (H,), output weights (H,) and bias ()."""
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits

    inputs, wanted = torch.from_numpy(points), torch.from_numpy(targets)
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, last = nn.Linear(points.shape[1], config.hidden), nn.Linear(config.hidden, 1)
        net = nn.Sequential(first, nn.GELU(), nn.Dropout(DROPOUT), last)
        optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / config.steps)
        for _ in range(config.steps):
            batch = torch.randint(len(inputs), (BATCH,))
            loss = binary_cross_entropy_with_logits(net(inputs[batch])[:, 0], wanted[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            on_step()
    weights = (first.weight.T, first.bias, last.weight[0], last.bias[0])
    return tuple(item.detach().numpy().copy() for item in weights)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, whatever the number of cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
