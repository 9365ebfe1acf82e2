"""Stage ``classes``: the clusters after people's changes, which is what the models learn from."""

import numpy as np
import pandas as pd

from maskdistill.clustering.kmeans import Clustering, assign
from maskdistill.errors import RunError
from maskdistill.files import write_json
from maskdistill.review.decisions import Classes, read_classes
from maskdistill.stages.context import Context
from maskdistill.storage.read_files import read_array
from maskdistill.storage.run_folder import write_table
from maskdistill.storage.shares import with_shares


def make_classes(context: Context) -> str:
    """Write classes.parquet and classes.json."""
    run, table, found = context.run, context.run.clusters(), read_classes(context.run)
    classes = table.assign(cluster=found.cluster.astype(np.int64))[found.cluster > 0]
    if not len(classes):
        raise RunError(f"People rejected every mask of {run.path}, or excluded its cluster. Take some of that back.")
    if found.digest:
        distances, margins = _measure(read_array(run.path / "embeddings.npy")[found.cluster > 0], classes)
        classes = classes.assign(distance=distances, margin=margins)
        classes = with_shares(classes, None if found.shares is None else found.shares[found.cluster > 0])
    write_table(run.classes_path, classes)
    used = sorted(set(classes["cluster"].tolist()))
    record = {
        "num_classes": found.num_classes,
        "used": used,
        "clusters": found.numbering.clusters,
        "adopted": found.numbering.base,
        "names": {str(number): name for number, name in sorted(found.names.items())},  # of now: they may change
        "excluded": sorted(found.excluded),
        "rejected": found.rejected.tolist(),
        "left_out": found.mask_ids[np.isin(found.assigned, list(found.left_out))].tolist(),
        "num_edits": found.num_edits,
    }
    write_json(run.path / "classes.json", record)
    return f"{len(used)} classes of {len(classes)} masks{_changes(found)}."


def _measure(vectors: np.ndarray, classes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(N,) distances and margins: centres are the means of the masks that the clustering was fitted to, if any."""
    numbers, labels = np.unique(classes["cluster"].to_numpy(), return_inverse=True)
    fitted = classes["fitted"].to_numpy()
    alone = ~np.isin(np.arange(len(numbers)), labels[fitted])
    counts = fitted | alone[labels]
    centres = Clustering.from_labels(vectors[counts], labels[counts]).centres
    return assign(vectors, centres, labels)[1:]


def _changes(found: Classes) -> str:
    if not found.num_edits:
        return ", without doubtful clusters" if found.left_out else ", as clustered"
    return f" after {found.num_edits} change{'' if found.num_edits == 1 else 's'} by people"
