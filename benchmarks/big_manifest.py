"""What a run over many photos, by a list or in a folder, takes when there is nothing to do.

    python -m benchmarks.big_manifest --paths 1000000
    python -m benchmarks.big_manifest --paths 100000 --folder-of-photos

Photos are hard links to forty small files, so the disk has few inodes to look up: on a disk that is cold, or in a
network, each photo costs what its ``stat`` costs there. Masks are drawn, as in ``benchmarks.generated_run``; the files
of the run, and what it keeps of the list, are written by the code of a real run. That is not so of the first opening
of a list, which would read every photo: what it found is put together from the forty. The photos of a folder are read,
and once more by a command that remembers nothing of them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.drawn_photos import draw_photo, draw_shape
from benchmarks.generated_run import BACKBONE, NUM_SHAPES
from maskdistill.config import load_preset
from maskdistill.datasets import PhotoSource, open_source
from maskdistill.datasets.photo_table import PhotoTable
from maskdistill.datasets.seen_files import ListState, SeenFiles, stamp_files, unread_rows
from maskdistill.features.registry import SPECS, BackboneChoice
from maskdistill.files import write_json
from maskdistill.stages.merge import merge_results
from maskdistill.stages.plan import Plan
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run

NUM_FILES = 40  # different photos
IN_FOLDER = 1000  # photos in one folder
PARTS = ("view_agreement", "eigengap", "stability", "contrast", "area", "border")


def generate_list(folder: Path, num_paths: int, seed: int = 0) -> Path:
    """Write ``num_paths`` photos and a list of them, ``photos.parquet``, to a new folder; returns the list."""
    generator = np.random.default_rng(seed)
    files = [folder / "files" / f"{number:02d}.jpg" for number in range(NUM_FILES)]
    files[0].parent.mkdir(parents=True)
    for file in files:
        draw_photo(file, generator)
    names = [f"photos/{number // IN_FOLDER:05d}/{number:07d}.jpg" for number in range(num_paths)]
    for number in range(0, num_paths, IN_FOLDER):
        (folder / names[number]).parent.mkdir(parents=True)
    for number, name in enumerate(names):
        os.link(files[number % NUM_FILES], folder / name)
    path = folder / "photos.parquet"
    pd.DataFrame({"path": names}).to_parquet(path)
    return path


def open_generated(path: Path) -> PhotoSource:
    """The photos of such a list, of which forty are read, with what a run keeps of them."""
    names = pd.read_parquet(path)["path"].tolist()
    paths = [os.fsencode(path.parent / name) for name in names]
    few = SeenFiles(
        ListState.of(path), path.parent, unread_rows(names[:NUM_FILES], paths[:NUM_FILES], [None] * NUM_FILES)
    )
    few = few.looked_again()
    rows = few.rows.take(np.arange(len(names)) % NUM_FILES)
    own = {"id": pa.array([name.removesuffix(".jpg") for name in names]), "path": pa.array(paths, pa.binary())}
    stamps = dict(zip(("size", "changed_ns", "entry_changed_ns", "inode"), stamp_files(paths).T, strict=True))
    own |= {name: pa.array(values) for name, values in stamps.items()}
    rows = pa.table([own.get(name, rows[name]) for name in rows.schema.names], schema=rows.schema)
    seen = replace(few, rows=rows)
    return PhotoSource("folder", str(path), path.parent, PhotoTable(seen.photos), seen=seen)


def generate_masks(folder: Path, source: PhotoSource, masks_a_photo: int = 1, seed: int = 0) -> Run:
    """A new run in ``folder`` whose masks of all photos are made, and nothing else."""
    run = Run(folder)
    run.path.mkdir(parents=True)
    config = load_preset("quick")
    config = replace(config, features=replace(config.features, backbone=BACKBONE, precision="float32"))
    config = replace(config, features=replace(config.features, shorter_side=SPECS[BACKBONE].shorter_side))
    backbone = {"requested": BACKBONE, "name": BACKBONE, "reason": "", "weights": SPECS[BACKBONE].weights}
    info = {"format": 1, "data": source.spec, "preset": "quick", "config": config.to_dict(), "backbone": backbone}
    info["source"] = {"kind": source.kind, "classes": [], "has_labels": False, "label_values": "ids"}
    run.write_info({**info, "versions": {}, "limit": 0})
    if source.seen is not None:
        source.seen.write(run.seen_path, source.fingerprint)
    merge_results(run, source, draw_results(len(source.photos), masks_a_photo, seed))
    plan = Plan(run, source, config, BackboneChoice(SPECS[BACKBONE], ""))
    made_from = json.loads(json.dumps(plan.made_from("proposals")))
    record = {"fingerprint": plan.key("proposals"), "made_from": made_from, "backbone": backbone, "versions": {}}
    write_json(run.stage_path("proposals"), record)
    return run


def draw_results(num_photos: int, masks_a_photo: int = 1, seed: int = 0) -> list[dict[str, Any]]:
    """Masks of photos as their workers would give them, of a few hundred shapes."""
    generator = np.random.default_rng(seed)
    shapes = [draw_shape(generator) for _ in range(NUM_SHAPES)]
    chosen = generator.integers(len(shapes), size=(num_photos, masks_a_photo)).tolist()
    scores = generator.beta(5, 2, (num_photos, masks_a_photo)).round(6).tolist()
    return [
        {
            "number": number,
            "annotations": [
                {
                    "id": number * MASKS_PER_PHOTO + rank,
                    "image_id": number,
                    "segmentation": shapes[shape].code,
                    "area": shapes[shape].area,
                    "bbox": shapes[shape].box,
                    "iscrowd": 0,
                    "category_id": 1,
                    "score": scores[number][rank],
                    "parts": dict.fromkeys(PARTS, scores[number][rank]),
                }
                for rank, shape in enumerate(row)
            ],
            "error": "",
            "problem": "",
        }
        for number, row in enumerate(chosen)
    ]


def time_command(run: Run, data: Path) -> tuple[float, float, float, str]:
    """What ``maskdistill run`` up to the masks takes in a process of its own.

    Returns:
        Seconds, those of a processor among them, peak megabytes, and what it said.
    """
    flags = ["run", "--run", str(run.path), "--data", str(data), "--until", "proposals", "--preset", "quick"]
    flags += ["--set", f"features.backbone={BACKBONE}", "--quiet"]
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([sys.executable, "-m", "maskdistill", *flags], stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        out.seek(0)
        said = out.read().strip()
    if status:
        raise SystemExit(f"maskdistill run failed with {os.waitstatus_to_exitcode(status)}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said


def main() -> None:
    """Generate, then time the command; the first call makes the quick copy of the masks too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", type=int, default=1_000_000, help="photos in the list")
    parser.add_argument("--masks", type=int, default=1, help="masks of each photo")
    parser.add_argument("--folder-of-photos", action="store_true", help="open the folder of the photos, not the list")
    parser.add_argument("--folder", type=Path, help="new or empty folder to keep; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        data = folder / ("photos" if options.folder_of_photos else "photos.parquet")
        run = Run(folder / "run")
        if not run.exists:
            began = time.monotonic()
            listed = generate_list(folder, options.paths)
            time.sleep(3)  # until the times of the files are old enough to be believed
            source = open_source(data, seen=run.seen_path) if options.folder_of_photos else open_generated(listed)
            generate_masks(run.path, source, options.masks)
            print(f"{options.paths:,} photos and their masks made in {time.monotonic() - began:.0f} s")
        if options.folder_of_photos:
            run.seen_path.unlink()
            seconds, busy, megabytes, said = time_command(run, data)
            print(f"nothing remembered: {seconds:.1f} s ({busy:.1f} s of a core), {megabytes:,.0f} MB. {said}")
        for number in range(3):
            seconds, busy, megabytes, said = time_command(run, data)
            print(f"call {number + 1}: {seconds:.1f} s ({busy:.1f} s of a core), {megabytes:,.0f} MB. {said}")


if __name__ == "__main__":
    main()
