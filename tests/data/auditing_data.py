"""A table of masks as the audit reads it."""

import numpy as np
import pandas as pd


def masks(number, **columns):
    """Rows of a ``MaskTable`` of which nothing speaks against any; columns override."""
    base = {
        "mask_id": np.arange(number) * 10,
        "image": np.arange(number),
        "cluster": 1,
        "label": 1,
        "score": 0.9,
        "iou": 0.9,
        "agreement": 0.9,
        "distance": 0.5,
        "margin": 1.0,
        "quality": 0.9,
        "area": 0.2,
        "border": 0.0,
        "kept": True,
        "rule": "kept",
    }
    return pd.DataFrame({**base, **columns}, index=range(number))


def random_masks(number, seed=0):
    """Masks of all kinds, some of them measured in part."""
    generator = np.random.default_rng(seed)
    columns = {
        name: generator.random(number) for name in ("score", "iou", "agreement", "distance", "margin", "quality")
    }
    columns |= {"area": generator.random(number), "border": np.clip(generator.normal(0, 0.1, number), 0, 1)}
    for name in ("margin", "quality", "iou"):
        columns[name][generator.random(number) < 0.1] = np.nan
    cluster, label = generator.integers(1, 9, (2, number))
    kept = columns["score"] >= 0.5
    return masks(number, **columns, cluster=cluster, label=label, kept=kept, rule=np.where(kept, "kept", "low score"))
