"""How good the masks are: CorLoc, mean best IoU, and whether the score ranks masks by their true IoU.

    python -m benchmarks.masks --data ../shared/data/msrc [--split val] [--set proposals.tau=0.3] [--run R]

Ground truth is read here, after everything was made, and nowhere else.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report import print_table, write_report
from maskdistill.config import load_preset
from maskdistill.datasets import Photo, PhotoSource, open_source, read_label
from maskdistill.evaluation.region_metrics import best_iou, corloc, rank_correlation
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.pool import Workers
from maskdistill.stages.propose import hold_masks
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.run_folder import Run

NUM_RESAMPLES = 1000


def main() -> None:
    """Run the proposals of a folder, then measure them."""
    options = parse_options(__doc__, data="VOC folder with SegmentationClass")
    with made_masks(options) as (run, source, about):
        cut = measure(source, run.cut_masks(), MaskCodes.open(run, "proposals"))
        seconds = make_stage(run, options)
        table = measure(source, run.masks(), MaskCodes.open(run))
        used = run.own_mask_stage == "foreground"
    result: dict[str, Any] = {"benchmark": "masks", **about, "foreground": used, "foreground_seconds": seconds}
    splits = [name for name in ("train", "val") if (table["split"] == name).any()]
    result["quality_as_cut"] = {name: quality(select(cut, name)) for name in ("all", *splits)}
    result["quality"] = {name: quality(select(table, name)) for name in ("all", *splits)}
    header = ["photos", "n", "CorLoc", "mean best IoU", "no mask"]
    print_table("Top-scored mask of each photo, as cut", header, _quality_rows(result["quality_as_cut"]))
    if used:
        title = f"Top-scored mask of each photo, after the foreground ({seconds:.0f} s)"
        print_table(title, header, _quality_rows(result["quality"]))
    result["ranking"] = {name: ranking(select(table, name)) for name in ("all", *splits)}
    for name, item in result["ranking"].items():
        rows = [[part, f"{rho:+.3f}"] for part, rho in item["parts"].items()]
        low, high = item["score_interval"]
        rows.insert(0, ["score", f"{item['score']:+.3f}  (95 % {low:+.3f} to {high:+.3f}; chance is 0)"])
        print_table(f"Rank correlation with the true IoU, {name}", ["signal", "Spearman's rho"], rows)
        print(f"  mean best IoU of the better-scored half: {item['better_half']:.3f}, of the rest: {item['rest']:.3f}")
    write_report(options.json, result)


def _quality_rows(found: dict[str, dict[str, Any]]) -> list[list[Any]]:
    return [
        [name, item["num_photos"], f"{item['corloc']:.3f}", f"{item['mean_best_iou']:.3f}", item["num_without_mask"]]
        for name, item in found.items()
    ]


@contextmanager
def made_masks(options: argparse.Namespace) -> Iterator[tuple[Run, PhotoSource, dict[str, Any]]]:
    """Make the masks of a folder: the run, which is gone afterwards unless it was named, its photos, and a record."""
    source = open_source(options.data)
    config = load_preset(options.preset).with_overrides(options.set)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(options.run or Path(folder) / "run")
        with hold_masks(run, source, config, preset=options.preset, workers=Workers(options.workers)) as summary:
            pass
        speed = summary.num_new / summary.seconds if summary.num_new else None
        yield run, source, {"data": source.spec, "config": config.to_dict(), "photos_per_second": speed}


def make_stage(run: Run, options: argparse.Namespace, stage: str = "foreground") -> float:
    """Do a stage and what it needs, by default that which corrects the masks; returns the seconds."""
    config = load_preset(options.preset).with_overrides(options.set)
    how = Options(num_workers=options.workers)
    began = time.monotonic()
    run_stages(run, options.data, config, preset=options.preset, wanted=(stage,), options=how)
    return time.monotonic() - began


def measure(source: PhotoSource, masks: pd.DataFrame, codes: MaskCodes) -> pd.DataFrame:
    """One row a photo with ground truth: split, best IoU of its top-scored mask (0 if none), score and parts."""
    top = {row["image_id"]: row for row in masks[masks["rank"] == 0].to_dict("records")}
    rows = []
    for photo in source.photos:
        labels = read_label(source, photo)
        if labels is not None and ((labels > 0) & (labels < 255)).any():
            rows.append(_row(codes, photo, labels, top.get(photo.id)))
    return pd.DataFrame(rows)


def _row(codes: MaskCodes, photo: Photo, labels: np.ndarray, top: dict[str, Any] | None) -> dict[str, Any]:
    if top is None:
        return {"id": photo.id, "split": photo.split, "iou": 0.0, "score": np.nan}
    parts = {name: value for name, value in top.items() if name.startswith("part_")}
    iou = best_iou(codes.decode(top["mask_id"]), labels)
    return {"id": photo.id, "split": photo.split, "iou": iou, "score": top["score"], **parts}


def select(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """Rows of a split, or all."""
    return table if split == "all" else table[table["split"] == split]


def quality(table: pd.DataFrame) -> dict[str, Any]:
    """CorLoc and mean best IoU of the top-scored masks."""
    return {
        "num_photos": len(table),
        "corloc": corloc(table["iou"].to_list()),
        "mean_best_iou": float(table["iou"].mean()),
        "num_without_mask": int(table["score"].isna().sum()),
    }


def ranking(table: pd.DataFrame) -> dict[str, Any]:
    """How well the score and each of its parts order the masks by true IoU, with a bootstrap interval."""
    table = table.dropna(subset=["score"])
    parts = [name for name in table.columns if name.startswith("part_")]
    generator = np.random.default_rng(0)
    samples = [table.iloc[generator.integers(len(table), size=len(table))] for _ in range(NUM_RESAMPLES)]
    resampled = [rank_correlation(sample["score"].to_list(), sample["iou"].to_list()) for sample in samples]
    ordered = table.sort_values("score", ascending=False)
    half = len(ordered) // 2
    return {
        "score": rank_correlation(table["score"].to_list(), table["iou"].to_list()),
        "score_interval": [float(value) for value in np.percentile(resampled, [2.5, 97.5])],
        "parts": {
            name.removeprefix("part_"): rank_correlation(known[name].to_list(), known["iou"].to_list())
            for name in parts
            if len(known := table.dropna(subset=[name])) > 1
        },
        "better_half": float(ordered["iou"].iloc[:half].mean()),
        "rest": float(ordered["iou"].iloc[half:].mean()),
    }


def parse_options(description: str | None, *, data: str) -> argparse.Namespace:
    """The flags of this benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, data=data)
    return parser.parse_args()


def add_options(parser: argparse.ArgumentParser, *, data: str, required: bool = True) -> None:
    """Flags of a benchmark that makes masks; ``data`` says what kind of folder it wants."""
    parser.add_argument("--data", required=required, help=data)
    parser.add_argument("--run", type=Path, help="keep the run here (and reuse it)")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the result here")


if __name__ == "__main__":
    main()
