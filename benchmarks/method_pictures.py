"""Draws the pictures in docs/method.md: what foreground, pool and single objects make of photos that may be published.

Usage: ``python -m benchmarks.method_pictures runs/sample assets``, after ``maskdistill embed --run runs/sample --data
sample --preset scenes``, whose photos scikit-image and scikit-learn install. Where the run goes on to the stage
``instances``, its objects are drawn too.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskdistill.config import RunConfig
from maskdistill.datasets import open_source, read_photo
from maskdistill.masks import decode_mask
from maskdistill.models.new_instances import has_instances
from maskdistill.pictures.drawing import overlay
from maskdistill.proposals.foreground import patch_vectors
from maskdistill.proposals.foreground_masks import CutMask, Seen, correct_masks
from maskdistill.stages.chain import Options
from maskdistill.stages.context import Context, annotations_by_photo
from maskdistill.stages.foreground import as_cut
from maskdistill.stages.plan import Plan
from maskdistill.storage.photo_arrays import ArrayStore
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import TOKEN_INFO

PHOTOS = ("rocket", "hubble", "coins", "cat", "astronaut")
HEIGHT, MOST_WIDTH, GAP = 168, 250, 6  # pixels of a picture in its strip
OPACITY = 0.45
SHOWN, LEAST = 8, 0.5  # single objects, the best of at least that score, as Results shows them first
QUALITY = 72


def main(run: Run, folder: Path) -> None:
    """Write ``method-NAME.webp`` of each photo: as it is, as cut, after the foreground, chosen from the pool too."""
    info = run.info()
    source, config = open_source(info["data"]), run.config()
    context = Plan(run, source, config).context("embeddings", Options(quiet=True))
    cut, chosen = annotations_by_photo(run.proposals_path), context.annotations
    objects = annotations_by_photo(run.instances.codes_path) if has_instances(run) else None
    for name in PHOTOS:
        number = context.numbers[name]
        photo = read_photo(context.photo(number)).convert("RGB")
        masks = [
            [],
            [decode_mask(item["segmentation"]) for item in as_cut(cut.get(number, []))],
            _foreground_alone(context, config, number, as_cut(cut.get(number, []))),
            [decode_mask(item["segmentation"]) for item in chosen.get(number, [])],
        ]
        if objects is not None:
            best = [item for item in objects.get(number, []) if item["score"] >= LEAST][:SHOWN]
            masks.append([decode_mask(item["segmentation"]) for item in best])
        strip = _join([overlay(photo, found, OPACITY) if found else photo for found in masks])
        path = folder / f"method-{name}.webp"
        strip.save(path, quality=QUALITY, method=6)
        counts = ", ".join(str(len(found)) for found in masks[1:])
        sys.stdout.write(f"{path}: {path.stat().st_size // 1000} kB; masks {counts}\n")


def _foreground_alone(context: Context, config: RunConfig, number: int, cut: list[dict[str, Any]]) -> list[np.ndarray]:
    """The masks after the foreground, before any is chosen from the pool."""
    num_blocks = len(read_json(context.tokens_path / TOKEN_INFO)["blocks"])
    chance = ArrayStore(context.run.foreground.maps_path).read(number)[..., 0].astype(np.float32)
    vectors = patch_vectors(context.tokens.read(number), num_blocks)
    known = [CutMask(decode_mask(item["segmentation"]), item["score"], item["parts"]) for item in cut]
    photo = context.photo(number)
    seen = Seen(chance, vectors, context.geometry(photo), read_photo(photo))
    return [item.mask for item in correct_masks(known, seen, config)]


def _join(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one size beside each other, on white."""
    scale = min(HEIGHT / pictures[0].height, MOST_WIDTH / pictures[0].width)
    width, height = (round(side * scale) for side in pictures[0].size)
    strip = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height), "white")
    for place, picture in enumerate(pictures):
        strip.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (place * (width + GAP), 0))
    return strip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    main(Run(options.run), options.folder)
