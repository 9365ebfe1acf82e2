"""How fast ``propose`` is: against a plain implementation, its own forward passes, and the processor's peak.

    python -m benchmarks.speed --data ../shared/data/msrc [--photos 24] [--repeats 3] [--only end_to_end]

The plain implementation is what one would write first: one photo at a time on all cores, float32, the full attention
matrix, a dense eigen-solver; the same recipe otherwise. Ratios come from one run on one machine; the figures of a
shared machine move, so every case is repeated, the cases alternate, and medians are shown.
"""

import argparse
import contextlib
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import torch
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

from benchmarks.report import print_table, write_report
from maskdistill.config import FeatureConfig, RunConfig, load_preset
from maskdistill.datasets import PhotoSource, open_source, read_label, read_photo
from maskdistill.evaluation.region_metrics import best_iou
from maskdistill.features.backbone import Backbone, load_backbone
from maskdistill.features.forward import FeatureRequest
from maskdistill.machine import usable_cores
from maskdistill.proposals import normalized_cut
from maskdistill.proposals.propose import Recipe, propose_from_views
from maskdistill.proposals.views import extract_views
from maskdistill.stages.propose import hold_masks
from maskdistill.stages.tasks import Batch
from maskdistill.stages.worker import PhotoWorker
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.run_folder import Run

PUBLISHED_SIDE = 640  # pixels
CASES = {
    "default settings": [],
    "normalised cut at 640 px": [f"features.shorter_side={PUBLISHED_SIDE}"],
    "published settings (640 px)": [
        f"features.shorter_side={PUBLISHED_SIDE}",
        "features.fit=pad",
        "proposals.engine=published",
        "proposals.views=none",
    ],
}


def main() -> None:
    """Time every case both ways, then the forward pass against matrix products, alone and in the whole of a photo."""
    options = _parse()
    source = open_source(options.data).limited(options.photos)
    result: dict[str, Any] = {"benchmark": "speed", "num_photos": len(source.photos), "data": source.spec}
    measure: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "cases": lambda: compare(source, options.backbone, options.repeats),
        "forward": lambda: forward_shares(options.backbone, options.repeats),
        "end_to_end": lambda: end_to_end(options.data, options.backbone, options.photos),
        "memory": lambda: [memory(options.data, options.backbone, count) for count in options.memory],
    }
    for name in options.only:
        result[name] = measure[name]()
        _PRINT[name](result[name])
    write_report(options.json, result)


