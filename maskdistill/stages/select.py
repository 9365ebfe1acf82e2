"""Stage ``filter``: which candidates are kept, and which rule or person dropped the others."""

import hashlib

import numpy as np
import pandas as pd

from maskdistill.config import FilterConfig
from maskdistill.pseudo_labels.filter import RULES, FilterResult, describe, filter_masks
from maskdistill.pseudo_labels.signals import MaskSignals
from maskdistill.review.decisions import effective, read_marks, version
from maskdistill.stages.context import Context
from maskdistill.storage.label_folder import LabelFolder
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.run_folder import Run, write_table

BOX = ("x", "y", "w", "h")


def select_masks(context: Context) -> str:
    """Filter the first model's candidates."""
    result = write_kept(context.run, context.run, context.config.filter)
    return " ".join([f"{int(result.kept.sum())} of {len(result.kept)} masks kept.", *describe(result)])


def write_kept(run: Run, folder: LabelFolder, config: FilterConfig) -> FilterResult:
    """Write kept.parquet beside the candidates: mask_id, kept, the rule that decided, and people's decisions.

    That is ``decision`` (1 accepted, -1 rejected, 0 neither) and ``relabel`` (the class that a person gave the mask, 0
    for none). A relabelled mask is judged among those of its new class.

    Args:
        run: The run, with people's decisions.
        folder: Where the candidates lie.
        config: Thresholds.
    """
    table = folder.candidates()
    decision, relabel = read_decisions(run, folder, table)
    given = {name: np.where(relabel > 0, relabel, table[name]) for name in ("cluster", "label")}
    result = filter_masks(MaskSignals.from_columns(table.assign(decision=decision, **given)), config)
    rules = [RULES[number] for number in result.rule]
    kept = {"mask_id": table["mask_id"], "kept": result.kept, "rule": rules, "decision": decision, "relabel": relabel}
    write_table(folder.kept_path, pd.DataFrame(kept))
    return result


def read_decisions(run: Run, folder: LabelFolder, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int8 decision and (N,) int32 class given by people, of the candidates of a folder."""
    marks = read_marks(run)
    if not len(marks):
        return np.zeros(len(table), np.int8), np.zeros(len(table), np.int32)
    places = _places(run, folder, table)
    found = effective(marks, places)
    rows = pd.Index(places["mask_id"]).get_indexer(table["mask_id"])
    return found.decision[rows], found.cluster[rows]


def decisions_digest(run: Run) -> str:
    """What people decided about the first model's candidates; "" if nothing. Cheap where nobody decided anything."""
    if not version(run):
        return ""
    table = run.candidates()
    decision, relabel = read_decisions(run, run, table)
    decided = (decision != 0) | (relabel > 0)
    if not decided.any():
        return ""
    rows = np.stack([table["mask_id"].to_numpy()[decided], decision[decided], relabel[decided]], axis=1, dtype=np.int64)
    return hashlib.blake2b(rows.tobytes(), digest_size=16).hexdigest()


def _places(run: Run, folder: LabelFolder, table: pd.DataFrame) -> pd.DataFrame:
    """Photo and box of every mask: of all proposals, so that each mark finds its own, and of what a model predicted."""
    proposals = run.masks()[["mask_id", "image_id", *(f"bbox_{name}" for name in BOX)]]
    proposals = proposals.set_axis(["mask_id", "image_id", *BOX], axis=1)
    seen = table.loc[table["origin"] != "proposal", ["mask_id", "image_id"]]
    if not len(seen):
        return proposals
    codes = MaskCodes.open(Run(folder.path), "candidates")
    boxes = codes.boxes[np.searchsorted(codes.ids, seen["mask_id"])]
    return pd.concat([proposals, seen.assign(**dict(zip(BOX, boxes.T, strict=True)))], ignore_index=True)
