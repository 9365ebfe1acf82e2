"""Arrays of each photo on disk: patch tokens for the segmentation head, crop features for the clusters."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from maskdistill.errors import RunError
from maskdistill.progress import replace_atomically

PER_FOLDER = 1000  # files, so that no folder grows slow


class ArrayStore:
    """One file a photo; reading maps the file, so memory holds only what is used.

    Args:
        folder: Where the files lie.
        dtype: What is stored.
        stage: Command that makes the files, for the error when one is missing.
    """

    def __init__(self, folder: Path, dtype: str = "float16", stage: str = "propose") -> None:
        self.folder, self._dtype, self._stage = folder, dtype, stage

    def path(self, number: int) -> Path:
        """File of a photo."""
        return self.folder / f"{number // PER_FOLDER:05d}" / f"{number:06d}.npy"

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Those photos whose file is not there."""
        return [number for number in numbers if not self.path(number).is_file()]

    def write(self, number: int, values: np.ndarray) -> None:
        """Store an array in one step."""

        def save(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.save(file, np.ascontiguousarray(values, dtype=self._dtype))

        replace_atomically(self.path(number), save)

    def read(self, number: int) -> np.ndarray:
        """The array, mapped from its file.

        Raises:
            RunError: If there is none, or the file is damaged.
        """
        path = self.path(number)
        if not path.is_file():
            raise RunError(f"{path} is missing. Make it with: maskdistill {self._stage}")
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise RunError(f"{path} is damaged ({error}). Delete it and run the stage again.") from error


class VectorStore:
    """Named vectors of each photo's masks, one .npz a photo: name -> (masks, D) float16."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int) -> Path:
        """File of a photo."""
        return self.folder / f"{number // PER_FOLDER:05d}" / f"{number:06d}.npz"

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Those photos whose file is not there."""
        return [number for number in numbers if not self.path(number).is_file()]

    def write(self, number: int, vectors: Mapping[str, np.ndarray]) -> None:
        """Store the vectors of a photo in one step."""

        def save(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez(file, **{name: values.astype(np.float16) for name, values in vectors.items()})

        replace_atomically(self.path(number), save)

    def read(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        """(all masks of these photos, D) float32 by name, in the order of the photos.

        Raises:
            RunError: If a file is missing or damaged.
        """
        found: dict[str, list[np.ndarray]] = {}
        for number in numbers:
            for name, values in self._load(self.path(number)).items():
                found.setdefault(name, []).append(values)
        return {name: np.concatenate(parts).astype(np.float32) for name, parts in found.items()}

    def _load(self, path: Path) -> dict[str, np.ndarray]:
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except FileNotFoundError as error:
            raise RunError(f"{path} is missing. Make it with: maskdistill embed") from error
        except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
            raise RunError(f"{path} is damaged ({error}). Delete it and run the stage again.") from error
