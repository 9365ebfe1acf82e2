"""Engine ``ncut``: foreground by normalised cut on patch features (Shi and Malik, PAMI 2000; TokenCut, CVPR 2022).

Unlike TokenCut, the eigenvector comes from Lanczos iterations on the symmetric form, the foreground is the part that
covers less of the photo's border, and the cut is repeated on the patches not yet taken (MaskCut, CVPR 2023).
"""

import logging
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, get_lapack_funcs
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from maskdistill.config import ProposalConfig
from maskdistill.masks import border_share
from maskdistill.proposals.components import component_at, keep_large_components

logger = logging.getLogger(__name__)

FAINT_LINK = 1e-5  # TokenCut's weight of a pair below tau: the graph stays connected
PLAINLY_MORE = 2.0  # times the attention per patch from which "attended" overrules the border
FEW_PATCHES = 64  # below which all eigenvectors cost less than Lanczos' calls
MIN_PATCHES = 4  # fewer patches than this cannot be cut in two in a way that means anything


@dataclass(frozen=True)
class Cut:
    """One cut of the patch graph; arrays are (rows, cols)."""

    eigenvector: np.ndarray  # float32, split at 0, foreground positive; patches taken earlier hold the lowest value
    foreground: np.ndarray  # bool, eigenvector > 0
    component: np.ndarray  # bool, the connected components kept
    seed: tuple[int, int]  # row, col of the largest value
    eigengap: float  # [0, 1]: gap between the second and the third eigenvalue of the normalised affinity
    eigenvalues: tuple[float, ...]  # largest first, of D^-1/2 A D^-1/2
    dense: bool  # True if the dense solver was used: for a small graph, or where Lanczos did not converge


def cut_objects(
    affinity: np.ndarray, grid: tuple[int, int], config: ProposalConfig, attention: np.ndarray | None = None
) -> list[Cut]:
    """Up to ``config.num_cuts`` objects by repeated cuts.

    Args:
        affinity: (N, N) cosines, N = rows * cols.
        grid: rows, cols.
        config: ``tau``, ``foreground``, ``component`` and the stop rules.
        attention: (N,) attention of CLS to the patches, for the rule "attended"; without it that rule is "border".

    Returns:
        The cuts in the order found; none where the photo has too few patches, or where patches that are all alike leave
        nothing to cut. One after the first is dropped if it is smaller than ``min_area``.
    """
    links = np.where(affinity > config.tau, np.float32(1), np.float32(FAINT_LINK))
    free = np.ones(len(affinity), dtype=bool)
    cuts: list[Cut] = []
    for number in range(config.num_cuts):
        among = links if free.all() else links[np.ix_(free, free)]
        if len(among) < MIN_PATCHES or among.min() == 1:  # where all are alike, rounding would draw the cut
            break
        cut = cut_once(links, free, grid, config, attention)
        if not cut.component.any():
            break
        free &= ~cut.component.ravel()
        if number == 0 or cut.component.mean() >= config.min_area:
            cuts.append(cut)
    return cuts


def cut_once(
    links: np.ndarray,
    free: np.ndarray,
    grid: tuple[int, int],
    config: ProposalConfig,
    attention: np.ndarray | None = None,
) -> Cut:
    """Cut the graph of the free patches in two and choose the foreground.

    Args:
        links: (N, N) float32 weights, all positive, symmetric.
        free: (N,) bool, patches that take part.
        grid: rows, cols.
        config: ``foreground``, ``component``, ``min_piece``.
        attention: (N,) attention of CLS to the patches, or None.
    """
    weights = links if free.all() else links[np.ix_(free, free)]
    vector, eigenvalues, dense = second_eigenvector(weights)
    vector = vector - vector.mean()
    values = np.full(len(free), -np.inf, dtype=np.float32)
    values[free] = vector
    values = values.reshape(grid)
    taken = ~free.reshape(grid)
    watched = attention.reshape(grid) if attention is not None and config.foreground == "attended" else None
    if _must_flip(values, taken, config.foreground, watched):
        values = np.where(taken, values, -values)
    foreground = values > 0
    values = np.where(taken, values[~taken].min(), values)
    strength = np.where(foreground, values, -np.inf)
    row, col = np.unravel_index(int(strength.argmax()), grid)
    seed = (int(row), int(col))
    if config.seed_component_only:
        component = component_at(foreground, seed)
    else:
        component = keep_large_components(foreground, config.min_piece)
    gap = float(np.clip(eigenvalues[1] - eigenvalues[2], 0, 1)) if len(eigenvalues) > 2 else 0.0
    return Cut(values, foreground, component, seed, gap, tuple(map(float, eigenvalues)), dense)


