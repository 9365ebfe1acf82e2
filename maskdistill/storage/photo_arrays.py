"""Arrays of each photo on disk: maps, candidates, vectors of its masks; its patch tokens are in ``token_store``."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, TypeVar

import numpy as np

from maskdistill.files import replace_atomically
from maskdistill.storage.read_files import DamagedFileError, MissingFileError, read_array, read_arrays, reading

PER_FOLDER = 1000  # files, so that no folder grows slow

T = TypeVar("T")


class _PhotoFiles:
    """One file a photo in a folder."""

    suffix: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int) -> Path:
        """File of a photo."""
        return self.folder / f"{number // PER_FOLDER:05d}" / f"{number:06d}.{self.suffix}"

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Those photos whose file is not there."""
        return [number for number in numbers if not self.path(number).is_file()]

    def _save(self, number: int, save: Callable[[BinaryIO], object]) -> None:
        """Store the file of a photo in one step."""

        def fill(temporary: Path) -> None:
            with temporary.open("wb") as file:
                save(file)

        replace_atomically(self.path(number), fill)

    def _load(self, number: int, load: Callable[[Path], T]) -> T:
        path = self.path(number)
        try:
            return load(path)
        except FileNotFoundError as error:
            raise MissingFileError(path) from error


class ArrayStore(_PhotoFiles):
    """A float16 array a photo; reading maps the file, so memory holds only what is used."""

    suffix = "npy"

    def write(self, number: int, values: np.ndarray) -> None:
        """Store an array in one step."""
        self._write(number, values.astype(np.float16, copy=False))

    def _write(self, number: int, values: np.ndarray) -> None:
        self._save(number, lambda file: np.save(file, np.ascontiguousarray(values)))

    def read(self, number: int) -> np.ndarray:
        """The array, mapped from its file.

        Raises:
            RunError: If there is none, or the file is damaged.
        """
        return self._load(number, lambda path: read_array(path, ndim=3, finite=False))


class PoolStore(_PhotoFiles):
    """The candidates of each photo, one .npz a photo: arrays by name, for each of its views."""

    suffix = "npz"

    def write(self, number: int, views: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Store the candidates of a photo's views in one step."""
        named: dict[str, Any] = {
            f"{view}_{name}": values for view, arrays in enumerate(views) for name, values in arrays.items()
        }
        self._save(number, lambda file: np.savez_compressed(file, **named))

    def read(self, number: int) -> list[dict[str, np.ndarray]]:
        """Arrays by name, of each view.

        Raises:
            RunError: If there are none, or the file is damaged.
        """
        views: dict[int, dict[str, np.ndarray]] = {}
        for key, values in self._load(number, partial(read_arrays, finite=False)).items():
            view, _, name = key.partition("_")
            with reading(self.path(number)):
                views.setdefault(int(view), {})[name] = values
        return [views[view] for view in sorted(views)]


class VectorStore(_PhotoFiles):
    """Named vectors of each photo's masks, one .npz a photo: name -> (masks, D) float16."""

    suffix = "npz"

    def write(self, number: int, vectors: Mapping[str, np.ndarray]) -> None:
        """Store the vectors of a photo in one step."""
        rounded: dict[str, Any] = {name: values.astype(np.float16) for name, values in vectors.items()}
        self._save(number, lambda file: np.savez(file, **rounded))

    def read(self, numbers: Sequence[int], counts: Sequence[int] | None = None) -> dict[str, np.ndarray]:
        """(all masks of these photos, D) float32 by name, in the order of the photos.

        Args:
            numbers: The photos.
            counts: How many masks each has, if that is known.

        Raises:
            RunError: If a file is missing, damaged, or of other masks.
        """
        loaded = [self._load(number, read_arrays) for number in numbers]
        self._check(numbers, loaded, counts or [None] * len(numbers))
        names = loaded[0] if loaded else ()
        return {name: np.concatenate([arrays[name] for arrays in loaded]).astype(np.float32) for name in names}

    def _check(
        self, numbers: Sequence[int], loaded: Sequence[Mapping[str, np.ndarray]], counts: Sequence[int | None]
    ) -> None:
        """Refuse vectors of other masks than those of the photo, or of another kind than those of most photos."""
        kinds = [tuple(sorted((name, *values.shape[1:]) for name, values in arrays.items())) for arrays in loaded]
        usual = Counter(kinds).most_common(1)
        for number, arrays, count, kind in zip(numbers, loaded, counts, kinds, strict=True):
            if kind != usual[0][0]:
                raise DamagedFileError(self.path(number), "its vectors are of another kind than those of other photos")
            for name, values in arrays.items():
                if values.ndim != 2 or values.dtype.kind != "f" or count not in (None, len(values)):
                    wanted = "vectors" if count is None else f"{count} vectors"
                    raise DamagedFileError(
                        self.path(number), f"'{name}' is {values.dtype} of {values.shape}: {wanted} wanted"
                    )
