"""How alike two patches are: cosines of their features, and the published products of keys."""

import numpy as np
from torch import Tensor

from maskdistill.errors import ConfigError
from maskdistill.features.forward import Features, array_of


def stacked_features(features: Features, kind: str, blocks: tuple[int, ...]) -> np.ndarray:
    """Unit vectors whose inner products are the mean cosine over the chosen features.

    Args:
        features: One photo's features.
        kind: ``"tokens"``, or ``"keys"``, ``"queries"`` or ``"values"``, heads side by side.
        blocks: Block numbers from 1; none for the keys of the last block, as its attention uses them.

    Returns:
        (N, D) float32 with rows of length 1.

    Raises:
        ConfigError: If these features were not asked of the forward pass.
    """
    if kind == "keys" and not blocks:
        if features.keys is None:
            raise ConfigError("The keys of the last block were not extracted: ask for them with last_qk=True.")
        return _unit(_side_by_side(features.keys))
    tokens = kind == "tokens"
    there = (
        features.patch_tokens if tokens else {n: part for (of, n), part in features.projections.items() if of == kind}
    )
    missing = [block for block in blocks if block not in there]
    if missing or not blocks:
        what = "Patch tokens" if tokens else kind.capitalize()
        raise ConfigError(f"{what} of blocks {missing or 'none'} were not extracted; there are {sorted(there)}.")
    parts = [_unit(there[block].numpy() if tokens else _side_by_side(there[block])) for block in blocks]
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))


def cosine_affinity(vectors: np.ndarray) -> np.ndarray:
    """(N, D) unit vectors -> (N, N) float32 cosines in [-1, 1]."""
    return vectors @ vectors.T


def key_affinity(features: Features, rows: np.ndarray) -> np.ndarray:
    """Published graph: sum over heads of the products of keys, not normalised, CLS left out.

    Args:
        features: One photo's features, with keys.
        rows: (R,) patch indices whose rows are wanted.

    Returns:
        (R, N) float32.
    """
    keys = array_of(features.keys)  # (heads, N, d)
    return np.einsum("hrd,hnd->rn", keys[:, rows], keys, optimize=True)


def _side_by_side(heads: Tensor) -> np.ndarray:
    """(heads, N, d) -> (N, heads * d)."""
    return heads.permute(1, 0, 2).flatten(1).numpy()


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float32, copy=False)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
