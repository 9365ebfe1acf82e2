"""Embeddings of more masks than memory holds."""

import numpy as np
import pytest
from tiny_run import assert_same_artifacts, run_chain

from maskdistill.clustering import stored_vectors
from maskdistill.clustering.embedding_candidates import candidate_embeddings
from maskdistill.clustering.stored_vectors import read_embeddings, take_rows
from maskdistill.storage.photo_arrays import VectorStore
from maskdistill.storage.read_files import DamagedFileError
from maskdistill.storage.run_folder import Run

COUNTS = {3: 2, 4: 1, 9: 4, 12: 3}


@pytest.fixture
def store(tmp_path):
    """Ten masks of four photos."""
    store, generator = VectorStore(tmp_path / "vectors"), np.random.default_rng(0)
    for number, count in COUNTS.items():
        store.write(
            number, {name: generator.normal(size=(count, 6)) for name in ("cls10", "cls11", "photo10", "crop10")}
        )
    return store


@pytest.fixture
def order():
    return np.random.default_rng(1).permutation(sum(COUNTS.values()))


@pytest.fixture
def stored(store, order, monkeypatch):
    monkeypatch.setattr(stored_vectors, "IN_MEMORY", 0)
    return read_embeddings(store, list(COUNTS), list(COUNTS.values()), order)


def test_rows_are_those_of_all_in_memory(store, order, stored):
    wanted = candidate_embeddings(store.read(list(COUNTS)))
    assert list(stored) == list(wanted)
    for name, values in wanted.items():
        rows = values[order]
        assert stored[name].shape == rows.shape
        np.testing.assert_array_equal(np.asarray(stored[name]), rows)
        np.testing.assert_array_equal(stored[name][2:7], rows[2:7])
        np.testing.assert_array_equal(stored[name][np.array([7, 0, 7])], rows[[7, 0, 7]])
        some = rows[:, 0] > 0
        np.testing.assert_array_equal(take_rows(stored, some)[name][:], rows[some])


def test_files_of_other_photos_are_not_read_and_the_same_rows_once(store, stored, monkeypatch):
    read = []
    monkeypatch.setattr(
        VectorStore, "_load", lambda self, number, load: (read.append(number), load(self.path(number)))[1]
    )
    for name in stored:
        stored[name][:1]
    assert len(read) == 1


def test_file_that_is_not_finite_is_named(store, stored):
    store.write(9, {name: np.full((4, 6), np.nan) for name in ("cls10", "cls11", "photo10", "crop10")})
    with pytest.raises(DamagedFileError, match=r"000009\.npz"):
        stored["CLS 10"][:]


def test_a_run_ends_with_the_same_files(scene, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_vectors, "IN_MEMORY", 0)
    monkeypatch.setattr("maskdistill.clustering.find_clusters.CHUNK_ROWS", 5)
    run_chain(tmp_path / "run", *scene)
    assert_same_artifacts(Run(tmp_path / "run"), finished[0])
