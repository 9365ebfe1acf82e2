"""How much disk a run will take, told before any of it is taken, so that none is refused at the end of a long night.

Sizes follow from the settings: patches and blocks of the transformer for tokens, masks for vectors and crops. What
compresses (crops, candidates, label maps) is taken from runs.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, PhotoSource
from maskdistill.errors import RunError
from maskdistill.features.registry import BackboneSpec
from maskdistill.stages.shards import PHOTOS_PER_PART
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import NUM_AXES

TOLD_FROM = 100e6  # bytes below which nobody is told, and nothing refused
SHORT = 0.8  # share of what a run will take, about, below which it is not begun
_BLOCK = 4096  # bytes that a file takes at least
_PHOTOS_ASKED = 2000  # photos whose shape is looked at
_WIDTHS = (("tiny", 192), ("small", 384), ("base", 768), ("large", 1024), ("huge", 1280), ("giant", 1536))
_CHOSEN = 4  # masks of a photo where there may be as many as its pool carries
_TABLE_ROW = 2500  # bytes of a mask in tables, their quick copies and the parts that a restart goes on from
_VECTORS = 3  # CLS tokens of a crop and its mirror picture, mean of the mask's patches: each of every block
_CANDIDATE_BITS = 0.3  # bytes a patch that a candidate takes, compressed
_OBJECTS = 10  # single objects of a photo
_CHECKPOINT = {"patch_head": 10e6, "deeplabv3": 700e6, "mask_rcnn": 800e6}  # bytes of weights and what resumes


@dataclass(frozen=True)
class DiskNeeds:
    """What is still to be written, by kind, in bytes."""

    parts: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        """All of it."""
        return sum(size for _, size in self.parts)

    def sentence(self, free: float) -> str:
        """One line for people.

        Args:
            free: Bytes that are free.
        """
        largest = sorted((part for part in self.parts if part[1] > 0), key=lambda part: -part[1])
        named = ", ".join(f"{name} {_say(size)}" for name, size in largest[:4])
        return f"Disk: about {_say(self.total)} more ({named}); {_say(free)} are free."


def require_disk(run: Run, needs: DiskNeeds, tell: Callable[[str], None]) -> None:
    """Say what a run will take, and refuse to begin where there is clearly less.

    Args:
        run: The run, which need not be there yet.
        needs: What it will write.
        tell: Called with a sentence, where it is worth one.

    Raises:
        RunError: If too little is free; nothing was written then.
    """
    there = next(path for path in (run.path.absolute(), *run.path.absolute().parents) if path.is_dir())
    if needs.total < TOLD_FROM:
        return
    free = float(shutil.disk_usage(there).free)
    sentence = needs.sentence(free)
    if free < SHORT * needs.total:
        raise RunError(
            f"There is too little disk for {run.path}. {sentence} Free some space, give another --run, fewer photos by "
            "--limit, or keep tokens in a twelfth of their bytes: --set features.tokens=compact."
        )
    tell(sentence)


def find_needs(
    source: PhotoSource,
    config: RunConfig,
    spec: BackboneSpec,
    stages: Iterable[str],
    *,
    tokens: Path | None,
    parts: Path | None = None,
) -> DiskNeeds:
    """What the stages will write that is not there yet.

    Args:
        source: Photos.
        config: Settings, with the backbone chosen.
        spec: What the backbone is.
        stages: Names of those that are to be made.
        tokens: Folder of the patch tokens; None where none are kept.
        parts: Folder of the photos whose masks are made, where these are not finished.
    """
    wanted = set(stages)
    num_photos = len(source.photos)
    photo = PhotoNeeds(config, spec, _mean_patches(source.photos, config, spec))
    has_tokens = tokens is not None and bool(wanted & {"proposals", "embeddings", "foreground"})
    done = min(1.0, _count(parts) * PHOTOS_PER_PART / max(1, num_photos)) if parts is not None else 0.0
    kept = min(1.0, _count_numbered(tokens) / max(1, num_photos)) if has_tokens and tokens is not None else 0.0
    sizes = {
        "masks": (photo.masks + photo.crops) * ("proposals" in wanted) * (1 - done),
        "candidates": photo.pool * ("proposals" in wanted) * (1 - done),
        "tokens": photo.tokens * has_tokens * (1 - kept),
        "foreground": photo.foreground * ("foreground" in wanted),
        "vectors": photo.vectors * ("embeddings" in wanted),
        "objects": photo.objects * ("instances" in wanted),
        "label maps": photo.label_map * (2 + config.predictions.crf + config.rounds.count) * ("predictions" in wanted)
        + photo.label_map * ("pseudo_labels" in wanted),
    }
    models = sum(_CHECKPOINT.get(getattr(config, name).model, 0.0) for name in ("stage1", "stage2") if name in wanted)
    return DiskNeeds((*((name, size * num_photos) for name, size in sizes.items()), ("models", models)))


@dataclass(frozen=True)
class PhotoNeeds:
    """Bytes of one photo."""

    config: RunConfig
    spec: BackboneSpec
    patches: float  # of the grid

    @property
    def num_masks(self) -> int:
        """About how many it has."""
        return _CHOSEN if self.config.proposals.chooses_from_pool else self.config.proposals.num_cuts

    @property
    def width(self) -> int:
        """Numbers of a token."""
        name = f"{self.spec.architecture} {self.spec.name}".lower()
        return next((width for word, width in _WIDTHS if word in name), 768)

    @property
    def tokens(self) -> float:
        """Of its patch tokens, two bytes a number, or a byte on each axis."""
        if self.config.features.tokens == "compact":
            return _file(self.patches * NUM_AXES)
        blocks = self.config.features.head_blocks or self.spec.head_blocks
        return _file(self.patches * self.width * len(blocks) * 2)

    @property
    def masks(self) -> float:
        """In tables."""
        return self.num_masks * _TABLE_ROW

    @property
    def crops(self) -> float:
        """Small pictures of its masks, a file each."""
        return self.num_masks * _file(3000)

    @property
    def pool(self) -> float:
        """Of its candidates, of two views."""
        config = self.config.proposals
        return _file(config.pool_size * self.patches * _CANDIDATE_BITS) if config.makes_pool else 0.0

    @property
    def foreground(self) -> float:
        """Of its map, its masks again and their crops."""
        return (_file(self.patches * 2) + self.masks + self.crops) * self.config.foreground.enabled

    @property
    def vectors(self) -> float:
        """Of its masks, two bytes a number."""
        blocks = self.config.embeddings.blocks or self.spec.cluster_blocks
        return _file(self.num_masks * self.width * _VECTORS * len(blocks) * 2)

    @property
    def objects(self) -> float:
        """Single objects in a COCO file, where they are looked for."""
        return _OBJECTS * 700.0 * (self.config.instances.enabled != "off")

    @property
    def label_map(self) -> float:
        """One of them."""
        return _file(2500)


def patch_size(spec: BackboneSpec) -> int:
    """Pixels of a patch's side, by the name of the transformer; 16 where it does not tell."""
    found = re.search(r"patch(\d+)|vit[a-z]*?(\d+)", f"{spec.architecture} {spec.name}")
    return int(found[1] or found[2]) if found else 16


