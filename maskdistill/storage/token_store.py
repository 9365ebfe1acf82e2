"""Patch tokens of each photo on disk: as 16-bit numbers, or compact, as 8-bit places along principal axes."""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from maskdistill.config import FeatureConfig
from maskdistill.files import replace_atomically
from maskdistill.machine import one_thread
from maskdistill.storage.photo_arrays import ArrayStore
from maskdistill.storage.read_files import DamagedFileError, MissingFileError, read_arrays
from maskdistill.storage.run_folder import Run

TOKEN_INFO = "info.json"  # beside the tokens: patch size and blocks
TOKEN_AXES = "axes.npz"  # beside compact tokens
NUM_AXES = 128  # of compact tokens, 8 bits each: a twelfth of two blocks of ViT-S in 16 bits
_STEPS = 255
_CUT = 0.001  # share of the sample beyond each end of an axis


@dataclass(frozen=True, eq=False)
class TokenAxes:
    """Directions that compact tokens keep, and the range of each that 8 bits are spread over."""

    mean: np.ndarray  # (D,) float32
    axes: np.ndarray  # (D, d) float32, orthonormal
    low: np.ndarray  # (d,) float32
    step: np.ndarray  # (d,) float32

    @classmethod
    def of_sample(cls, sample: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> Self:
        """With the ranges of a sample.

        Args:
            sample: (N, D) tokens.
            mean: (D,) of all tokens.
            axes: (D, d), orthonormal.
        """
        with one_thread():
            places = (sample.astype(np.float32) - mean) @ axes
        low, high = np.quantile(places, [_CUT, 1 - _CUT], axis=0)
        step = np.maximum(high - low, 1e-9) / _STEPS
        return cls(mean, axes, low.astype(np.float32), step.astype(np.float32))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            RunError: If there is no such file, or it is damaged.
        """
        names = tuple(field.name for field in fields(cls))
        try:
            arrays = read_arrays(path, names=names)
        except FileNotFoundError as error:
            raise MissingFileError(path) from error
        found = cls(**{name: arrays[name].astype(np.float32) for name in names})
        if found.axes.ndim != 2 or found.mean.shape != found.axes.shape[:1]:
            raise DamagedFileError(path, "its arrays do not go together")
        if any(values.shape != found.axes.shape[1:] for values in (found.low, found.step)):
            raise DamagedFileError(path, "its arrays do not go together")
        return found

    def save(self, path: Path) -> None:
        """Write them in one step."""

        def fill(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez(file, **vars(self))

        replace_atomically(path, fill)

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        """(..., D) tokens to (..., d) uint8, the same whether they were rounded to 16 bits before or not."""
        flat = tokens.reshape(-1, tokens.shape[-1]).astype(np.float16).astype(np.float32)
        with one_thread():
            places = (flat - self.mean) @ self.axes
        steps = np.rint((places - self.low) / self.step).clip(0, _STEPS)
        return steps.astype(np.uint8).reshape(*tokens.shape[:-1], -1)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(..., d) uint8 to (..., D) float16."""
        places = codes.reshape(-1, codes.shape[-1]).astype(np.float32) * self.step + self.low
        with one_thread():
            flat = places @ self.axes.T + self.mean
        return flat.astype(np.float16).reshape(*codes.shape[:-1], -1)


def as_stored(tokens: np.ndarray, axes: TokenAxes | None) -> np.ndarray:
    """(..., D) tokens of a forward pass as a run would give them back: float16, without what ``axes`` do not keep."""
    return tokens.astype(np.float16) if axes is None else axes.decode(axes.encode(tokens))


def run_axes(run: Run, config: FeatureConfig) -> TokenAxes | None:
    """The axes of a run's tokens, which its heads were trained on; None where it keeps 16-bit numbers.

    Raises:
        RunError: If they are gone or damaged.
    """
    return TokenAxes.load(run.token_axes_path) if config.tokens == "compact" else None


class TokenStore(ArrayStore):
    """(rows, cols, D) tokens of each photo; compact where there are axes in the folder."""

    @cached_property
    def axes(self) -> TokenAxes | None:
        """Of compact tokens. They stay as they are as long as there are tokens in the folder."""
        path = self.folder / TOKEN_AXES
        return TokenAxes.load(path) if path.is_file() else None

    def write(self, number: int, values: np.ndarray) -> None:
        """Store the tokens of a photo in one step."""
        if self.axes is None:
            super().write(number, values)
        else:
            self._write(number, self.axes.encode(values))

    def read(self, number: int) -> np.ndarray:
        """(rows, cols, D) float16; mapped from its file where they are not compact.

        Raises:
            RunError: If there are none, or a file is damaged.
        """
        return self._decode(number, super().read(number))

    def read_patches(self, number: int, patches: np.ndarray) -> np.ndarray:
        """(M, D) float16 of some of a photo's patches, counted along its rows.

        Raises:
            RunError: As ``read``.
        """
        values = super().read(number)
        return self._decode(number, values.reshape(-1, values.shape[-1])[patches])

    def _decode(self, number: int, values: np.ndarray) -> np.ndarray:
        if values.dtype != np.uint8:
            return values
        if self.axes is None:
            raise MissingFileError(self.folder / TOKEN_AXES)
        if values.shape[-1] != len(self.axes.step):
            wanted = f"{len(self.axes.step)} numbers a patch are wanted, it has {values.shape[-1]}"
            raise DamagedFileError(self.path(number), wanted)
        return self.axes.decode(values)
