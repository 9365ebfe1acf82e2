"""What compact tokens cost: disk, and the mIoU of models that learn from them, against 16-bit tokens.

    python -m benchmarks.token_storage --run RUN [--seeds 0 1 2 3]

RUN is finished, on photos with ground truth. A copy of it goes on with 16-bit tokens, from the clusters, once for each
seed; then from stage 1 with the same clusters, on tokens without what compact ones do not keep. What a pair differs by
is what that costs the models: a one-to-one match of clusters and classes may flip by chance, so the match by majority,
and the photos that they learn from, are told too. Another copy goes on with compact tokens from the start, since the
foreground across photos reads them too: for the disk, and for what the masks lose. Ground truth is for the report only.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import print_table, write_report
from maskdistill.stages.stage_list import NAMES
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import TOKEN_INFO, TokenAxes, TokenStore, as_stored

FULL, COMPACT = "float16", "compact"


def main() -> None:
    """Go on with each kind of tokens."""
    options = _parse()
    found: dict[str, list[dict[str, float]]] = {FULL: [], COMPACT: []}
    with tempfile.TemporaryDirectory(prefix="maskdistill-tokens-") as folder:
        compact, full = (_copy(options.run, Path(folder) / kind) for kind in (COMPACT, FULL))
        run_again(compact, COMPACT, options.seeds[0])
        axes = TokenAxes.load(compact.token_axes_path)
        for seed in options.seeds:
            found[FULL].append(run_again(full, FULL, seed))
            pair = _copy(full.path, Path(folder) / "pair")
            train_on(pair, axes)
            found[COMPACT].append(run_again(pair, FULL, seed))
            shutil.rmtree(pair.path)
            each = (f"{name} {value:.4f}, {found[COMPACT][-1][name]:.4f}" for name, value in found[FULL][-1].items())
            print(f"Seed {seed}, 16 bits and compact: {'; '.join(each)}", flush=True)
        runs = {FULL: full, COMPACT: compact}
        sizes = {kind: bytes_of_tokens(run) for kind, run in runs.items()}
        masks = {kind: read_json(run.path / "metrics.json")["masks"]["mean_best_iou"] for kind, run in runs.items()}
    rows = [[kind, f"{sizes[kind] / 1e6:.1f}", f"{masks[kind]:.4f}"] for kind in runs]
    print_table("Tokens", ["kind", "MB", "IoU of the masks"], rows)
    rows, lost = [], {}
    for name in found[FULL][0]:
        full_values, compact_values = ([item[name] for item in found[kind]] for kind in (FULL, COMPACT))
        lost[name] = [100 * (one - other) for one, other in zip(full_values, compact_values, strict=True)]
        error = statistics.stdev(lost[name]) / len(lost[name]) ** 0.5 if len(lost[name]) > 1 else float("nan")
        means = (f"{statistics.mean(values):.4f}" for values in (full_values, compact_values))
        rows.append([name, *means, f"{statistics.mean(lost[name]):+.2f}", f"{error:.2f}"])
    print_table("Models of the same clusters", ["measure", *runs, "points lost", "standard error"], rows)
    result = {"measures": found, "points_lost": lost, "bytes": sizes, "mask_iou": masks}
    write_report(options.json, {"benchmark": "token storage", "run": options.run.name, **result})


def run_again(run: Run, kind: str, seed: int) -> dict[str, float]:
    """What the final model reaches."""
    words = [sys.executable, "-m", "maskdistill", "run", "--run", str(run.path), "--until", "evaluation", "--quiet"]
    words += ["--seed", str(seed), "--set", "predictions.crf=false", "--set", "evaluation.num_seeds=0"]
    done = subprocess.run([*words, "--set", f"features.tokens={kind}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    metrics = read_json(run.path / "metrics.json")
    val, learnt = metrics["reported"]["stage2"], metrics["training"]["stage2"]
    return {
        "mIoU": val["miou"],
        "by majority": val["majority_miou"],
        "pixels": val["pixel_accuracy"],
        "mIoU, training photos": learnt["miou"],
        "by majority, training photos": learnt["majority_miou"],
    }


def train_on(run: Run, axes: TokenAxes) -> None:
    """Take from a run's 16-bit tokens what compact ones do not keep, and all that was learnt from them."""
    store = TokenStore(_token_folder(run))
    for number in range(len(run.images())):
        if store.path(number).is_file():  # the photo could be read
            store.write(number, as_stored(store.read(number), axes))
    for stage in NAMES[NAMES.index("stage1") :]:
        run.stage_path(stage).unlink(missing_ok=True)
        shutil.rmtree(run.path / stage, ignore_errors=True)


def bytes_of_tokens(run: Run) -> float:
    """What the files of the kind that was made last take."""
    return float(sum(path.stat().st_size for path in _token_folder(run).rglob("*") if path.is_file()))


def _token_folder(run: Run) -> Path:
    return max((run.path / "features").glob(f"*/{TOKEN_INFO}"), key=lambda path: path.stat().st_mtime).parent


def _copy(run: Path, to: Path) -> Run:
    return Run(shutil.copytree(run, to, ignore=shutil.ignore_patterns("*.lock")))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a finished run on photos with ground truth")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