def _mean_patches(photos: Sequence[Photo], config: RunConfig, spec: BackboneSpec) -> float:
    """Patches of a photo's grid, from the shapes of some of them."""
    side = (config.features.shorter_side or spec.shorter_side) / patch_size(spec)
    step = max(1, len(photos) // _PHOTOS_ASKED)
    shapes = [(photo.height, photo.width) for photo in (photos[number] for number in range(0, len(photos), step))]
    ratios = [max(shape) / min(shape) for shape in shapes]
    return side * side * sum(ratios) / max(1, len(ratios))


def _file(size: float) -> float:
    """What a file of a size takes."""
    return -(-size // _BLOCK) * _BLOCK


def _count(folder: Path | None) -> int:
    try:
        with os.scandir(folder or "") as entries:
            return sum(1 for _ in entries)
    except OSError:
        return 0


def _count_numbered(folder: Path) -> int:
    """Files in the folders of a folder."""
    try:
        with os.scandir(folder) as entries:
            return sum(_count(Path(entry.path)) for entry in islice(entries, 100_000) if entry.is_dir())
    except OSError:
        return 0


def _say(size: float) -> str:
    for unit, bytes_of in (("TB", 1e12), ("GB", 1e9)):
        if size >= bytes_of:
            return f"{size / bytes_of:,.1f} {unit}"
    return f"{size / 1e6:,.0f} MB"
