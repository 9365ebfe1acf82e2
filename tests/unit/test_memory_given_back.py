"""What was freed goes back to the system, and what is in use stays."""

import numpy as np
import psutil
import pyarrow as pa

from maskdistill.machine import give_back_memory
from maskdistill.storage.read_files import let_go, read_array

SIZE = 200_000_000  # bytes


def test_memory_that_arrow_freed_goes_back():
    used = psutil.Process().memory_info
    column = pa.array(np.arange(SIZE // 8)).cast(pa.float64())
    kept = np.arange(1000)
    with_column = used().rss
    del column
    give_back_memory()
    assert with_column - used().rss > SIZE / 2
    assert kept.sum() == 499_500


def test_what_was_read_of_a_mapped_file_is_let_go_and_read_again(tmp_path):
    used = psutil.Process().memory_info
    np.save(tmp_path / "vectors.npy", np.arange(SIZE // 8.0).reshape(-1, 8))
    vectors = read_array(tmp_path / "vectors.npy", ndim=2)
    total = vectors.sum()
    read = used().rss
    let_go(np.asarray(vectors))
    assert read - used().rss > SIZE / 2
    assert vectors.sum() == total
    plain = np.ones(4)
    let_go(plain)
    assert plain.sum() == 4
