"""Mending masks by clicks: a simulated auditor, beside the same on grab-cut (OpenCV).

    python -m benchmarks.repair --data ../shared/data/msrc --scenes ../shared/data/scenes [--split val] [--run R]

Ground truth plays the auditor, and is read here alone. In ``--data``, a VOC folder, the top-scored mask of each photo
is mended towards the connected region of one class, or all objects together, that it overlaps best. In ``--scenes``,
a COCO file with instances, every mask that overlaps an object by an IoU of 0.3 is mended towards it (an auditor would
reject the others), each object at most once. "From one click" begins with no mask: the first click makes a new one.
Other shapes, which the editor offers, are told by the best of the first ones, picked by ground truth.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.masks import add_options, made_masks, make_stage
from benchmarks.report import print_table, write_report
from benchmarks.simulated_clicks import GOALS, SHOWN, Answer, Case, Played, play, summarise
from maskdistill.config import ProposalConfig, load_preset
from maskdistill.datasets import IGNORE_INDEX, Photo, PhotoSource, read_label, read_objects, read_photo
from maskdistill.evaluation.region_metrics import MIN_REGION, object_regions
from maskdistill.features.patch_tokens import FreshTokens
from maskdistill.masks import mask_iou
from maskdistill.review.repair import Click, Mender, alternatives, other_cuts
from maskdistill.review.repair.other_shapes import MOST
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.run_folder import Run

LEAST_IOU = 0.3  # of a mask with an object of a scene, for it to be mended
CLICK_RADIUS = 5  # pixels of the disc that grab-cut is sure of
GRAB_CUT_ROUNDS = 1  # on train photos more make it worse: the colours of a whole scene take the mask away
OFFERED = (3, MOST)  # other shapes of which the best is told
HEADER = ("", "masks", *(f"{clicks} clicks" for clicks in SHOWN), *(f"to {goal:.2f}" for goal in GOALS), "ms a click")


@dataclass(frozen=True)
class Offer:
    """Other shapes of a mask."""

    iou: float  # of the mask itself with the object
    shapes: Sequence[tuple[float, str]]  # IoU and origin of each, in the order that they are offered in
    seconds: float  # of processor time

    def best(self, count: int) -> tuple[float, str]:
        """IoU and origin of the best of the mask and the first so many shapes."""
        return max([(self.iou, "the mask itself"), *self.shapes[:count]], key=lambda item: item[0])


def main() -> None:
    """Make the masks of each folder, then mend them."""
    options = _parse()
    cv2.setNumThreads(1)  # clicks are measured on one core
    result: dict[str, Any] = {"benchmark": "repair", "split": options.split}
    known = (("msrc", options.data, msrc_cases), ("scenes", options.scenes, scene_cases))
    wanted = [(name, data, cases_of) for name, data, cases_of in known if data]
    runs = options.run
    for name, data, cases_of in wanted:
        options.data, options.run = data, runs and runs / name
        with made_masks(options) as (run, source, about):
            make_stage(run, options)
            found, offers = measure(run, source, cases_of, options)
        result[name] = {**about, **{kind: summarise(games) for kind, games in found.items()}}
        result[name]["other_shapes"] = shapes = summarise_offers(offers)
        rows = [_row(kind, result[name][kind]) for kind in found]
        print_table(f"{data}: mean IoU after so many clicks, and clicks needed (share never reached)", HEADER, rows)
        best = ", ".join(f"of the first {count} {shapes['iou'][str(count)]:.3f}" for count in OFFERED)
        print(f"  mask {shapes['iou']['0']:.3f}, or the best {best}; to find them: {shapes['ms']:.0f} ms")
        print(f"  masks of which the best is: {shapes['origins']}")
    write_report(options.json, result)


def measure(
    run: Run, source: PhotoSource, cases_of: Callable[..., Iterator[Case]], options: argparse.Namespace
) -> tuple[dict[str, list[Played]], list[Offer]]:
    """What became of every mask, by kind of tool, and what other shapes there were of it."""
    config = load_preset(options.preset).with_overrides(options.set)
    fresh, codes, found = FreshTokens(config.features), MaskCodes.open(run), dict[str, list[Played]]()
    masks, offers = run.masks(), list[Offer]()
    for number, photo in enumerate(source.photos):
        if photo.split not in (None, options.split) and options.split != "all":
            continue
        ids = masks.loc[masks["image_id"] == photo.id, "mask_id"].tolist()
        cases = list(cases_of(source, photo, [codes.decode(mask_id) for mask_id in ids]))
        if not cases:
            continue
        pixels, mender = np.asarray(read_photo(photo).convert("RGB")), _mender(fresh, photo)
        tools: dict[str, Answer] = {"clicks": mender.mend, "grab-cut": GrabCut(pixels)}
        for case in cases:
            offers.append(offer(run, number, case, pixels, mender, config.proposals))
            for kind, answer in tools.items():
                found.setdefault(kind, []).append(play(case, answer))
            nothing = Case(np.zeros(case.mask.shape, bool), case.target, case.counts)
            found.setdefault("from one click", []).append(play(nothing, from_one_click(mender)))
    return found, offers


def offer(run: Run, number: int, case: Case, pixels: np.ndarray, mender: Mender, config: ProposalConfig) -> Offer:
    """The other shapes of a mask, as the editor finds them."""
    began = time.process_time()
    cuts = other_cuts(mender.tokens, case.mask, config)
    more = (("other_tau", cut) for cut in cuts)
    shapes = alternatives(run, number, case.mask, Image.fromarray(pixels), more=more)
    seconds = time.process_time() - began
    return Offer(case.iou(case.mask), [(case.iou(item.mask), item.origin) for item in shapes], seconds)


def summarise_offers(offers: Sequence[Offer]) -> dict[str, Any]:
    """Mean IoU of the mask and of the best of the first shapes beside it, milliseconds, and whose the best ones are."""
    ious = {str(count): float(np.mean([item.best(count)[0] for item in offers])) for count in (0, *OFFERED)}
    origins = Counter(item.best(MOST)[1] for item in offers)
    return {"iou": ious, "ms": 1000 * float(np.median([item.seconds for item in offers])), "origins": dict(origins)}


def msrc_cases(source: PhotoSource, photo: Photo, masks: Sequence[np.ndarray]) -> Iterator[Case]:
    """The top-scored mask and the object that it overlaps best."""
    labels = read_label(source, photo)
    targets = object_regions(labels) if labels is not None else []
    if targets and masks:
        counts = labels != IGNORE_INDEX
        best = max(targets, key=lambda target: mask_iou(masks[0] & counts, target))
        yield Case(masks[0], best, counts)


def scene_cases(source: PhotoSource, photo: Photo, masks: Sequence[np.ndarray]) -> Iterator[Case]:
    """Pairs of a mask and an object, best first, each at most once."""
    objects = [target for target, _ in read_objects(source, photo) or [] if np.count_nonzero(target) >= MIN_REGION]
    pairs = [(mask_iou(mask, target), i, j) for i, mask in enumerate(masks) for j, target in enumerate(objects)]
    taken: tuple[set[int], set[int]] = (set(), set())
    for overlap, i, j in sorted(pairs, reverse=True):
        if overlap >= LEAST_IOU and i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            yield Case(masks[i], objects[j], np.ones(masks[i].shape, bool))


class GrabCut:
    """Grab-cut (Rother et al., SIGGRAPH 2004) of one photo: the mask is probable, the clicks are sure.

    Args:
        pixels: (H, W, 3) uint8 RGB.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = np.ascontiguousarray(pixels[..., ::-1])

    def __call__(self, mask: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
        """The mask after all clicks; as it is where too little is left of either side for a model of colours."""
        labels = np.ascontiguousarray(np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD), np.uint8)
        for click in clicks:
            row, col = click.pixel(mask.shape)
            cv2.circle(labels, (col, row), CLICK_RADIUS, cv2.GC_FGD if click.adds else cv2.GC_BGD, -1)
        sides = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if sides.any() and not sides.all():
            cv2.setRNGSeed(0)
            models = np.zeros((1, 65)), np.zeros((1, 65))
            cv2.grabCut(self._pixels, labels, None, *models, GRAB_CUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
        return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def from_one_click(mender: Mender) -> Answer:
    """A new mask by the first click, mended by the others."""

    def answer(_mask: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
        return mender.mend(mender.new_mask(clicks[0]), clicks[1:])

    return answer


def _mender(fresh: FreshTokens, photo: Photo) -> Mender:
    tokens, geometry = fresh(photo)
    content = (geometry.resized_height / geometry.padded_height, geometry.resized_width / geometry.padded_width)
    width = tokens.shape[2] // len(fresh.blocks)
    first = width * fresh.blocks.index(max(fresh.blocks))
    pixels = np.asarray(read_photo(photo).convert("RGB"))
    return Mender(tokens[..., first : first + width], pixels, content)


def _row(kind: str, found: dict[str, Any]) -> list[str]:
    ious = [f"{value:.3f}" for value in found["iou"].values()]
    goals = [f"{found[f'clicks_{goal:.2f}']:.1f} ({found[f'missed_{goal:.2f}']:.0%})" for goal in GOALS]
    return [kind, str(found["num_masks"]), *ious, *goals, f"{found['ms_per_click']:.0f}"]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, data="VOC folder with SegmentationClass", required=False)
    parser.add_argument("--scenes", help="COCO folder or json with instances")
    parser.add_argument("--split", default="val", choices=("train", "val", "all"))
    options = parser.parse_args()
    if not (options.data or options.scenes):
        parser.error("name photos with --data, --scenes or both")
    return options


if __name__ == "__main__":
    main()
