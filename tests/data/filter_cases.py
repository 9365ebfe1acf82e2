"""Made-up masks and settings for the tests of the filter."""

import numpy as np

from maskdistill.config import FilterConfig
from maskdistill.pseudo_labels.signals import MaskSignals

FLOATS = ("score", "iou", "agreement", "distance", "area", "border")


def signals_of(score, *, cluster=None, image=None, decision=None, **others):
    count = len(score)
    columns = {
        "image": np.arange(count) if image is None else image,
        "cluster": np.ones(count, int) if cluster is None else cluster,
        "score": score,
        **others,
    }
    if decision is not None:
        columns["decision"] = decision
    return MaskSignals.from_columns(columns)


def random_signals(seed, count=60):
    """Signals of few different values, so that many tie, with gaps in photo and cluster numbers."""
    generator = np.random.default_rng(seed)
    floats = generator.integers(0, 11, (6, count)) / 10
    floats[generator.random((6, count)) < 0.15] = np.nan
    return MaskSignals(
        image=generator.integers(0, 20, count) * 3 + 7,
        cluster=generator.choice([1, 2, 5], count),
        decision=generator.choice([-1, 0, 0, 0, 1], count).astype(np.int8),
        **dict(zip(FLOATS, floats, strict=True)),
    )


def random_config(seed):
    generator = np.random.default_rng(1000 + seed)
    low, high = generator.integers(0, 5, 4) / 10, generator.integers(5, 11, 4) / 10
    return FilterConfig(
        min_score=low[0],
        min_iou=low[1],
        min_agreement=low[2],
        max_distance=high[0],
        min_area=low[3],
        max_area=high[1],
        max_border=high[2],
        keep_share=high[3],
        min_per_cluster=int(generator.integers(0, 15)),
        empty_photos=str(generator.choice(["best", "none"])),
    )
