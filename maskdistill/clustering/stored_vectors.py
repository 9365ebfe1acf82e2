"""The vectors that a run stores of its masks and of those of its support folder; of many, what is asked for is read."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from maskdistill.clustering.embedding_candidates import candidate_embeddings, candidate_names, join_vectors
from maskdistill.clustering.embedding_space import unit_rows
from maskdistill.clustering.find_clusters import Embeddings
from maskdistill.storage.photo_arrays import VectorStore
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run

IN_MEMORY = 50_000  # masks whose embeddings are all held: about 3 GB


def read_vectors(run: Run) -> VectorStore:
    """The raw vectors of a run's masks."""
    return VectorStore(run.path / "features" / read_json(run.path / "embeddings.json")["folder"])


def read_support(run: Run) -> Embeddings | None:
    """Embeddings of the second folder's masks, if there are any."""
    other = Run(run.path / "support")
    if not (other.path / "embeddings.json").is_file():
        return None
    store = read_vectors(other)
    numbers = sorted(int(path.stem) for path in store.folder.rglob("*.npz"))
    return candidate_embeddings(store.read(numbers)) if numbers else None


def read_embeddings(store: VectorStore, numbers: Sequence[int], counts: Sequence[int], order: np.ndarray) -> Embeddings:
    """Embeddings of the masks of photos, by name; of more than ``IN_MEMORY`` they are read as they are used.

    Args:
        store: Their raw vectors.
        numbers: The photos.
        counts: How many masks each has.
        order: (N,) rows as they lie photo by photo -> the rows that are wanted.

    Raises:
        RunError: If a file is missing, damaged, or of other masks.
    """
    if sum(counts) > IN_MEMORY:
        return StoredEmbeddings(store, np.asarray(numbers), np.asarray(counts), order)
    return {name: values[order] for name, values in candidate_embeddings(store.read(numbers, counts)).items()}


def take_rows(embeddings: Embeddings, rows: np.ndarray) -> Embeddings:
    """Embeddings of some of the masks: (N,) bool, or row numbers."""
    if isinstance(embeddings, StoredEmbeddings):
        return embeddings.take(rows)
    return {name: values[rows] for name, values in embeddings.items()}


class StoredEmbeddings(Mapping[str, Any]):
    """Embeddings of many masks by name, each read from the files of its photos when rows of it are asked for.

    What was read last is kept, so that the embeddings of the same rows are read once.
    """

    def __init__(self, store: VectorStore, numbers: np.ndarray, counts: np.ndarray, order: np.ndarray) -> None:
        self._store, self._numbers, self._counts, self._order = store, numbers, counts, order
        self._ends = np.cumsum(counts)
        self._last: tuple[bytes, dict[str, np.ndarray]] = (b"", {})
        self._names = candidate_names(self._read(np.arange(1)))

    def __getitem__(self, name: str) -> "StoredMatrix":
        return StoredMatrix(self, self._names[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def num_masks(self) -> int:
        """N."""
        return len(self._order)

    def take(self, rows: np.ndarray) -> "StoredEmbeddings":
        """Of some of the masks."""
        return StoredEmbeddings(self._store, self._numbers, self._counts, self._order[rows])

    def new_rows(self, width: int) -> np.ndarray:
        """An (N, width) float32 array in a file beside the vectors, which goes with it."""
        file = tempfile.TemporaryFile(dir=self._store.folder)  # noqa: SIM115
        return np.memmap(file, np.float32, "w+", shape=(self.num_masks, width))

    def units(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Raw vectors of rows, by name, each of length 1."""
        key = rows.tobytes()
        if self._last[0] != key:
            self._last = key, {name: unit_rows(values) for name, values in self._read(rows).items()}
        return self._last[1]

    def _read(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        wanted = self._order[rows]
        places = np.searchsorted(self._ends, wanted, side="right")  # of each one's photo
        photos = np.unique(places)
        found = self._store.read(self._numbers[photos].tolist(), self._counts[photos].tolist())
        starts = np.cumsum(self._counts[photos]) - self._counts[photos]  # in what was read
        inside = wanted - (self._ends[places] - self._counts[places])
        picked = starts[np.searchsorted(photos, places)] + inside
        return {name: values[picked] for name, values in found.items()}


class StoredMatrix:
    """One embedding of many masks: (N, D) float32, of which rows are read as they are asked for."""

    ndim: ClassVar[int] = 2
    is_finite: ClassVar[bool] = True  # files that hold other numbers are refused as they are read

    def __init__(self, embeddings: StoredEmbeddings, parts: Sequence[str]) -> None:
        self._embeddings, self._parts = embeddings, parts

    def __len__(self) -> int:
        return self._embeddings.num_masks

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return len(self), self[:1].shape[1]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        chosen = np.arange(len(self))[rows]
        return join_vectors(self._embeddings.units(chosen), self._parts)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)
