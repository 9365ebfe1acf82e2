"""Everything that writes into a run or a user's folder, each with a check that what is there is whole.

``write(folder, number)`` writes something of this number; whoever comes last wins, or each adds its own.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from maskdistill.config import RunConfig
from maskdistill.exports.coco import export_coco
from maskdistill.exports.folder import LOCK, MARKER
from maskdistill.exports.records import ExportImage, ExportMask
from maskdistill.exports.voc import export_voc
from maskdistill.exports.yolo import export_yolo
from maskdistill.files import write_atomically, write_json
from maskdistill.masks import encode_mask
from maskdistill.models.training.checkpoint import Snapshot, load_snapshot, save_snapshot
from maskdistill.proposals.thumbnails import write_thumbnail
from maskdistill.pseudo_labels.label_maps import read_label_png, write_label_png
from maskdistill.review.decisions import Action, Mark, Scope, claim, decide, read_marks, rename, steps, to_csv
from maskdistill.stages import time_estimates
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.photo_arrays import ArrayStore, VectorStore
from maskdistill.storage.progress import Reporter, read_progress_file
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.saved_views import save_view, views

SIDE = 64
ROUNDS = 8  # that each writer writes


@dataclass(frozen=True)
class Writer:
    """How something is written, and whether what is there is whole."""

    write: Callable[[Path, int], object]
    check: Callable[[Path], bool]
    count: Callable[[Path], int] | None = None  # how many are there, where each writer adds its own


def _numbers(number: int) -> np.ndarray:
    return np.full((200, 4, 4), number % 1000, np.float32)


def _is_one(values: np.ndarray, size: int) -> bool:
    """Whether all values are of one writer."""
    return values.size == size and len(np.unique(values)) == 1


def run_of(folder: Path) -> Run:
    """The run that all of them write into; it is made by ``prepare``."""
    return Run(folder / "run")


def prepare(folder: Path) -> None:
    """What writers need to be there."""
    from decisions_data import make_run

    run = make_run(run_of(folder).path)
    write_json(run.proposals_path, _coco(0))
    (folder / "data").mkdir()
    Image.new("RGB", (SIDE, SIDE), (9, 90, 9)).save(folder / "data" / "a.png")


def _coco(number: int) -> dict[str, object]:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[: 1 + number % SIDE] = True
    items = [{"id": id, "image_id": 0, "bbox": [0, 0, 5, 5], "segmentation": encode_mask(mask)} for id in range(200)]
    return {"images": [], "annotations": items}


def _mask_copy(folder: Path, number: int) -> None:
    run = run_of(folder)
    write_json(run.proposals_path, _coco(number), indent=None)
    assert len(MaskCodes.open(run)) == 200


def _checkpoint(folder: Path, number: int) -> None:
    (folder / "training").mkdir(exist_ok=True)
    snapshot = Snapshot(number, {"a": torch.from_numpy(_numbers(number))}, {"number": number})
    save_snapshot(folder / "training", snapshot, "same")


def _checkpoint_is_whole(folder: Path) -> bool:
    found = load_snapshot(folder / "training", "same")
    return found is not None and _is_one(found.tensors["a"].numpy(), 3200) and found.values == {"number": found.step}


def _decide(folder: Path, number: int) -> None:
    mark = Mark(0, "photo 0", (0, 5, 30, 20), Action.REJECT, None)
    decide(run_of(folder), "ann", [mark], scope=Scope.LABELS, note=str(number))
    claim(run_of(folder), "ann", [number], 60)


def _export(folder: Path, format: str) -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[5:30, 5:30] = True
    image = ExportImage(0, "a", folder / "data" / "a.png", "a.png", SIDE, SIDE, None)
    masks = [ExportMask(0, 0, 1, 0.5, encode_mask(mask))]
    out = folder / f"out {format}"
    if format == "voc":
        export_voc(out, [image], lambda _image: mask.astype(np.uint8), ["box"])
    else:
        {"coco": export_coco, "yolo": export_yolo}[format](out, [image], masks, ["box"])


def _export_is_whole(folder: Path, format: str) -> bool:
    out = folder / f"out {format}"
    marker = json.loads((out / MARKER).read_text())
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} - {MARKER, LOCK}
    return marker["complete"] and there <= set(marker["files"])


def _speed(folder: Path, number: int) -> None:
    time_estimates.record_speed(run_of(folder), "proposals", RunConfig(), 10.0 + number, 5)


def _upload(folder: Path, number: int) -> None:
    from app.uploads import keep_uploads

    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (number % 250, 0, 0)).save(buffer, "PNG")
    content = buffer.getvalue()
    file = type("Upload", (), {"name": "photo.png", "size": len(content), "getvalue": staticmethod(lambda: content)})()
    assert keep_uploads([file], folder / "uploads").num_kept == 1


def _uploads_are_whole(folder: Path) -> bool:
    for path in (folder / "uploads").iterdir():
        with Image.open(path) as image:
            image.load()
    return True


def _image(number: int) -> Image.Image:
    return Image.new("RGB", (300, 200), (number % 250, 0, 0))


def _table(folder: Path, number: int) -> None:
    write_table(folder / "a.parquet", pd.DataFrame({"a": _numbers(number)[:, 0, 0]}))


def _report(folder: Path, number: int) -> None:
    with Reporter(folder / "progress.json", "proposals", 100, quiet=True) as reporter:
        reporter.advance(number % 100)


WRITERS: dict[str, Writer] = {
    "text": Writer(
        lambda folder, number: write_atomically(folder / "a.txt", str(number % 10) * 5000),
        lambda folder: len(set((folder / "a.txt").read_text())) == 1 and (folder / "a.txt").stat().st_size == 5000,
    ),
    "JSON": Writer(
        lambda folder, number: write_json(folder / "a.json", [number] * 3000),
        lambda folder: len(set(json.loads((folder / "a.json").read_text()))) == 1,
    ),
    "table": Writer(_table, lambda folder: _is_one(pd.read_parquet(folder / "a.parquet")["a"].to_numpy(), 200)),
    "run.json": Writer(
        lambda folder, number: run_of(folder).write_info({"data": "sample", "config": {}, "number": number}),
        lambda folder: run_of(folder).info()["data"] == "sample",
    ),
    "arrays of a photo": Writer(
        lambda folder, number: ArrayStore(folder / "arrays").write(7, _numbers(number)),
        lambda folder: _is_one(np.array(ArrayStore(folder / "arrays").read(7)), 3200),
    ),
    "vectors of a photo": Writer(
        lambda folder, number: VectorStore(folder / "vectors").write(7, {"a": _numbers(number)[:, 0]}),
        lambda folder: _is_one(VectorStore(folder / "vectors").read([7])["a"], 800),
    ),
    "masks and their copy": Writer(_mask_copy, lambda folder: len(MaskCodes.open(run_of(folder))) == 200),
    "thumbnail": Writer(
        lambda folder, number: write_thumbnail(folder / "a.jpg", _image(number), [0, 0, 50, 50], (200, 300)),
        lambda folder: Image.open(folder / "a.jpg").convert("RGB").size == (96, 96),
    ),
    "label map": Writer(
        lambda folder, number: write_label_png(folder / "a.png", np.full((50, 60), number % 250, np.uint8)),
        lambda folder: _is_one(read_label_png(folder / "a.png"), 3000),
    ),
    "checkpoint": Writer(_checkpoint, _checkpoint_is_whole),
    "progress": Writer(_report, lambda folder: read_progress_file(folder / "progress.json") is not None),
    "decisions and claims": Writer(
        _decide,
        lambda folder: read_marks(run_of(folder))["step"].is_unique,
        lambda folder: read_marks(run_of(folder))["step"].nunique(),
    ),
    "names of clusters": Writer(
        lambda folder, number: rename(run_of(folder), "ann", 1 + number % 4, f"name {number}"),
        lambda folder: bool(steps(run_of(folder))),
        lambda folder: len({step.id for step in steps(run_of(folder), limit=1000)}),
    ),
    "saved views": Writer(
        lambda folder, number: save_view(run_of(folder), "selection", f"view {number}", number),
        lambda folder: all(view.name == f"view {view.value}" for view in views(run_of(folder), "selection")),
        lambda folder: len(views(run_of(folder), "selection")),
    ),
    "decisions as CSV": Writer(
        lambda folder, _number: write_atomically(folder / "a.csv", to_csv(run_of(folder))),
        lambda folder: (folder / "a.csv").read_text().startswith("step"),
    ),
    "COCO export": Writer(
        lambda folder, _number: _export(folder, "coco"), lambda folder: _export_is_whole(folder, "coco")
    ),
    "VOC export": Writer(
        lambda folder, _number: _export(folder, "voc"), lambda folder: _export_is_whole(folder, "voc")
    ),
    "YOLO export": Writer(
        lambda folder, _number: _export(folder, "yolo"), lambda folder: _export_is_whole(folder, "yolo")
    ),
    "speed of this machine": Writer(_speed, lambda _folder: True),
    "uploads": Writer(_upload, _uploads_are_whole, lambda folder: len(list((folder / "uploads").iterdir()))),
}


def write_often(name: str, folder: Path, who: int) -> None:
    """What one of several writers does: write, and find whole what is there."""
    writer = WRITERS[name]
    for number in range(ROUNDS):
        writer.write(folder, 100 * who + number)
