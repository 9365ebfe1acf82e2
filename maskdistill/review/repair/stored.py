"""What a run has stored of a photo that its masks can be mended with."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskdistill.config import FeatureConfig
from maskdistill.datasets import Photo
from maskdistill.proposals.pool_masks import content_of
from maskdistill.storage.read_files import DamagedFileError, read_json
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import TOKEN_INFO, TokenStore

Content = tuple[float, float]  # share of the rows and of the columns that is no padding


def stored_tokens(run: Run, number: int, photo: Photo, features: FeatureConfig) -> tuple[np.ndarray, Content] | None:
    """Patch tokens of a photo's deepest block that is stored, for ``Mender``.

    Args:
        run: The run.
        number: Of the photo.
        photo: The photo.
        features: Settings that the masks were made with, the shorter side settled.

    Returns:
        (rows, cols, D) floats and the share that is no padding; None where none are stored on that grid.
    """
    from maskdistill.datasets.transforms import patch_grid  # loads torch

    for folder in _token_folders(run):
        store = TokenStore(folder)
        if not store.path(number).is_file() or features.shorter_side < 1:
            continue
        try:
            info, tokens = read_json(folder / TOKEN_INFO), store.read(number)
        except DamagedFileError:
            continue
        sides = {"shorter_side": features.shorter_side, "patch_size": info["patch_size"]}
        geometry = patch_grid(photo.height, photo.width, **sides, mode=features.fit)
        if tokens.shape[:2] != (geometry.rows, geometry.cols):
            continue
        blocks = info["blocks"]
        width = tokens.shape[2] // len(blocks)
        first = width * blocks.index(max(blocks))
        return np.asarray(tokens[..., first : first + width]), content_of(geometry)
    return None


def _token_folders(run: Run) -> Iterator[Path]:
    """Those that were written last come first."""
    found = [path for path in (run.path / "features").glob("*") if (path / TOKEN_INFO).is_file()]
    yield from sorted(found, key=lambda path: (path / TOKEN_INFO).stat().st_mtime, reverse=True)
