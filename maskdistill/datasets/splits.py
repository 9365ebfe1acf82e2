"""Which photos train and which are reported on."""

from maskdistill.datasets.photo_table import values_of
from maskdistill.datasets.records import PhotoSource
from maskdistill.errors import ConfigError


def training_numbers(source: PhotoSource) -> list[int]:
    """Numbers of the photos of the train split, or of all photos where there is none."""
    if "train" not in source.split_counts:
        return list(range(len(source.photos)))
    return [number for number, split in enumerate(values_of(source.photos, "split")) if split == "train"]


def num_training(source: PhotoSource) -> int:
    """How many these are."""
    return source.split_counts.get("train", len(source.photos))


def reported_numbers(source: PhotoSource, split: str) -> list[int]:
    """Numbers of the photos that a report is about.

    Args:
        source: Photos.
        split: Name of a split, ``all``, or ``auto`` for val where there is one, else all.

    Raises:
        ConfigError: If the source has no such split.
    """
    if split == "all" or (split == "auto" and not source.split("val")):
        return list(range(len(source.photos)))
    chosen = {photo.id for photo in source.split("val" if split == "auto" else split)}
    if not chosen:
        raise ConfigError(f"The photos have no split '{split}'. There are: {', '.join((*source.splits, 'all'))}.")
    return [number for number, photo in enumerate(source.photos) if photo.id in chosen]
