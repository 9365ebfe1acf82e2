"""How alike two patches are: cosines of their features, and the published products of keys."""

import numpy as np

from maskdistill.errors import ConfigError
from maskdistill.features.forward import Features


def stacked_features(features: Features, kind: str, blocks: tuple[int, ...]) -> np.ndarray:
    """Unit vectors whose inner products are the mean cosine over the chosen features.

    Args:
        features: One photo's features.
        kind: ``"tokens"`` (patch tokens of ``blocks``) or ``"keys"`` (last block's keys, heads side by side).
        blocks: Block numbers from 1; ignored for keys.

    Returns:
        (N, D) float32 with rows of length 1.

    Raises:
        ConfigError: If these features were not asked of the forward pass.
    """
    if kind == "keys":
        if features.keys is None:
            raise ConfigError("The keys of the last block were not extracted: ask for them with last_qk=True.")
        return _unit(features.keys.permute(1, 0, 2).flatten(1).numpy())
    missing = [block for block in blocks if block not in features.patch_tokens]
    if missing or not blocks:
        have = sorted(features.patch_tokens)
        raise ConfigError(f"Patch tokens of blocks {missing or 'none'} were not extracted; there are {have}.")
    parts = [_unit(features.patch_tokens[block].numpy()) for block in blocks]
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
    keys = features.keys.numpy()  # (heads, N, d)
    return np.einsum("hrd,hnd->rn", keys[:, rows], keys, optimize=True)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float32, copy=False)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
