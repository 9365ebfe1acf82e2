"""All masks of a run in one table: proposals and objects that the first model found, with all that is known of each.

People's decisions are not in it (``maskdistill.review.decisions``): they change at every action, the table only with a
stage.
"""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pandas as pd

from maskdistill.errors import RunError
from maskdistill.evaluation.mask_truth import read_truth
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.read_files import DamagedFileError, MissingFileError, columns_of, reading
from maskdistill.storage.run_folder import Run
from maskdistill.storage.shares import own_share, shares_of

PART = "part_"  # before the names of the parts of a proposal's score
_BOX = {"bbox_x": "x", "bbox_y": "y", "bbox_w": "w", "bbox_h": "h"}
_JUDGED = ("label", "score", "iou", "agreement", "border")  # by the first model


@dataclass(frozen=True, eq=False)
class MaskTable:
    """One row a mask, by rising id.

    Columns of ``frame``:
        mask_id: int64.
        image, image_id, split: number and id of its photo, and the photo's split or None.
        category: text that came with a mask that was made elsewhere, "" for none; for comparison.
        origin: "proposal", or what found an object where no proposal was ("stage1", "instances").
        x, y, w, h: int32 box in pixels; area: fraction of the photo.
        quality and ``part_*``: the proposal's own score and its parts, [0, 1]; NaN for other origins.
        cluster: int32 from the stage ``clusters``, 0 for none; distance, margin: NaN without a vector;
            share: of the clusterings that put it there, [0, 1], NaN where there was one only.
        vector: int64 row in embeddings.npy, -1 for none.
        candidate: bool, whether the first model judged it; label (its class, 0 for none), score, iou, agreement,
            border: NaN where it did not.
        kept: bool; rule: why, "" where no filter ran.
        truth: int32 class of most of its pixels, an index into ``truth_names``, 0 background, -1 unknown;
            truth_share, truth_iou: NaN where unknown. For reporting only.
    """

    frame: pd.DataFrame
    truth_names: tuple[str, ...] = ()  # "background" first; empty without ground truth

    @property
    def num_masks(self) -> int:
        """Rows."""
        return len(self.frame)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of a proposal's score."""
        return tuple(name.removeprefix(PART) for name in self.frame.columns if name.startswith(PART))

    def rows_of(self, mask_ids: np.ndarray | list[int]) -> np.ndarray:
        """Row numbers of masks.

        Raises:
            RunError: If one is not there, naming it.
        """
        wanted, ids = np.asarray(mask_ids, np.int64), self.frame["mask_id"].to_numpy()
        rows = np.searchsorted(ids, wanted)
        missing = (rows >= len(ids)) | (ids[np.minimum(rows, len(ids) - 1)] != wanted) if len(ids) else wanted >= 0
        if missing.any():
            raise RunError(f"The run has no mask {wanted[missing][0]}. It may have been made anew: choose another one.")
        return rows

    def has(self, mask_id: int) -> bool:
        """Whether there is such a mask."""
        ids = self.frame["mask_id"].to_numpy()
        row = int(np.searchsorted(ids, mask_id))
        return row < len(ids) and int(ids[row]) == mask_id


