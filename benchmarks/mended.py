"""What is done again when people mend masks of a finished run, and whether nothing differs once that is taken back.

    python -m benchmarks.mended --run RUN [--masks 30] [--until pseudo_labels] [--json FILE]

RUN, a finished run whose photos are there, is copied; the copy is worked on. Masks spread over it lose their upper
tenth, as decisions of one person. Then the stages are made up to ``--until``, one by one under a clock. Then all is
undone and they are made again, and every file is compared with what it was before.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import print_table, write_report
from maskdistill.masks import decode_mask, encode_mask
from maskdistill.models.training.checkpoint import read_tensors
from maskdistill.review import decisions
from maskdistill.review.decisions import MaskChange, Scope, Tool
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.stage_list import NAMES
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.mask_tables import has_masks
from maskdistill.storage.run_folder import Run

REVIEWER = "bench"
# Of the run: what changes whenever somebody looks or decides, and what holds seconds.
TIMED = (
    *("progress.json", "history.jsonl", "checkpoint.safetensors", "source.parquet"),
    *("run.sqlite", "run.sqlite-wal", "run.sqlite-shm"),
)


def main() -> None:
    """Mend, make, take back, make."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--masks", type=int, default=30)
    parser.add_argument("--until", choices=NAMES, default="pseudo_labels")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(shutil.copytree(options.run, Path(folder) / "run", ignore=shutil.ignore_patterns("run.sqlite*")))
        make(run, options.until)  # what another version left stale
        before = contents_of(run)
        mended = mend(run, options.masks)
        seconds = make(run, options.until)
        kept = check_mended(run, mended)
        while decisions.undo(run, REVIEWER, scope=Scope.MASKS):
            pass
        back = make(run, options.until)
        after = contents_of(run)
    differing = sorted({name for name in {*before, *after} if before.get(name) != after.get(name)})
    rows = [[name, f"{seconds.get(name, 0):.1f}", f"{back.get(name, 0):.1f}"] for name in NAMES if name in seconds]
    rows.append(["all", f"{sum(seconds.values()):.1f}", f"{sum(back.values()):.1f}"])
    print_table(f"{len(mended)} masks of {options.run} mended", ["stage", "made again, s", "taken back, s"], rows)
    print(f"  drawn as people did in masks, candidates and exports: {kept} of {len(mended)}")
    print(f"  files that differ after all was taken back: {len(differing)} of {len(before)} {differing[:5] or ''}")
    result = {"masks": len(mended), "seconds": seconds, "taken_back": back, "kept": kept, "differing": differing}
    write_report(options.json, {"benchmark": "mended", **result})
    raise SystemExit(0 if kept == len(mended) and not differing else 1)


def mend(run: Run, number: int) -> dict[int, np.ndarray]:
    """Take the upper tenth of masks away, a step each; returns them by id."""
    table, codes, mended = run.masks(), MaskCodes.open(run), {}
    for place in np.linspace(0, len(table) - 1, min(number, len(table))).astype(int).tolist():
        mask_id, image_id = int(table["mask_id"].iat[place]), str(table["image_id"].iat[place])
        mask = codes.decode(mask_id)
        rows = np.flatnonzero(mask.any(axis=1))
        mask[: rows[0] + max(1, len(rows) // 10)] = False
        if mask.any():
            change = MaskChange(mask_id, codes.code(mask_id), encode_mask(mask))
            decisions.repair(run, REVIEWER, image_id, [change], tool=Tool.CLICK)
            mended[mask_id] = mask
    return mended


def make(run: Run, until: str) -> dict[str, float]:
    """Make what is stale; returns the seconds of each stage that had something to do."""
    seconds: dict[str, float] = {}
    began = time.monotonic()

    def note(name: str, sentence: str) -> None:
        nonlocal began
        now = time.monotonic()
        if not sentence.startswith("Nothing to do"):
            seconds[name] = now - began
        began = now

    wanted = NAMES[: NAMES.index(until) + 1]
    info = run.info()
    how = Options(quiet=True, num_workers=2, limit=info.get("limit", 0))
    run_stages(run, info["data"], run.config(), wanted=wanted, options=how, on_stage=note)
    return seconds


def check_mended(run: Run, mended: dict[int, np.ndarray]) -> int:
    """How many masks are as people drew them, among those that count and among the candidates that are there."""
    masks = MaskCodes.open(run)
    candidates = MaskCodes.open(run, "candidates") if has_masks(run.candidate_masks_path) else masks
    return sum(
        np.array_equal(masks.decode(mask_id), mask)
        and (mask_id not in candidates or np.array_equal(decode_mask(candidates.code(mask_id)), mask))
        for mask_id, mask in mended.items()
    )


def contents_of(run: Run) -> dict[str, Any]:
    """Every artifact: bytes, or of weights the tensors, whose order in the file is not fixed."""
    paths = (path for path in run.path.rglob("*") if path.is_file())
    return {
        str(path.relative_to(run.path)): _content(path)
        for path in paths
        if path.suffix not in (".lock", ".arrow") and path.name not in TIMED and "cache" not in path.parts
    }


def _content(path: Path) -> Any:
    if path.suffix != ".safetensors":
        return path.read_bytes()
    tensors, values = read_tensors(path)
    return values, {name: value.numpy().tobytes() for name, value in tensors.items()}


if __name__ == "__main__":
    main()
