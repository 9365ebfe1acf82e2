"""Shares of masks in clusters, as columns of clusters.parquet and classes.parquet: ``share_1`` to ``share_K``."""

from pathlib import Path

import numpy as np
import pandas as pd

from maskdistill.storage.read_files import DamagedFileError
from maskdistill.storage.run_folder import Run

PREFIX = "share_"


def with_shares(table: pd.DataFrame, shares: np.ndarray | None) -> pd.DataFrame:
    """The table with the shares of its masks in place of those it had.

    Args:
        table: N rows.
        shares: (N, K) float32, each row sums to 1; None for none.
    """
    plain = table.drop(columns=[name for name in table.columns if name.startswith(PREFIX)])
    if shares is None:
        return plain
    columns = {f"{PREFIX}{number}": shares[:, number - 1] for number in range(1, shares.shape[1] + 1)}
    return pd.concat([plain, pd.DataFrame(columns, index=table.index)], axis=1)


def shares_of(table: pd.DataFrame, path: Path) -> np.ndarray | None:
    """(N, K) float32 shares of the masks of a table in its clusters; None where it has none.

    Args:
        table: clusters.parquet or classes.parquet.
        path: Where it lies.

    Raises:
        DamagedFileError: If a column is missing, or a row is no distribution.
    """
    count = sum(name.startswith(PREFIX) for name in table.columns)
    if not count:
        return None
    names = [f"{PREFIX}{number}" for number in range(1, count + 1)]
    if missing := [name for name in names if name not in table]:
        raise DamagedFileError(path, f"it has {count} columns of shares, but no {missing[0]}")
    shares = table[names].to_numpy(np.float32)
    if not (np.isfinite(shares).all() and (shares >= 0).all() and np.allclose(shares.sum(axis=1), 1, atol=1e-3)):
        raise DamagedFileError(path, "the shares of a mask in the clusters do not sum to 1")
    return shares


def shares_of_mask(run: Run) -> dict[int, np.ndarray]:
    """Mask id -> (K,) float32 share in each class that the models learn; empty where each mask is wholly in its own.

    Raises:
        DamagedFileError: If the table is damaged.
    """
    table = run.classes()
    shares = shares_of(table, run.classes_path if run.classes_path.exists() else run.clusters_path)
    return {} if shares is None else dict(zip(table["mask_id"].tolist(), shares, strict=True))


def own_share(shares: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """(N,) share of each mask in its own cluster.

    Args:
        shares: (N, K).
        cluster: (N,) integers, 1 to K.
    """
    return shares[np.arange(len(shares)), cluster - 1]
