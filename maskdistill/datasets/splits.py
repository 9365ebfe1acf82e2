"""Which photos train and which are reported on."""

from maskdistill.datasets.records import PhotoSource
from maskdistill.errors import ConfigError


def training_numbers(source: PhotoSource) -> list[int]:
    """Numbers of the photos of the train split, or of all photos where there is none."""
    chosen = {photo.id for photo in source.split("train")}
    return [number for number, photo in enumerate(source.photos) if not chosen or photo.id in chosen]


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
