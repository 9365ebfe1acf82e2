"""How fast the filter answers a slider: made-up masks, a new threshold every time.

python -m benchmarks.filter [--masks 50000] [--json F]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import print_table, write_report
from maskdistill.config import FilterConfig
from maskdistill.pseudo_labels.filter import filter_masks
from maskdistill.pseudo_labels.signals import MaskSignals
from maskdistill.pseudo_labels.threshold_curves import curve

NUM_RUNS = 50
NUM_FIRST = 5  # runs on signals never filtered before, which sort them
MASKS_PER_PHOTO = 2.5
NUM_CLUSTERS = 20
BINS = np.linspace(0, 1, 64)


def main() -> None:
    """Measure the first filtering, the following ones, and the curve beside the slider."""
    options = _parse()
    generator = np.random.default_rng(0)
    signals = make_signals(options.masks, generator)
    configs = [random_config(generator) for _ in range(NUM_RUNS)]
    fresh = [make_signals(options.masks, generator) for _ in range(NUM_FIRST)]
    cases: dict[str, list[Callable[[], Any]]] = {
        "first time": [lambda case=case: filter_masks(case, configs[0]) for case in fresh],
        "again, other thresholds": [lambda config=config: filter_masks(signals, config) for config in configs],
        f"curve of {len(BINS)} values": [
            lambda config=config: curve(signals, config, "min_score", BINS) for config in configs[:NUM_FIRST]
        ],
    }
    filter_masks(signals, configs[0])
    times = {name: [_milliseconds(call) for call in calls] for name, calls in cases.items()}
    result = {
        name: {"runs": len(values), "median_ms": float(np.median(values)), "p95_ms": float(np.percentile(values, 95))}
        for name, values in times.items()
    }
    rows = [[name, item["runs"], f"{item['median_ms']:.1f}", f"{item['p95_ms']:.1f}"] for name, item in result.items()]
    print_table(f"Filter of {options.masks:,} masks", ["case", "runs", "median ms", "95 % ms"], rows)
    kept = [int(filter_masks(signals, config).kept.sum()) for config in configs]
    print(f"  kept: {min(kept):,} to {max(kept):,} masks")
    write_report(options.json, {"benchmark": "filter", "masks": options.masks, "times": result})


def make_signals(num_masks: int, generator: np.random.Generator) -> MaskSignals:
    """Random signals in float32, as masks.parquet holds them; 5 % not measured, 5 % decided by people."""
    scores = generator.random((6, num_masks), np.float32)
    scores[:, generator.random(num_masks) < 0.05] = np.nan
    names = ("score", "iou", "agreement", "distance", "area", "border")
    return MaskSignals(
        image=generator.integers(max(1, int(num_masks / MASKS_PER_PHOTO)), size=num_masks),
        cluster=generator.integers(1, NUM_CLUSTERS + 1, size=num_masks),
        decision=generator.choice(np.array([-1, 0, 1], np.int8), num_masks, p=[0.025, 0.95, 0.025]),
        **dict(zip(names, scores, strict=True)),
    )


def random_config(generator: np.random.Generator) -> FilterConfig:
    """Every rule at work, thresholds anywhere in their range's lax half."""
    lax = generator.uniform(0, 0.5, 8).tolist()
    return FilterConfig(
        min_score=lax[0],
        min_iou=lax[1],
        min_agreement=lax[2],
        max_distance=1 - lax[3],
        min_area=lax[4],
        max_area=1 - lax[5],
        max_border=1 - lax[6],
        keep_share=1 - lax[7],
        min_per_cluster=int(generator.integers(1, 3000)),
    )


def _milliseconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=50_000)
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
