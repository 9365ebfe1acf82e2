"""Any file, damaged: gone, cut, noise, or something else in its place."""

import os
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

Kinds = dict[str, Callable[[Path], object]]  # what can be done to a file, by a name for it
LATER = 99  # a version of any format that no program of today knows


def let_go(path: Path) -> None:
    """A file of its own: copies of runs may share it by a hard link."""
    if path.is_file():
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


def seed_of(file: str, seed: int) -> int:
    return zlib.crc32(file.encode()) + seed


def _cut(path: Path, *, keep: float, seed: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def _cut_end(path: Path, *, seed: int) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _noise(path: Path, *, seed: int) -> None:
    path.write_bytes(np.random.default_rng(seed).bytes(max(64, path.stat().st_size)))


def _zeros(path: Path, *, seed: int) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _flip(path: Path, *, seed: int) -> None:
    content = bytearray(path.read_bytes())
    generator = np.random.default_rng(seed)
    for place in generator.integers(0, len(content), max(1, len(content) // 100)):
        content[place] ^= int(generator.integers(1, 256))
    path.write_bytes(content)


def _text(path: Path, *, text: str, seed: int) -> None:
    path.write_text(text, encoding="utf-8")


def _folder(path: Path, *, seed: int) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path, *, seed: int) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path, *, to: str, seed: int) -> None:
    path.unlink()
    path.symlink_to(path.name if to == "itself" else to)


def _no_rights(path: Path, *, seed: int) -> None:
    path.chmod(0)


def _gone(path: Path, *, seed: int) -> None:
    path.unlink()


OF_ANY_FILE: dict[str, Callable[..., object]] = {
    "gone": _gone,
    "empty": partial(_cut, keep=0),
    "cut in half": partial(_cut, keep=0.5),
    "cut near the end": partial(_cut, keep=0.95),
    "last byte gone": _cut_end,
    "noise": _noise,
    "zeros": _zeros,
    "bytes changed": _flip,
    "a web page": partial(_text, text="<!DOCTYPE html><html><body>404</body></html>"),
    "a conflict": partial(_text, text="<<<<<<< HEAD\n{}\n=======\n[]\n>>>>>>> main\n"),
    "a folder": _folder,
    "a pipe": _pipe,
    "a dangling link": partial(_link, to="nowhere"),
    "a link to itself": partial(_link, to="itself"),
    **({} if os.geteuid() == 0 else {"no rights": _no_rights}),
}
