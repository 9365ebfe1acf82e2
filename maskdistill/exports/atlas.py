"""Masks for Embedding Atlas: one Parquet file, a row a mask, with its place on the map and its picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from maskdistill.clustering.projection import pca_map
from maskdistill.errors import RunError, printable
from maskdistill.exports.folder import exporting
from maskdistill.exports.records import ExportSummary
from maskdistill.files import replace_atomically
from maskdistill.review.decisions import Effective, effective, read_classes, read_marks
from maskdistill.review.mask_table import read_mask_table
from maskdistill.storage.read_files import DamagedFileError, read_array
from maskdistill.storage.run_folder import Run, thumbnail_in
from maskdistill.storage.run_photos import paths_of

FILE = "masks.parquet"
SIGNALS = ("quality", "score", "iou", "agreement", "distance", "margin", "area", "border")
_DECISIONS = {1: "accepted", -1: "rejected", 0: "undecided"}
_AT_ONCE = 2000  # masks of a row group


def export_atlas(run: Run, out: Path, *, kept_only: bool = False) -> ExportSummary:
    """Write ``masks.parquet``: the masks that have a place on the map of the run.

    Columns: ``id``, ``photo``, ``photo_path``, ``split``; ``x`` and ``y`` of the UMAP if the run has one, else of the
    first two principal components; ``cluster`` and ``name`` after people's changes; ``quality``, the mask's own score,
    and the first model's signals; ``kept``, ``rule``, ``decision``, ``decided_by``; ``image``, the JPEG of the mask's
    crop as ``{bytes, path}``. Open it with: embedding-atlas masks.parquet --x x --y y --image image

    Args:
        run: A run with clusters.
        out: New, empty, or the folder of an earlier export.
        kept_only: Only masks that the filter keeps.

    Raises:
        RunError: If the run has no clusters yet, or the filter keeps nothing.
        ConfigError: If the folder cannot be used.
    """
    if not run.clusters_path.is_file():
        raise RunError(
            f"{run.path} has no clusters yet, so no map. Make them with: maskdistill cluster --run {run.path}"
        )
    frame = read_mask_table(run).frame
    places, kind = _places(run, frame)
    decided = effective(read_marks(run), frame)
    rows = np.flatnonzero(frame["vector"].to_numpy() >= 0)
    if kept_only:
        rows = rows[frame["kept"].to_numpy()[rows]]
        if not len(rows):
            raise RunError(f"The filter of {run.path} keeps no mask. Loosen its thresholds and run it again.")
    table = _table(run, frame, rows, places, decided)
    thumbs = run.thumbs
    with exporting(out, "atlas", [FILE]):
        replace_atomically(out / FILE, lambda temporary: _write(temporary, table, thumbs))
    missing = len(frame) - int((frame["vector"] >= 0).sum())
    notes = [f"Places are those of {kind}."]
    if missing:
        notes.append(f"{missing} masks without a vector, as objects that the first model found, have no place on it.")
    return ExportSummary("atlas", out, int(table["photo"].nunique()), len(table), (FILE,), tuple(notes))


def _places(run: Run, frame: pd.DataFrame) -> tuple[np.ndarray, str]:
    """(V, 2) places of the vectors, and what they are."""
    path = run.path / "embeddings.npy"
    vectors = read_array(path, ndim=2)
    if len(vectors) <= int(frame["vector"].max()):
        raise DamagedFileError(path, f"it has {len(vectors)} rows, clusters.parquet more")
    umap = run.path / "umap_xy.npy"
    if umap.is_file():
        places = read_array(umap, ndim=2)
        if len(places) == len(vectors):
            return places, "the run's UMAP"
    return pca_map(vectors), "the first two principal components, for the run has no UMAP of these masks"


def _table(run: Run, frame: pd.DataFrame, rows: np.ndarray, places: np.ndarray, decided: Effective) -> pd.DataFrame:
    chosen = frame.iloc[rows].reset_index(drop=True)
    images = run.images()
    paths = [printable(path) for path in paths_of(images[images["digest"].notna()])]
    classes = read_classes(run)
    at = np.searchsorted(classes.mask_ids, chosen["mask_id"].to_numpy())
    given = decided.cluster[rows]
    cluster = np.where(given > 0, given, classes.cluster[at])
    place = places[chosen["vector"].to_numpy()]
    relabelled = np.where(given > 0, "relabelled", [_DECISIONS[int(item)] for item in decided.decision[rows]])
    return pd.DataFrame(
        {
            "id": chosen["mask_id"].astype(np.int64),
            "photo": chosen["image_id"].astype(str),
            "photo_path": [paths[number] for number in chosen["image"]],
            "split": chosen["split"],
            "x": place[:, 0].astype(np.float32),
            "y": place[:, 1].astype(np.float32),
            "cluster": cluster.astype(np.int32),
            "name": [classes.name_of(int(item)) if item else "no class" for item in cluster],
            **{name: chosen[name].astype(np.float32) for name in SIGNALS},
            "kept": chosen["kept"].astype(bool),
            "rule": chosen["rule"].astype(str),
            "decision": relabelled,
            "decided_by": decided.reviewer[rows].astype(str),
        }
    )


def _write(path: Path, table: pd.DataFrame, thumbs: Path) -> None:
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    base = pa.Schema.from_pandas(table, preserve_index=False)
    base = base.set(base.get_field_index("split"), pa.field("split", pa.string()))
    with parquet.ParquetWriter(path, base.append(pa.field("image", picture)).remove_metadata()) as writer:
        for start in range(0, max(1, len(table)), _AT_ONCE):
            some = table.iloc[start : start + _AT_ONCE]
            pictures = pa.array([_thumbnail(thumbs, mask_id) for mask_id in some["id"].tolist()], picture)
            part = pa.Table.from_pandas(some, base, preserve_index=False).replace_schema_metadata()
            writer.write_table(part.append_column("image", pictures))


def _thumbnail(folder: Path, mask_id: int) -> dict[str, Any] | None:
    try:
        return {"bytes": thumbnail_in(folder, mask_id).read_bytes(), "path": f"{mask_id}.jpg"}
    except OSError:  # of a run of an earlier version, or deleted
        return None
