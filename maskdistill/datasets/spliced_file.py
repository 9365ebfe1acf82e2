"""A file as its reader should see it: parts left out or replaced, without a copy of the rest."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:  # in Python since 3.12
    from typing_extensions import Buffer

Piece = bytes | tuple[int, int]  # bytes, or (start, stop) of the file


class _Spliced(io.RawIOBase):
    def __init__(self, file: BinaryIO, pieces: Sequence[Piece], owned: bool) -> None:
        self._file, self._pieces, self._place, self._owned = file, pieces, 0, owned
        sizes = [len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces]
        self._starts = [0, *accumulate(sizes)]

    def close(self) -> None:
        if self._owned:
            self._file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._starts[-1]}[whence]
        if base + offset < 0:
            raise OSError("negative place in a file")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, target: "Buffer", /) -> int:
        buffer = memoryview(target)
        number = bisect_right(self._starts, self._place) - 1
        if number >= len(self._pieces):
            return 0
        inside, wanted = self._place - self._starts[number], len(buffer)
        wanted = min(wanted, self._starts[number + 1] - self._place)
        piece = self._pieces[number]
        if isinstance(piece, bytes):
            content = piece[inside : inside + wanted]
        else:
            self._file.seek(piece[0] + inside)
            content = self._file.read(wanted)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)


def splice(file: BinaryIO, pieces: Sequence[Piece], *, owned: bool = False) -> BinaryIO:
    """The pieces one after the other as a file to read; the file below must stay open.

    Args:
        file: It.
        pieces: What is read.
        owned: Whether the file is closed with this one.
    """
    some = [piece for piece in pieces if piece and piece != (0, 0)]
    return io.BufferedReader(_Spliced(file, some, owned), 64 * 1024)
