"""Engine ``published``: the paper's rule (arXiv 2206.06363, section 3.1), one mask per photo.

A = Q K^T of the last block, raw logits. The CLS row, averaged over the first heads, is cut down to the patches that
hold half of its mass. Among the top patches, those whose keys point the way of the seed's are kept; their rows of the
graph K K^T (summed over all heads) are added up and thresholded at zero, and the component that holds the seed is the
mask.
"""

from dataclasses import dataclass

import numpy as np

from maskdistill.config import ProposalConfig
from maskdistill.errors import ConfigError
from maskdistill.features.forward import Features, array_of
from maskdistill.proposals.affinity import key_affinity
from maskdistill.proposals.components import component_at


@dataclass(frozen=True)
class Diffusion:
    """Every step of the published rule; arrays are (rows, cols)."""

    attention: np.ndarray  # float32, CLS row of A: mean of the first heads, 0 outside the kept mass
    candidates: np.ndarray  # bool, the top patches
    seed: tuple[int, int]  # row, col of the largest attention
    seed_affinity: np.ndarray  # float32, the seed's row of K K^T
    kept: np.ndarray  # bool, candidates whose affinity to the seed is positive
    diffused: np.ndarray  # float32, sum of the kept patches' rows
    component: np.ndarray  # bool, the mask; empty where the diffused affinity at the seed is not positive


def diffuse(features: Features, config: ProposalConfig) -> Diffusion:
    """Apply the published rule to one photo.

    Raises:
        ConfigError: If the queries and keys of the last block were not extracted.
    """
    if features.keys is None or features.cls_query is None:
        raise ConfigError("The published engine reads queries and keys: extract the features with last_qk=True.")
    grid = features.grid
    attention = _cls_row(features, config)
    topk = max(1, round(config.topk * attention.size))
    order = np.argsort(-attention, kind="stable")
    candidates = np.zeros(attention.size, dtype=bool)
    candidates[order[:topk]] = True
    candidates &= attention > 0  # outside the kept mass all are 0: which of them were "top" would be chance
    seed = int(order[0])
    candidates[seed] = True
    seed_affinity = key_affinity(features, np.array([seed]))[0]
    kept = candidates & (seed_affinity > 0)
    diffused = key_affinity(features, np.flatnonzero(kept)).sum(axis=0) if kept.any() else np.zeros_like(attention)
    foreground = (diffused > 0).reshape(grid)
    position = (seed // grid[1], seed % grid[1])
    # Without this, a seed outside the foreground would return the background's component.
    component = component_at(foreground, position) if foreground[position] else np.zeros(grid, dtype=bool)
    return Diffusion(
        attention.reshape(grid),
        candidates.reshape(grid),
        position,
        seed_affinity.reshape(grid),
        kept.reshape(grid),
        diffused.reshape(grid),
        component,
    )


def _cls_row(features: Features, config: ProposalConfig) -> np.ndarray:
    """(N,) mean raw logits of the first heads, entries outside the top ``mass`` of the row's mass set to 0.

    Logits may be negative; their mass is taken after shifting the row's minimum to 0, which keeps the order.
    """
    keys = array_of(features.keys)[: config.num_heads]  # (heads, N, d)
    queries = array_of(features.cls_query)[: config.num_heads]
    row = np.einsum("hd,hnd->hn", queries, keys).mean(axis=0)
    row = row - row.min()
    order = np.argsort(-row, kind="stable")
    cumulative = np.cumsum(row[order])
    inside = np.searchsorted(cumulative, config.mass * cumulative[-1]) + 1
    kept = np.zeros_like(row)
    kept[order[:inside]] = row[order[:inside]]
    return kept.astype(np.float32)