def compare(source: PhotoSource, backbone: str, repeats: int) -> list[dict[str, Any]]:
    """Photos per second of each case, ours and plain, alternating."""
    times: dict[str, dict[str, list[float]]] = {name: {"ours": [], "plain": []} for name in CASES}
    ious: dict[str, dict[str, float]] = {name: {} for name in CASES}
    for _ in range(repeats):
        for name, overrides in CASES.items():
            config = load_preset("quick").with_overrides([f"features.backbone={backbone}", *overrides])
            few = source.limited(max(6, len(source.photos) // 6))
            seconds, ious[name]["ours"] = run_ours(source if name == "default settings" else few, few, config)
            times[name]["ours"].append(seconds)
            seconds, ious[name]["plain"] = run_plain(few, config)
            times[name]["plain"].append(seconds)
    return [
        {
            "name": name,
            "ours": 1 / statistics.median(case["ours"]),
            "plain": 1 / statistics.median(case["plain"]),
            "iou": ious[name],
        }
        for name, case in times.items()
    ]


def run_ours(source: PhotoSource, measured: PhotoSource, config: RunConfig) -> tuple[float, float]:
    """Seconds per photo of the stage in steady state, and mean best IoU over ``measured`` (NaN without labels).

    The clock runs from the first finished photo, so that loading the model, which a run of thousands pays once, is
    left out here as it is for the plain implementation.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run")
        clock = _Clock()
        ticking = mock.patch("maskdistill.stages.propose.Reporter.advance", clock.tick)
        with ticking, hold_masks(run, source, config, quiet=True):
            pass
        codes, best = MaskCodes.open(run), run.masks().query("rank == 0")
        masks = {row["image_id"]: codes.decode(row["mask_id"]) for row in best.to_dict("records")}
    return clock.seconds_per_photo, _mean_iou(measured, masks)


class _Clock:
    """Notes when photos finish; the first ones of every process are not counted."""

    def __init__(self) -> None:
        self._moments: list[float] = []

    def tick(self, _count: int = 1) -> None:
        """One photo is finished."""
        self._moments.append(time.perf_counter())

    @property
    def seconds_per_photo(self) -> float:
        """Of the photos after the first few."""
        skip = min(usable_cores(), len(self._moments) - 2)
        return (self._moments[-1] - self._moments[skip]) / (len(self._moments) - 1 - skip)


def run_plain(source: PhotoSource, config: RunConfig) -> tuple[float, float]:
    """Seconds per photo of the plain implementation, and mean best IoU (NaN without labels)."""
    torch.set_num_threads(usable_cores())
    changes = ["features.precision=float32"]
    backbone = load_backbone(config.with_overrides(changes).features)
    for block in backbone.model.blocks:
        block.attn.fused_attn = False  # timm then forms the full attention matrix
    recipe = Recipe.resolve(config.proposals, config.crf, backbone)
    masks, seconds = {}, []
    with mock.patch.object(normalized_cut, "second_eigenvector", dense_eigenvector):
        for photo in source.photos:
            start = time.perf_counter()
            image = read_photo(photo)
            size = (photo.height, photo.width)
            views = extract_views(backbone, image, size, config.features, recipe.request, view_scale=recipe.view_scale)
            found = propose_from_views(*views, image, recipe)
            seconds.append(time.perf_counter() - start)
            if found.proposals:
                masks[photo.id] = found.proposals[0].mask
    return statistics.mean(seconds[1:] or seconds), _mean_iou(source, masks)


def dense_eigenvector(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Second-smallest generalised eigenvector of (D - A, D), all of them computed, as most public code does."""
    degrees = np.diag(weights.sum(axis=1)).astype(np.float64)
    values, vectors = eigh(degrees - weights, degrees, driver="gvd")
    return vectors[:, 1].astype(np.float32), 1 - values[:3], True


def _mean_iou(source: PhotoSource, masks: dict[str, np.ndarray]) -> float:
    ious = []
    for photo in source.photos:
        labels = read_label(source, photo)
        if labels is not None:
            ious.append(best_iou(masks[photo.id], labels) if photo.id in masks else 0.0)
    return float(np.mean(ious)) if ious else float("nan")


def _print_cases(cases: list[dict[str, Any]]) -> None:
    rows = [
        [
            case["name"],
            f"{case['ours']:.2f}",
            f"{case['plain']:.2f}",
            f"{case['ours'] / case['plain']:.1f}x",
            f"{case['iou']['ours']:.3f} / {case['iou']['plain']:.3f}",
        ]
        for case in cases
    ]
    header = ["settings", "ours (photos/s)", "plain (photos/s)", "ratio", "mean best IoU ours / plain"]
    print_table("propose", header, rows)
    published = cases[-1]
    print(f"  default settings, ours, against published settings, plain: {cases[0]['ours'] / published['plain']:.1f}x")
    print(f"  default settings, ours, against published settings, ours: {cases[0]['ours'] / published['ours']:.1f}x")


def _print_forward(found: list[dict[str, Any]]) -> None:
    rows = [
        [item["precision"], item["side"], f"{item['gflops']:.0f}", f"{item['peak_gflops']:.0f}", f"{item['share']:.0%}"]
        for item in found
    ]
    header = ["precision", "side (px)", "forward (GFLOP/s)", "matrix product (GFLOP/s)", "share"]
    print_table("Forward pass as propose runs it, one thread per photo, every core busy", header, rows)


def _print_end_to_end(found: list[dict[str, Any]]) -> None:
    rows = [
        [item["precision"], *(f"{item[name] * 1000:.0f}" for name in ("forward", "whole")), f"{item['share']:.1%}"]
        for item in found
    ]
    header = ["precision", "forward passes (ms)", "the whole of propose (ms)", "share"]
    print_table("A photo from its file to its stored masks, one thread per photo, every core busy", header, rows)


def _print_memory(found: list[dict[str, Any]]) -> None:
    rows = [[item["photos"], f"{item['peak_gib']:.2f}"] for item in found]
    if rows:
        print_table("Peak memory of propose, all processes together", ["photos", "GiB"], rows)


_PRINT = {"cases": _print_cases, "forward": _print_forward, "end_to_end": _print_end_to_end, "memory": _print_memory}


def forward_shares(backbone: str, repeats: int) -> list[dict[str, Any]]:
    """The forward pass's FLOP/s and the peak of a matrix product beside it, as every core does its own photo."""
    cores = usable_cores()
    context = multiprocessing.get_context("spawn")
    results = []
    for precision in ("float32", "bfloat16"):
        for side in (0, PUBLISHED_SIDE):
            arguments = [(backbone, precision, side, repeats)] * cores
            with context.Pool(cores) as pool:
                shares = pool.starmap(_forward_share, arguments, chunksize=1)
            flops, peak = (sum(share[index] for share in shares) for index in (0, 1))
            results.append(
                {"precision": precision, "side": side or "default", "gflops": flops, "peak_gflops": peak}
                | {"share": flops / peak}
            )
    return results


def _forward_share(name: str, precision: str, side: int, repeats: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    config = FeatureConfig(backbone=name, precision=precision, shorter_side=side, device="cpu")
    backbone = load_backbone(config)
    geometry = backbone.geometry(480, 720, config)
    pixels = torch.randn(1, 3, geometry.padded_height, geometry.padded_width)
    recipe = Recipe.resolve(RunConfig().proposals, RunConfig().crf, backbone)
    flops = count_flops(backbone, geometry.rows * geometry.cols, recipe.request)
    matrix = torch.randn(2048, 2048, dtype=getattr(torch, precision))
    forward, peak = [], []
    for _ in range(3 * repeats):
        forward.append(_seconds(lambda: backbone.forward(pixels, recipe.request)))
        peak.append(_seconds(lambda: torch.nn.functional.linear(matrix, matrix)))
    return flops / statistics.median(forward) / 1e9, 2 * 2048**3 / statistics.median(peak) / 1e9


def end_to_end(data: str, backbone: str, photos: int) -> list[dict[str, Any]]:
    """Seconds of a core that a photo takes in all, and in its forward passes alone, at the default settings."""
    cores = usable_cores()
    results = []
    for precision in ("float32", "bfloat16"):
        with multiprocessing.get_context("spawn").Pool(cores) as pool:
            found = pool.starmap(_end_to_end, [(data, backbone, precision, photos)] * cores, chunksize=1)
        forward, whole = (statistics.mean(item[index] for item in found) for index in (0, 1))
        results.append({"precision": precision, "forward": forward, "whole": whole, "share": forward / whole})
    return results


def _end_to_end(data: str, name: str, precision: str, count: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    threadpool_limits(1)
    source, spent = open_source(data).limited(count), [0.0]
    config = load_preset("quick").with_overrides([f"features.backbone={name}", f"features.precision={precision}"])
    forward = Backbone.forward

    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.thread_time()
        try:
            return forward(*arguments, **options)
        finally:
            spent[0] += time.thread_time() - start

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(Backbone, "forward", timed):
        thumbs, pool, tokens = (Path(folder) / item for item in ("thumbs", "pool", "tokens"))
        for path in (thumbs, pool, tokens):
            path.mkdir()
        worker = PhotoWorker(Path(folder), config, thumbs, pool, tokens)
        for number in range(2):  # not counted
            worker(Batch.of(number, source.photos[number]))
        spent[0], start = 0.0, time.thread_time()
        for number, photo in enumerate(source.photos):
            worker(Batch.of(number, photo))
        whole = time.thread_time() - start
    return spent[0] / len(source.photos), whole / len(source.photos)


def count_flops(backbone: Backbone, num_patches: int, request: FeatureRequest) -> float:
    """Multiplications and additions of the matrix products of one forward pass, two per product term."""
    blocks = backbone.depth if request.last_qk else max(request.token_blocks)
    dimension = backbone.model.embed_dim
    tokens = num_patches + backbone.model.num_prefix_tokens
    hidden = backbone.model.blocks[0].mlp.fc1.out_features
    per_block = 2 * tokens * dimension * (4 * dimension + 2 * hidden) + 4 * tokens**2 * dimension
    return blocks * per_block + 2 * num_patches * dimension * 3 * backbone.patch_size**2


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def memory(data: str, backbone: str, count: int) -> dict[str, Any]:
    """Highest sum of resident memory of the command's processes, over ``count`` photos (the folder repeated)."""
    photos = open_source(data).photos
    with tempfile.TemporaryDirectory() as folder:
        links = Path(folder) / "photos"
        links.mkdir()
        for index in range(count):
            path = photos[index % len(photos)].path
            (links / f"{index:06d}{path.suffix}").symlink_to(path)
        command = [sys.executable, "-m", "maskdistill", "propose", "--quiet", "--backbone", backbone]
        process = subprocess.Popen(
            [*command, "--data", str(links), "--run", f"{folder}/run"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak = _watch(process.pid, lambda: process.poll() is None)
        if process.returncode:
            raise RuntimeError(f"propose ended with {process.returncode}.")
    return {"photos": count, "peak_gib": peak / 2**30}


def _watch(pid: int, alive: Callable[[], bool]) -> int:
    peak = 0
    while alive():
        total = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
        peak = max(peak, total)
        time.sleep(0.2)
    return peak


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sample", help="folder of photos; a VOC folder adds the masks' quality")
    parser.add_argument("--backbone", default="auto")
    parser.add_argument("--photos", type=int, default=24, help="photos of the timed cases")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="*", default=[100, 1000], help="numbers of photos, for the memory")
    parser.add_argument("--only", nargs="+", choices=_PRINT, default=list(_PRINT), help="parts that are measured")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
