"""What can happen to a file of one array or of several: another shape, another type, no numbers."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from file_damage import Kinds


def array_kinds(_path: Path, _seed: int) -> Kinds:
    return {kind: partial(_save_array, change=change) for kind, change in _ARRAYS.items()}


def _set(values: np.ndarray, value: float) -> np.ndarray:
    changed = np.array(values, np.float32)
    changed.flat[changed.size // 2] = value
    return changed


_ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "NaN once": partial(_set, value=np.nan),
    "infinite once": partial(_set, value=np.inf),
    "fewer rows": lambda values: values[: len(values) // 2],
    "more rows": lambda values: np.concatenate([values, values[:2]]),
    "fewer columns": lambda values: values[..., :-1],
    "flat": np.ravel,
    "one number": lambda _values: np.float32(3),
    "no rows": lambda values: values[:0],
    "of texts": lambda values: values.astype("U8"),
    "of Python's objects": lambda values: values.astype(object),
    "of complex numbers": lambda values: values.astype(np.complex64),
}


def _save_array(path: Path, *, change: Callable[[np.ndarray], np.ndarray]) -> None:
    values = np.load(path)
    with path.open("wb") as file:
        np.save(file, change(values), allow_pickle=True)


def arrays_kinds(path: Path, _seed: int) -> Kinds:
    kinds: Kinds = {"no arrays": partial(_save_arrays, change=lambda _: {})}
    with np.load(path) as arrays:
        names = list(arrays)
    for name in names:
        kinds[f"without {name}"] = partial(_save_arrays, change=partial(_drop, name=name))
        for kind, change in _ARRAYS.items():
            kinds[f"{name} {kind}"] = partial(_save_arrays, change=partial(_replace, name=name, change=change))
    return kinds


def _drop(arrays: dict[str, np.ndarray], *, name: str) -> dict[str, np.ndarray]:
    return {other: values for other, values in arrays.items() if other != name}


def _replace(
    arrays: dict[str, np.ndarray], *, name: str, change: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    try:
        return {**arrays, name: change(arrays[name])}
    except (ValueError, IndexError, TypeError):  # a single number has no rows
        return {**arrays, name: np.zeros((0, 3))}


def _save_arrays(path: Path, *, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    with path.open("wb") as file:
        np.savez(file, **change(arrays))
