"""What fewer bytes a stored patch token cost: the mIoU of models that learn from them, against 16-bit tokens.

    python -m benchmarks.token_storage --run RUN [--kinds pca128 pca64 int8] [--batches 8 7]

RUN is finished, on photos with ground truth. Of each kind a copy of it is made whose tokens are what that kind would
give back: ``int8`` rounds each dimension to 8 bits of its range, ``pca128`` keeps 128 principal axes of all patches,
rounded likewise. Everything from the first model on is then done again, and so it is with the tokens as they are, so
that all differ in the tokens alone; once for each size of a batch, which shows how much chance there is in a figure.
Ground truth is for the report only.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from benchmarks.report import print_table, write_report
from maskdistill.storage.photo_arrays import TOKEN_INFO
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run

SAMPLE = 60_000  # patches that the axes and ranges are found on
FROM = ("stage1", "instances", "candidates", "filter", "pseudo_labels", "stage2", "rounds", "predictions", "evaluation")
AS_THEY_ARE = "float16"

Codec = Callable[[np.ndarray], np.ndarray]  # (N, D) tokens -> what would be given back of them


def main() -> None:
    """Train on each kind of tokens."""
    options = _parse()
    run = Run(options.run)
    info = next((run.path / "features").glob(f"*/{TOKEN_INFO}"))
    files = sorted(info.parent.glob("*/*.npy"))
    sample = draw_patches(files)
    found: dict[str, list[float]] = {}
    for kind in (AS_THEY_ARE, *options.kinds):
        codec = codec_of(kind, sample)
        for batch in options.batches:
            with tempfile.TemporaryDirectory(prefix="maskdistill-tokens-") as folder:
                copy = copy_run(run, Path(folder) / "run", info.parent, codec)
                miou = train_again(copy, batch)
            found.setdefault(kind, []).append(miou)
            print(f"{kind}, batches of {batch}: mIoU {miou:.4f}", flush=True)
    width = sample.shape[1]
    rows = []
    for kind, values in found.items():
        pairs = zip(values, found[AS_THEY_ARE], strict=True)
        lost = statistics.mean(100 * (base - value) for value, base in pairs)
        rows.append([kind, bytes_of(kind, width), f"{statistics.mean(values):.4f}", f"{lost:+.2f}"])
    print_table("Tokens for training", ["kind", "bytes a patch", "mIoU", "points lost"], rows)
    write_report(options.json, {"benchmark": "token storage", "run": run.name, "miou": found})


def draw_patches(files: list[Path]) -> np.ndarray:
    """(N, D) float32 of patches of all photos, as many of each."""
    generator = np.random.default_rng(0)
    parts = []
    for path in files:
        tokens = np.load(path, mmap_mode="r").reshape(-1, np.load(path, mmap_mode="r").shape[-1])
        rows = generator.permutation(len(tokens))[: max(1, SAMPLE // len(files))]
        parts.append(np.asarray(tokens[np.sort(rows)], np.float32))
    return np.concatenate(parts)


def codec_of(kind: str, sample: np.ndarray) -> Codec:
    """What a kind of storage gives back of tokens."""
    if kind == AS_THEY_ARE:
        return lambda tokens: tokens
    if kind == "int8":
        return rounding(sample)
    axes = PCA(int(kind.removeprefix("pca")), random_state=0).fit(sample)
    rounded = rounding(axes.transform(sample))
    return lambda tokens: axes.inverse_transform(rounded(axes.transform(tokens)))


def rounding(sample: np.ndarray) -> Codec:
    """To 256 steps between the ends of each dimension, a thousandth of the sample cut off at each."""
    low, high = np.quantile(sample, [0.001, 0.999], axis=0)
    step = np.maximum(high - low, 1e-9) / 255
    return lambda tokens: np.clip(np.round((tokens - low) / step), 0, 255) * step + low


def bytes_of(kind: str, width: int) -> int:
    """That a patch takes."""
    return {AS_THEY_ARE: 2 * width, "int8": width}.get(kind) or int(kind.removeprefix("pca"))


def copy_run(run: Run, folder: Path, tokens: Path, codec: Codec) -> Run:
    """A copy before the first model, by links, with other tokens."""
    shutil.copytree(run.path, folder, copy_function=os.link, ignore=shutil.ignore_patterns("*.lock", "stage*", "*.npy"))
    copy = Run(folder)
    shutil.copytree(run.path / "stages", copy.path / "stages", dirs_exist_ok=True)
    shutil.copy(run.path / "embeddings.npy", copy.path / "embeddings.npy")
    for stage in FROM:
        copy.stage_path(stage).unlink(missing_ok=True)
    for path in sorted(run.path.rglob("*.npy")):
        place = copy.path / path.relative_to(run.path)
        if place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_relative_to(tokens):
            os.link(path, place)
            continue
        values = np.load(path)
        given = codec(values.reshape(-1, values.shape[-1]).astype(np.float32))
        np.save(place, given.reshape(values.shape).astype(np.float16))
    return copy


def train_again(run: Run, batch: int) -> float:
    """MIoU of the final model."""
    words = [sys.executable, "-m", "maskdistill", "run", "--run", str(run.path), "--until", "evaluation", "--quiet"]
    words += ["--set", "predictions.crf=false", "--set", f"stage1.batch_size={batch}", "--set"]
    done = subprocess.run([*words, f"stage2.batch_size={batch}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(read_json(run.path / "metrics.json")["reported"]["stage2"]["miou"])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a finished run on photos with ground truth")
    parser.add_argument("--kinds", nargs="+", default=["pca128", "pca64", "int8"])
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 7])
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
