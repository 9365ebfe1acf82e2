"""The space that mask embeddings are clustered in: standardised, rotated and cut by PCA, whitened, of length 1."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from maskdistill.errors import CheckpointError, ConfigError, ShapeError

FIT_ROWS = 20_000  # random rows that a fit reads at most: memory in float64, time of the decomposition
CHUNK_ROWS = 8192  # rows transformed at a time, so that no second float64 copy of all vectors is held
FLAT = 1e-6  # a dimension whose std is below this fraction of its mean magnitude is constant up to rounding
NO_PCA = -1


@dataclass(frozen=True, eq=False)
class EmbeddingSpace:
    """A fitted map from raw vectors to the space of the clusters.

    ``transform`` computes ``((x * weights - mean) @ components.T) / spread`` and, if ``normalise``, divides each row by
    its length. Without PCA ``components`` is None, ``mean`` 0 and ``spread`` 1: the published way, in which vectors
    are divided by the std of each dimension but not centred.
    """

    weights: np.ndarray  # (D,) float64, 1 / std of each raw dimension or 1; 0 for one that is constant
    mean: np.ndarray  # (D,) float64, after the weights
    components: np.ndarray | None  # (d, D) float64 orthonormal rows, largest variance first
    spread: np.ndarray  # (d,) float64, std along each component if whitened, else 1
    normalise: bool
    note: str | None = None  # what could not be done as set

    @classmethod
    def fit(
        cls, vectors: np.ndarray, dimensions: int, whiten: bool, normalise: bool, *, standardise: bool = False
    ) -> Self:
        """Learn the space from vectors.

        Args:
            vectors: (N, D) raw embeddings; of more than ``FIT_ROWS`` a fixed sample is read.
            dimensions: Kept by PCA; -1 for no PCA. Cut, with a note, to the directions in which the vectors differ,
                at most N - 1.
            whiten: Divide each dimension by its std, after PCA if there is one.
            normalise: Divide each vector by its length.
            standardise: Divide each raw dimension by its std before PCA.

        Raises:
            ShapeError: If ``vectors`` is not a matrix.
            ConfigError: If there are fewer than two vectors, none differs, one is not finite, or ``dimensions`` is
                neither positive nor -1.
        """
        check_vectors(vectors)
        if dimensions < 1 and dimensions != NO_PCA:
            raise ConfigError(f"dimensions must be at least 1, or -1 for no PCA, got {dimensions}.")
        sample = np.asarray(sample_rows(vectors, FIT_ROWS), dtype=np.float64)
        weights = _inverse_std(sample, scale=standardise or (whiten and dimensions == NO_PCA))
        if not weights.any():
            raise ConfigError(
                f"All {len(vectors)} embeddings are the same, so their masks cannot be distinguished. Add other photos."
            )
        if dimensions == NO_PCA:
            return cls(weights, np.zeros_like(weights), None, np.ones_like(weights), normalise)
        mean, components, spread = _principal_axes(sample * weights, dimensions)
        note = None
        if len(components) < dimensions:
            note = f"PCA to {dimensions} dimensions was cut to {len(components)}: {len(vectors)} vectors span no more."
        return cls(weights, mean, components, spread if whiten else np.ones_like(spread), normalise, note)

    @property
    def dimensions(self) -> int:
        """d, the number of dimensions after ``transform``."""
        return len(self.spread)

    def cut(self, dimensions: int) -> Self:
        """The same space with the first dimensions only, as ``fit`` would give it for as many; not without PCA."""
        if self.components is None:
            raise ConfigError("A space without PCA has no order of dimensions to cut. Fit it with dimensions above 0.")
        return replace(self, components=self.components[:dimensions], spread=self.spread[:dimensions], note=None)

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) raw vectors to (N, d) float32; a vector of length 0 keeps it.

        Raises:
            ShapeError: If the vectors do not have the D dimensions of the fit.
        """
        if vectors.ndim != 2 or vectors.shape[1] != len(self.weights):
            raise ShapeError("vectors", f"(N, {len(self.weights)})", vectors.shape)
        placed = np.empty((len(vectors), self.dimensions), dtype=np.float32)
        for start in range(0, len(vectors), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            placed[rows] = self.transform_chunk(vectors[rows])
        return placed

    def transform_chunk(self, vectors: np.ndarray) -> np.ndarray:
        """``transform`` of so few rows that a float64 copy of them does no harm."""
        values = vectors.astype(np.float64) * self.weights - self.mean
        if self.components is not None:
            values = values @ self.components.T  # (n, d)
        values /= self.spread
        return unit_rows(values) if self.normalise else values

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays for ``np.savez``; inverse of ``from_arrays``."""
        arrays = {"weights": self.weights, "mean": self.mean, "spread": self.spread}
        if self.components is not None:
            arrays["components"] = self.components
        return {**arrays, "normalise": np.array(self.normalise), "note": np.array(self.note or "")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The space that ``to_arrays`` wrote.

        Raises:
            CheckpointError: If an array is missing.
        """
        missing = {"weights", "mean", "spread", "normalise", "note"} - set(arrays)
        if missing:
            raise CheckpointError(
                f"The embedding space lacks {', '.join(sorted(missing))}. Run the stage 'cluster' again."
            )
        return cls(
            weights=np.asarray(arrays["weights"]),
            mean=np.asarray(arrays["mean"]),
            components=np.asarray(arrays["components"]) if "components" in arrays else None,
            spread=np.asarray(arrays["spread"]),
            normalise=bool(arrays["normalise"]),
            note=str(arrays["note"]) or None,
        )


def check_vectors(vectors: np.ndarray) -> None:
    """Raise unless ``vectors`` is a finite (N, D) array of at least two rows.

    Raises:
        ShapeError: If it is not a matrix with columns.
        ConfigError: If it has fewer than two rows, or a value that is not finite.
    """
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise ShapeError("vectors", "(N, D)", vectors.shape)
    if len(vectors) < 2:
        raise ConfigError(f"Clustering needs the embeddings of at least 2 masks, got {len(vectors)}. Add photos.")
    if getattr(vectors, "is_finite", False):  # of stored ones the files were checked
        return
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise ConfigError(
            f"{len(broken)} of {len(vectors)} embeddings hold NaN or infinity, the first in row {broken[0]}. "
            "Run the stage 'embed' again, with features.precision=float32 if it stays."
        )


def sample_rows(vectors: np.ndarray, most: int) -> np.ndarray:
    """All rows, or ``most`` of a longer array in their order: the same ones for every array of that length."""
    if len(vectors) <= most:
        return vectors
    # At random, not evenly spaced: photos that come in series would be met at the same place of each.
    return vectors[np.sort(np.random.default_rng(0).choice(len(vectors), most, replace=False))]


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Each row divided by its Euclidean length; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def _inverse_std(sample: np.ndarray, *, scale: bool) -> np.ndarray:
    std = sample.std(axis=0)
    varies = std > FLAT * np.abs(sample).mean(axis=0)
    return np.divide(1.0, std, out=np.zeros_like(std), where=varies) if scale else varies.astype(np.float64)


def _principal_axes(sample: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(D,) mean, (d, D) axes and (d,) std along them, d at most ``dimensions`` and the numerical rank."""
    num_rows, width = sample.shape
    solver = "covariance_eigh" if num_rows >= width else "full"  # both exact and deterministic; the cheaper
    # One thread: the same bits whatever the machine is doing, and where it is busy over ten times as fast.
    with threadpool_limits(limits=1):
        fitted = PCA(min(dimensions, num_rows - 1, width), svd_solver=solver).fit(sample)
    spread = np.sqrt(np.maximum(fitted.explained_variance_, 0))
    # Whitening would blow rounding noise up to variance 1: directions without variance are left out.
    rank = max(1, int(np.count_nonzero(spread > FLAT * spread[0])))
    return fitted.mean_, fitted.components_[:rank], spread[:rank]
