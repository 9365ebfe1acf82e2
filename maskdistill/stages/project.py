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
    config, groups = context.config.projection, context.run.clusters()["cluster"].to_numpy()
    with context.reporter("projection", len(vectors), unit="masks") as reporter:
        found = umap_map(vectors, config, context.config.seed, groups, lambda done, _total: reporter.reach(done))

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, found)

    replace_atomically(context.run.path / "umap_xy.npy", save)
    rest = (
        f", made of {config.most_unfolded}; the others are placed among them"
        if len(found) > config.most_unfolded
        else ""
    )
    return f"Map of {len(found)} masks{rest}."
