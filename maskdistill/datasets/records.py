"""What a source of photos consists of: plain records, independent of where the photos came from."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from maskdistill.datasets.views import ViewRecipe
from maskdistill.errors import ConfigError

if TYPE_CHECKING:
    from maskdistill.datasets.seen_files import SeenFiles

SourceKind = Literal["folder", "voc", "coco", "sample", "sample-views"]
# What the values of VOC's label files mean: class ids; 255 for the one class of black-and-white masks; the colors that
# their palettes give them.
LabelValues = Literal["ids", "binary", "colors"]
ProgressCallback = Callable[[int, int], None]  # (done, total) in photos; (files seen, 0) while these are looked for

IGNORE_INDEX = 255  # value of a label map's pixels that no measure may count
MAX_LABEL = IGNORE_INDEX - 1  # the highest class that a label map can hold

_SPLIT_ALIASES = {"trainaug": ("train",), "trainval": ("train", "val")}


@dataclass(frozen=True)
class Place:
    """Where the bytes of a photo stand that is no file of this machine: in a larger one, or on another machine."""

    file: str  # path of the larger file, or an address
    start: int = 0  # bytes before the photo's
    size: int = -1  # bytes; -1 for all that there are


@dataclass(frozen=True)
class Photo:
    """One usable photo of a source."""

    id: str  # unique in the source; does not change when the source's folder is moved or renamed
    path: Path  # the file; of a photo with a place that of the larger file and the name in it, or how it is shown
    height: int  # pixels, upright (after EXIF orientation, and after the view if there is one)
    width: int  # pixels, likewise
    digest: str  # fingerprint of the file's content, independent of its place
    split: str | None = None  # "train", "val", ... where the source has splits
    view: ViewRecipe | None = None  # which view of the file this is; None is the whole photo
    place: Place | None = None  # where its bytes stand; None is the file ``path``


@dataclass(frozen=True)
class LeftOut:
    """What was found or promised, but cannot be used, and why."""

    path: Path  # of the photo, or of the file that the reason is about
    reason: str  # a sentence that a person can act on
    what: Literal["photo", "label"] = "photo"  # "label": only ground truth is left out, the photo itself is used
    count: int = 1  # how many of a kind this stands for, the path being the first of them


@dataclass(frozen=True)
class PhotoSource:
    """Photos in a fixed order, with what is known about them."""

    kind: SourceKind
    spec: str  # what the user typed; absolute for a path
    root: Path | None  # folder that holds the photos; None for the samples
    photos: Sequence[Photo]  # that nobody changes: a tuple, or a ``PhotoTable`` where they may be a million
    skipped: tuple[LeftOut, ...] = ()  # photos, and ground truth of photos that are used
    classes: tuple[str, ...] = ()  # names without background: class id n is classes[n - 1]
    has_labels: bool = False  # whether ``read_label`` can return ground truth; for reporting only
    label_paths: tuple[Path, ...] = field(default=(), repr=False)  # VOC: folders of PNGs; COCO: json files
    label_values: LabelValues = "ids"  # of VOC's label files
    limit: int = 0  # photos that it was limited to, 0 for all
    seen: "SeenFiles | None" = field(default=None, repr=False, compare=False)  # to be kept for the next time

    @property
    def skipped_photos(self) -> tuple[LeftOut, ...]:
        """What of ``skipped`` would have been a photo."""
        return tuple(item for item in self.skipped if item.what == "photo")

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that hold a photo, sorted; empty if the source has none."""
        return tuple(self.split_counts)

    @cached_property
    def split_counts(self) -> dict[str, int]:
        """Number of photos of each split, by its name, sorted."""
        from maskdistill.datasets.photo_table import values_of  # which is made of these records

        counts = Counter(values_of(self.photos, "split"))
        return {name: counts[name] for name in sorted(name for name in counts if name is not None)}

    @cached_property
    def shapes(self) -> frozenset[tuple[int, int]]:
        """(height, width) in pixels that photos have, each once."""
        from maskdistill.datasets.photo_table import values_of

        return frozenset(zip(*(values_of(self.photos, name) for name in ("height", "width")), strict=True))

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest over ids, contents and views: equal for equal photos, wherever the folder lies."""
        from maskdistill.datasets.photo_table import keys_of  # which is made of these records

        if self.seen is not None and self.seen.fingerprint and not self.limit:
            return self.seen.fingerprint
        state = hashlib.blake2b(digest_size=16)
        keys = iter(keys_of(self.photos))
        while some := "".join(map(repr, islice(keys, 1000))):
            state.update(some.encode())
        return state.hexdigest()

    def file_name(self, photo: Photo) -> str:
        """Path of a photo's file inside the source, with "/", as COCO names it; its name alone if it lies elsewhere."""
        path = str(photo.path)  # a million paths are compared as texts
        if self._root_text and path.startswith(self._root_text):
            return path[len(self._root_text) :].replace(os.sep, "/")
        return photo.path.name

    @cached_property
    def _root_text(self) -> str:
        return "" if self.root is None else os.path.join(self.root, "")

    def split(self, name: str) -> tuple[Photo, ...]:
        """Photos of a split, in order; ``trainaug`` means train, ``trainval`` train and val. Empty if unknown."""
        wanted = _SPLIT_ALIASES.get(name, (name,))
        return tuple(photo for photo in self.photos if photo.split in wanted)

    def limited(self, num_photos: int) -> "PhotoSource":
        """The same source with at most this many photos, for a quick try.

        The photos are spread over the source by a hash of their ids, because the first ones of a sorted folder often
        show the same thing. A smaller limit takes a subset of a larger one; the order is kept.

        Raises:
            ConfigError: If ``num_photos`` is less than 1.
        """
        if num_photos < 1:
            raise ConfigError(f"The number of photos must be at least 1, got {num_photos}.")
        if num_photos >= len(self.photos):
            return self
        ranked = sorted(self.photos, key=lambda photo: hashlib.blake2b(photo.id.encode(), digest_size=8).digest())
        kept = {photo.id for photo in ranked[:num_photos]}
        return replace(self, photos=tuple(photo for photo in self.photos if photo.id in kept), limit=num_photos)