def read_mask_table(run: Run) -> MaskTable:
    """Everything the run's files hold about its masks; of stages that were not made yet the columns are empty.

    Raises:
        RunError: If there are no masks yet, or a file is damaged.
    """
    images = run.images(("id", "digest", "split"))
    with reading(run.images_path):
        images = images[images["digest"].notna()].reset_index(drop=True)
        images["id"]  # to be missed here rather than at the end
    if not run.masks_path.exists():
        raise MissingFileError(run.masks_path)
    with reading(run.masks_path):
        frame = _proposals(run)
    for path, add in (
        (run.candidates_path, _with_candidates),
        (run.clusters_path, _with_clusters),
        (run.kept_path, _with_filter),
    ):
        with reading(path) if path.is_file() else nullcontext():
            frame = add(run, frame)
    frame["category"] = frame["category"].fillna("").astype(object) if "category" in frame else ""
    frame["image"] = run.photo_of(frame["mask_id"].to_numpy()).astype(np.int32)
    if (strange := frame["image"] >= len(images)).any():
        mask_id = frame.loc[strange, "mask_id"].iat[0]
        raise DamagedFileError(run.masks_path, f"mask {mask_id} is of no photo of images.parquet")
    ids = images["id"].to_numpy(object)  # the masks of a photo share its text
    frame["image_id"] = pd.Series(ids[frame["image"]], frame.index, object)
    frame["split"] = images["split"].to_numpy()[frame["image"]] if "split" in images else None
    names: tuple[str, ...] = ()
    if (truth := read_truth(run)) is not None:
        names = truth.names
        frame = frame.merge(truth.frame, on="mask_id", how="left")
    else:
        frame = frame.assign(truth=-1, truth_share=np.nan, truth_iou=np.nan)
    frame["truth"] = frame["truth"].fillna(-1).astype(np.int32)
    return MaskTable(frame, names)


def _proposals(run: Run) -> pd.DataFrame:
    there = columns_of(run.masks_path)
    parts = [name for name in there if name.startswith(PART)]
    given = ["category"] if "category" in there else []
    table = run.masks(("mask_id", "area", *_BOX, "score", *parts, *given))
    columns = ["mask_id", "area", *(_BOX if len(table) else ()), "score", *parts, *given]
    frame = table.reindex(columns=columns).rename(columns={**_BOX, "score": "quality"})
    frame = frame.astype(dict.fromkeys(_BOX.values(), np.int32)) if len(table) else frame
    return frame.assign(origin="proposal").sort_values("mask_id", ignore_index=True)


def _with_candidates(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    if not run.candidates_path.is_file():
        empty = {name: np.nan for name in _JUDGED if name != "label"}
        return frame.assign(candidate=False, label=0, **empty)
    judged = run.candidates(("mask_id", "origin", "area", "cluster", *_JUDGED))
    predicted = judged[judged["origin"] != "proposal"]
    if len(predicted):
        frame = pd.concat([frame, _predicted(run, predicted)], ignore_index=True)
    frame = frame.merge(judged[["mask_id", *_JUDGED]].assign(candidate=True), on="mask_id", how="left")
    frame["candidate"] = frame["candidate"].notna()
    frame["label"] = frame["label"].fillna(0).astype(np.int32)
    return frame.sort_values("mask_id", ignore_index=True)


def _predicted(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """Objects where no proposal was. Their cluster is the class that the model gives them."""
    codes = MaskCodes.open(run, "candidates")
    boxes = codes.boxes[np.searchsorted(codes.ids, rows["mask_id"])]
    places = {name: boxes[:, place] for place, name in enumerate("xywh")}
    return rows[["mask_id", "origin", "area"]].assign(**places, cluster=rows["cluster"])


def _with_clusters(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    own = frame.pop("cluster") if "cluster" in frame else pd.Series(np.nan, frame.index)
    if not run.clusters_path.is_file():
        empty = dict.fromkeys(("distance", "margin", "share"), np.nan)
        return frame.assign(cluster=own.fillna(0).astype(np.int32), **empty, vector=-1)
    clusters = run.clusters()
    table = clusters[["mask_id", "cluster", "distance", "margin"]].assign(vector=np.arange(len(clusters)))
    shares = shares_of(clusters, run.clusters_path)
    table["share"] = np.nan if shares is None else own_share(shares, clusters["cluster"].to_numpy())
    frame = frame.merge(table, on="mask_id", how="left")
    frame["cluster"] = frame["cluster"].fillna(own).fillna(0).astype(np.int32)
    frame["vector"] = frame["vector"].fillna(-1).astype(np.int64)
    return frame


def _with_filter(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    if not run.kept_path.is_file():
        return frame.assign(kept=False, rule="")
    frame = frame.merge(run.kept(("mask_id", "kept", "rule"))[["mask_id", "kept", "rule"]], on="mask_id", how="left")
    frame["kept"] = frame["kept"].eq(True)
    frame["rule"] = frame["rule"].fillna("")
    return frame
