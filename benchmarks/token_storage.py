"""What compact tokens cost: disk, and the mIoU of models that learn from them, against 16-bit tokens.

    python -m benchmarks.token_storage --run RUN [--seeds 0 1 2 3]

RUN is finished, on photos with ground truth. A copy of it goes on with each kind of tokens, and with each seed: the
clusters and all after them are made again. How far seeds differ says how much chance there is in a figure. Ground truth
is for the report only.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import print_table, write_report
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import TOKEN_INFO

KINDS = ("float16", "compact")


def main() -> None:
    """Go on with each kind of tokens."""
    options = _parse()
    run = Run(options.run)
    miou: dict[str, list[float]] = {kind: [] for kind in KINDS}
    sizes: dict[str, float] = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory(prefix="maskdistill-tokens-") as folder:
            copy = Run(shutil.copytree(run.path, Path(folder) / "run", ignore=shutil.ignore_patterns("*.lock")))
            for seed in options.seeds:
                miou[kind].append(run_again(copy, kind, seed))
                print(f"{kind}, seed {seed}: mIoU {miou[kind][-1]:.4f}", flush=True)
            sizes[kind] = bytes_of_tokens(copy)
    rows = [
        [
            kind,
            f"{sizes[kind] / 1e6:.1f}",
            f"{statistics.mean(values):.4f}",
            f"{statistics.stdev(values):.4f}" if len(values) > 1 else "",
            f"{100 * (statistics.mean(miou[KINDS[0]]) - statistics.mean(values)):+.2f}",
        ]
        for kind, values in miou.items()
    ]
    print_table("Tokens for training", ["kind", "MB", "mIoU", "spread of seeds", "points lost"], rows)
    write_report(options.json, {"benchmark": "token storage", "run": run.name, "miou": miou, "bytes": sizes})


def run_again(run: Run, kind: str, seed: int) -> float:
    """MIoU of the final model."""
    words = [sys.executable, "-m", "maskdistill", "run", "--run", str(run.path), "--until", "evaluation", "--quiet"]
    words += ["--seed", str(seed), "--set", "predictions.crf=false", "--set", "evaluation.num_seeds=0"]
    done = subprocess.run([*words, "--set", f"features.tokens={kind}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(read_json(run.path / "metrics.json")["reported"]["stage2"]["miou"])


def bytes_of_tokens(run: Run) -> float:
    """What the files of the kind that was made last take."""
    info = max((run.path / "features").glob(f"*/{TOKEN_INFO}"), key=lambda path: path.stat().st_mtime)
    return float(sum(path.stat().st_size for path in info.parent.rglob("*") if path.is_file()))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a finished run on photos with ground truth")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
