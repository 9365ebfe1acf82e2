"""The photos of a run as its own files name them, without looking at their folder again."""

import json
from pathlib import Path

from maskdistill.datasets import Photo, ViewRecipe
from maskdistill.store import Run


def photos_of(run: Run) -> list[Photo]:
    """The photos by number, as they were when the masks were made; those that could not be read after all too.

    Raises:
        RunError: If the run has no photos yet.
    """
    table = run.images()
    table = table[table["digest"].notna()]  # what could not be opened at all has no number
    columns = [table[name].tolist() for name in ("id", "path", "height", "width", "digest", "split", "view")]
    return [
        Photo(id, Path(path), int(height), int(width), digest, text_or_none(split), read_view(view))
        for id, path, height, width, digest, split, view in zip(*columns, strict=True)
    ]


def text_or_none(value: object) -> str | None:
    """An empty cell of a column of texts may come back as NaN."""
    return value if isinstance(value, str) else None


def read_view(value: object) -> ViewRecipe | None:
    """The view of a photo, as images.parquet holds it; None for the whole photo."""
    if not isinstance(value, str):
        return None
    values = json.loads(value)
    return ViewRecipe(**{**values, "box": tuple(values["box"])})
