"""The vectors that a run stores of its masks, and of those of its support folder."""

from maskdistill.clustering.embedding_candidates import candidate_embeddings
from maskdistill.clustering.find_clusters import Embeddings
from maskdistill.storage.photo_arrays import VectorStore
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run


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
