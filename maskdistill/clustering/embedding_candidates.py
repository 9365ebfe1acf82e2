"""The embeddings of a mask that the choice without labels is made among."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from maskdistill.clustering.embedding_space import unit_rows


def candidate_embeddings(vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Combinations of a mask's raw vectors, each brought to length 1 first and then set side by side.

    Args:
        vectors: (N, D) by name, as ``embeddings.embed_masks`` returns them: ``cls9``, ``crop9``, ``photo9``, ...

    Returns:
        (N, D') by a name that people can read: the CLS token of each block, of neighbouring blocks together, each also
        with the patch tokens of the earliest pooled block, averaged inside the mask in the photo and in the crop.
    """
    units = {name: unit_rows(values) for name, values in vectors.items()}
    return {name: join_vectors(units, parts) for name, parts in candidate_names(units).items()}


def candidate_names(vectors: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Of each embedding, by its name, the raw vectors that it is made of."""
    names = list(vectors)
    blocks = sorted(int(name.removeprefix("cls")) for name in names if name.startswith("cls"))
    pooled = sorted(int(name.removeprefix("photo")) for name in names if name.startswith("photo"))
    extras: dict[str, list[str]] = {"": []}
    if pooled:
        extras[f" + patches {pooled[0]}"] = [f"photo{pooled[0]}"]
        extras[f" + patches {pooled[0]} of photo and crop"] = [f"photo{pooled[0]}", f"crop{pooled[0]}"]
    return {
        f"CLS {_span(group)}{suffix}": (*_names(group), *more)
        for group in _groups(blocks)
        for suffix, more in extras.items()
    }


def join_vectors(units: Mapping[str, np.ndarray], parts: Sequence[str]) -> np.ndarray:
    """(N, D') of vectors of length 1, side by side."""
    return np.concatenate([units[name] for name in parts], axis=1)


def _groups(blocks: list[int]) -> list[tuple[int, ...]]:
    """Single late blocks, three in a row, and all."""
    threes = [tuple(blocks[first : first + 3]) for first in range(len(blocks) - 2)]
    return list(dict.fromkeys([*((block,) for block in blocks[-2:]), *threes, tuple(blocks)]))


def _names(group: tuple[int, ...]) -> list[str]:
    return [f"cls{block}" for block in group]


def _span(group: tuple[int, ...]) -> str:
    together = len(group) > 1 and all(after == before + 1 for before, after in pairwise(group))
    return f"{group[0]}-{group[-1]}" if together else " and ".join(map(str, group))
