"""Stage ``projection``: two dimensions of every mask's embedding, by UMAP."""

from pathlib import Path

import numpy as np

from maskdistill.clustering.projection import umap_map
from maskdistill.files import replace_atomically
from maskdistill.stages.context import Context
from maskdistill.storage.read_files import read_array


def project_masks(context: Context) -> str:
    """Write umap_xy.npy: a row for each row of clusters.parquet."""
    vectors = read_array(context.run.path / "embeddings.npy", ndim=2, mapped=False)
    with context.reporter("projection", 1, unit="maps"):
        found = umap_map(vectors, context.config.projection, context.config.seed)

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, found)

    replace_atomically(context.run.path / "umap_xy.npy", save)
    return f"Map of {len(found)} masks."
