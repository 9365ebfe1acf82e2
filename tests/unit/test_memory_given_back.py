"""What was freed goes back to the system, and what is in use stays."""

import numpy as np
import psutil
import pyarrow as pa

from maskdistill.machine import give_back_memory

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
