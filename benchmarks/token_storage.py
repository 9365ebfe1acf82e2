"""What compact tokens cost: disk, and the mIoU of models that learn from them, against 16-bit tokens.

    python -m benchmarks.token_storage --run RUN [--batches 8 7]

RUN is finished, on photos with ground truth. A copy of it goes on with each kind of tokens: vectors, clusters and all
after them are made again where the kind or the size of a batch asks for it. Several sizes of a batch show how much
chance there is in a figure. Ground truth is for the report only.
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
    """Train on each kind of tokens."""
    options = _parse()
    run = Run(options.run)
    miou: dict[str, list[float]] = {kind: [] for kind in KINDS}
    sizes: dict[str, float] = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory(prefix="maskdistill-tokens-") as folder:
            copy = Run(shutil.copytree(run.path, Path(folder) / "run", ignore=shutil.ignore_patterns("*.lock")))
            for batch in options.batches:
                miou[kind].append(train_again(copy, kind, batch))
                print(f"{kind}, batches of {batch}: mIoU {miou[kind][-1]:.4f}", flush=True)
            sizes[kind] = bytes_of_tokens(copy)
    rows = []
    for kind in KINDS:
        lost = statistics.mean(100 * (base - value) for value, base in zip(miou[kind], miou[KINDS[0]], strict=True))
        rows.append([kind, f"{sizes[kind] / 1e6:.1f}", f"{statistics.mean(miou[kind]):.4f}", f"{lost:+.2f}"])
    print_table("Tokens for training", ["kind", "MB", "mIoU", "points lost"], rows)
    write_report(options.json, {"benchmark": "token storage", "run": run.name, "miou": miou, "bytes": sizes})


def train_again(run: Run, kind: str, batch: int) -> float:
    """MIoU of the final model."""
    words = [sys.executable, "-m", "maskdistill", "run", "--run", str(run.path), "--until", "evaluation", "--quiet"]
    words += ["--set", "predictions.crf=false", "--set", f"features.tokens={kind}"]
    words += [word for stage in ("stage1", "stage2") for word in ("--set", f"{stage}.batch_size={batch}")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
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
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 7])
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
