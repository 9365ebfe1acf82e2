"""Masks that people mended, in the clusters that were found before: no other mask changes its cluster by it."""

from typing import Any

import numpy as np
import pandas as pd

from maskdistill.clustering.embedding_space import EmbeddingSpace
from maskdistill.clustering.find_clusters import Embeddings
from maskdistill.clustering.kmeans import assign
from maskdistill.storage.read_files import read_array, read_arrays, read_json, read_table
from maskdistill.storage.run_folder import Run
from maskdistill.storage.shares import shares_of, with_shares

Placed = tuple[pd.DataFrame, np.ndarray, dict[str, np.ndarray], dict[str, Any]]


def place_mended(run: Run, ids: np.ndarray, mended: np.ndarray, embeddings: Embeddings) -> Placed:
    """Put mended masks to the nearest centre of the clustering that is kept; the others stay where they are.

    Args:
        run: The run.
        ids: (N,) all masks that have a vector, rising.
        mended: (N,) bool, those that people drew.
        embeddings: Vectors of all of them by name, (N, D).

    Returns:
        What the stage writes: its table, the (N, d) vectors, what space.npz holds, and clusters.json.
    """
    folder = run.repairs.clusters_path
    table, vectors = read_table(folder / "clusters.parquet"), read_array(folder / "embeddings.npy", ndim=2)
    arrays, record = read_arrays(folder / "space.npz"), read_json(folder / "clusters.json")
    known = pd.Index(table["mask_id"]).get_indexer(ids)
    anew = mended | (known < 0)
    space, centres = EmbeddingSpace.from_arrays(arrays), arrays["centres"]
    shares = shares_of(table, folder / "clusters.parquet")
    result = table.iloc[np.maximum(known, 0)].reset_index(drop=True).assign(mask_id=ids)
    moved = np.asarray(vectors)[np.maximum(known, 0)]
    if anew.any():
        moved[anew] = space.transform(embeddings[record["embedding"]][anew]).astype(np.float32)
        labels, distances, margins = assign(moved[anew].astype(np.float64), centres)
        for name, values in (("cluster", labels + 1), ("distance", distances), ("margin", margins), ("fitted", False)):
            result.loc[anew, name] = values
        if shares is not None:
            shares = shares[np.maximum(known, 0)]
            shares[anew] = np.eye(shares.shape[1], dtype=np.float32)[labels]
            result = with_shares(result, shares)
    there = set(ids.tolist())
    clusters = [
        {**row, **{name: [id for id in row[name] if id in there] for name in ("exemplars", "borderline")}}
        for row in record["clusters"]
    ]
    return result, moved, arrays, {**record, "clusters": clusters}