def second_eigenvector(
    weights: np.ndarray, count: int = 2, tolerance: float = 1e-4
) -> tuple[np.ndarray, np.ndarray, bool]:
    """The vector that relaxes the normalised cut.

    It is the second-smallest generalised eigenvector of (D - A, D), computed as D^-1/2 z with z the second-*largest*
    eigenvector of D^-1/2 A D^-1/2, which Lanczos finds in ten to twenty products. The largest is known beforehand, the
    square root of the degrees with eigenvalue 1, and is taken out; the start vector is fixed, and so is the generator
    that ARPACK draws on when it restarts, so that equal graphs give equal cuts.

    Args:
        weights: (N, N) float32, symmetric, positive.
        count: Eigenvalues wanted below the largest; 1 is faster, where their gap is of no interest.
        tolerance: Relative accuracy of the eigenvalues.

    Returns:
        (N,) vector of norm 1 with a fixed sign; up to ``count`` + 1 eigenvalues, largest first; whether the dense
        solver was used, which a small graph has at once.
    """
    degrees = weights.sum(axis=1)
    scale = 1 / np.sqrt(degrees)
    first = np.sqrt(degrees / degrees.sum())
    dense = len(weights) < FEW_PATCHES
    if not dense:
        generator = np.random.default_rng(0)
        start = generator.standard_normal(len(weights)).astype(weights.dtype)
        product = _deflated(weights, scale, first)
        try:
            values, vectors = eigsh(
                product, k=count, which="LA", v0=start, ncv=4 + 4 * count, tol=tolerance, rng=generator
            )
        except ArpackError:  # no convergence, or a graph whose patches are all alike
            logger.info("Lanczos gave up on %d patches; using the dense solver.", len(weights))
            dense = True
    if dense:
        last = len(weights) - 1
        deflated = weights * scale[:, None]
        deflated *= scale
        deflated -= np.outer(first, first)
        exact = deflated if len(weights) < FEW_PATCHES else deflated.astype(np.float64)
        values, vectors = _top_of(exact, min(count, last + 1))
    order = np.argsort(values)[::-1]
    vector = scale * vectors[:, order[0]]
    vector = vector / np.sqrt(vector @ vector)
    if vector[np.abs(vector).argmax()] < 0:
        vector = -vector
    return vector.astype(np.float32), np.concatenate([[1.0], values[order]]), dense


def _top_of(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of a symmetric matrix, the smallest of them first, and their vectors as columns.

    As ``scipy.linalg.eigh`` gives them, which for so small a graph takes as long to call LAPACK as that to answer.

    Raises:
        ValueError: If a number is not finite.
        LinAlgError: If LAPACK does not find them.
    """
    size = len(matrix)
    if not np.isfinite(matrix).all():
        raise ValueError("The links between patches are not all finite.")
    solve, ask = get_lapack_funcs(("syevr", "syevr_lwork"), (matrix,))
    work, whole, _ = ask(size, lower=1)
    values, vectors, found, _, failed = solve(
        matrix, range="I", lower=1, il=size - count + 1, iu=size, lwork=int(work), liwork=int(whole)
    )
    if failed:
        raise LinAlgError(f"LAPACK found no eigenvectors of a graph of {size} patches ({failed}).")
    return values[:found], vectors


def _deflated(weights: np.ndarray, scale: np.ndarray, first: np.ndarray) -> LinearOperator:
    """D^-1/2 A D^-1/2 without its largest eigenvector, as a product with a vector: the matrix is not formed."""

    def multiply(vector: np.ndarray) -> np.ndarray:
        product = scale * (weights @ (scale * vector))
        return product - first * (first @ product)

    product = LinearOperator(weights.shape, matvec=multiply, dtype=weights.dtype)
    product.matvec = multiply  # its own checks, thousands of times, cost as much as the products
    return product


def _must_flip(values: np.ndarray, taken: np.ndarray, rule: str, attention: np.ndarray | None) -> bool:
    """Whether the patches with a negative value are the foreground."""
    if rule == "largest":
        return float(-values[~taken].min()) > float(values[~taken].max())
    positive, negative = (values > 0) & ~taken, (values <= 0) & ~taken
    if attention is not None and positive.any() and negative.any():
        ratio = float(attention[positive].mean() / max(attention[negative].mean(), 1e-12))
        if not 1 / PLAINLY_MORE <= ratio <= PLAINLY_MORE:
            return ratio < 1
    return border_share(positive) > border_share(negative)
