"""What photos were when they were last looked at, so that only those are looked at again that changed.

A file counts as unchanged while size, time of change, time of the last change of its entry, and number on the disk are
the same. A file that was changed within the last seconds before it was read is read again next time: a change right
afterwards could have left the same times.
"""

import hashlib
import json
import os
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from maskdistill import roots
from maskdistill.datasets.addresses import is_address, public
from maskdistill.datasets.photo_table import PLACE_COLUMNS, as_place, place_cells
from maskdistill.datasets.records import LeftOut, Photo, Place, ProgressCallback
from maskdistill.datasets.scanning import FoundFile, scan_files
from maskdistill.files import replace_atomically

VERSION = 3  # of the file; one of another version is not used
GIVEN = ("id", "path", "split", *PLACE_COLUMNS)  # columns that a list decides
_STAMPS = ("size", "changed_ns", "entry_changed_ns", "inode")
SCHEMA = pa.schema(
    [
        *(("id", pa.string()), ("path", pa.binary()), ("split", pa.string())),
        *(("place_file", pa.binary()), ("place_start", pa.int64()), ("place_size", pa.int64())),
        *((name, pa.int64()) for name in _STAMPS),
        *(("height", pa.int32()), ("width", pa.int32()), ("digest", pa.string()), ("reason", pa.string())),
    ]
)
_KEY, _CHECKSUM = b"maskdistill", b"crc32"  # in the file's metadata
_GONE = -1  # stamps of a file that is not there
_UNSURE = -2  # time of a file that must be read again
_SETTLED_NS = 2_000_000_000  # times of files are as coarse as this on some disks
_FEW, _SLOW = 500, 50e-6  # files after which, and seconds a file above which, the disk is asked by several threads
_THREADS = 16
_BLOCK = 2**20  # bytes of a list that are read together
_AT_ONCE = 5_000  # files between two calls of a progress


@dataclass(frozen=True)
class ListState:
    """Of which list or folder, as it is now, photos are known."""

    path: str
    digest: str  # of a list's content, of the names of a folder's files
    roots: tuple[str, ...]  # folders that may be used; what lies outside is left out

    @classmethod
    def of(cls, path: Path, name: str = "") -> Self:
        """The state of a list's file.

        Args:
            path: The file.
            name: What it is known by, if that is not the path.

        Raises:
            OSError: If it cannot be read.
        """
        with roots.open_inside(path) as file:
            state = hashlib.blake2b(digest_size=16)
            while some := file.read(_BLOCK):
                state.update(some)
        return cls(name or os.fspath(path), state.hexdigest(), tuple(map(str, roots.roots())))


@dataclass(frozen=True)
class SeenFiles:
    """The files that a list names or a folder holds, in order, each with what was found, or why it cannot be used."""

    state: ListState
    root: Path  # folder that ids start at
    rows: pa.Table  # ``SCHEMA``; null in ``height``, ``width`` and ``digest`` where there is a ``reason``
    outside: tuple[LeftOut, ...] = ()  # what the list names, or the archives hold, that was not even looked at
    is_new: bool = True  # whether it differs from what was read from the file
    fingerprint: str = ""  # of the source of all photos, where it is known
    is_cut: bool = False  # whether secret parts of addresses were not written, so that the list must be read again

    @property
    def is_private(self) -> bool:
        """Whether an address holds what must not be written."""
        places = self.rows["place_file"].drop_null().unique().to_pylist()
        return any(file != public_bytes(file) for file in places)

    @property
    def photos(self) -> pa.Table:
        """The rows of the files that can be used."""
        return self.rows.filter(self.rows["digest"].is_valid())

    @property
    def _is_remote(self) -> np.ndarray:
        """(N,) bool: which are objects on other machines, of which nobody asks whether they changed."""
        files = pc.fill_null(self.rows["place_file"], b"").combine_chunks().dictionary_encode()
        each = np.array([is_address(os.fsdecode(file)) for file in files.dictionary.to_pylist()], bool)
        return np.asarray(each[files.indices.to_numpy()])

    @property
    def skipped(self) -> tuple[LeftOut, ...]:
        """The others, after what is no path."""
        others = self.rows.filter(self.rows["digest"].is_null())
        cells = zip(others["path"].to_pylist(), others["reason"].to_pylist(), strict=True)
        return (*self.outside, *(LeftOut(Path(os.fsdecode(path)), reason) for path, reason in cells))

    def looked_again(self, on_progress: ProgressCallback | None = None) -> "SeenFiles":
        """The same as the files are now: those that changed, or were never read, are read.

        Args:
            on_progress: Called with the number of files done and in total.
        """
        began = time.time_ns()
        files = pc.coalesce(self.rows["place_file"], self.rows["path"]).combine_chunks().dictionary_encode()
        each = stamp_files(files.dictionary.to_pylist(), on_progress)  # a file that holds many photos is asked once
        now = each[files.indices.to_numpy()]
        before = np.stack([self.rows[name].fill_null(_UNSURE).to_numpy() for name in _STAMPS], axis=1)
        differs = (now != before).any(axis=1)
        if self.rows["place_file"].null_count < self.rows.num_rows:
            differs |= self._is_remote & self.rows["digest"].is_null().to_numpy()  # what failed is tried again
        stale = np.flatnonzero(differs)
        if not len(stale):
            return self
        unsettled = (now[:, 1:3] > began - _SETTLED_NS).any(axis=1)
        now[unsettled, 1] = _UNSURE
        return replace(self, rows=_read(self.rows, now, stale, on_progress), is_new=True, fingerprint="")

    def carried_over(self, rows: pa.Table) -> pa.Table:
        """What is known of the files of another list.

        Args:
            rows: ``SCHEMA``; what is known of these paths is put into the columns that are not ``GIVEN``.
        """
        place = pc.index_in(rows["path"], value_set=self.rows["path"])
        known = self.rows.take(place)
        columns = [rows[name] if name in GIVEN else known[name] for name in SCHEMA.names]
        return pa.table(columns, schema=SCHEMA)

    def write(self, path: Path, fingerprint: str = "") -> None:
        """Replace the file that ``read_seen`` reads.

        Args:
            path: The file.
            fingerprint: That of the source of all these photos, which takes seconds for a million.
        """
        about = {
            "version": VERSION,
            "list": self.state.path,
            "digest": self.state.digest,
            "roots": self.state.roots,
            "root": str(self.root),
            "private": self.is_private,
            "fingerprint": fingerprint,
            "outside": [[os.fspath(item.path), item.reason, item.what] for item in self.outside],
        }
        table, text = self.rows, json.dumps(about).encode()
        if self.is_private:
            files = [public_bytes(file) for file in table["place_file"].to_pylist()]
            table = table.set_column(SCHEMA.get_field_index("place_file"), "place_file", pa.array(files, pa.binary()))
        table = table.replace_schema_metadata({_KEY: text, _CHECKSUM: str(zlib.crc32(text)).encode()})
        replace_atomically(
            path, lambda temporary: pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        )


def read_seen(path: Path) -> SeenFiles | None:
    """What ``SeenFiles.write`` wrote; None if there is none, or it cannot be used: then everything is read anew."""
    try:
        if not path.is_file():  # to open a pipe would wait for whoever writes into it
            return None
        table = pq.read_table(path, page_checksum_verification=True)
        text = table.schema.metadata[_KEY]  # whose bytes, other than those of the rows, no checksum of Parquet's guards
        if table.schema.metadata[_CHECKSUM] != str(zlib.crc32(text)).encode():
            return None
        known: dict[str, Any] = json.loads(text)
        if known["version"] != VERSION or not table.schema.equals(SCHEMA) or not _is_sound(table):
            return None
        state = ListState(known["list"], known["digest"], tuple(known["roots"]))
        outside = tuple(LeftOut(Path(place), *rest) for place, *rest in known["outside"])
        return SeenFiles(
            state,
            Path(known["root"]),
            table.replace_schema_metadata(None),
            outside,
            is_new=False,
            fingerprint=known["fingerprint"],
            is_cut=known["private"],
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, pa.ArrowException):
        return None


def _is_sound(table: pa.Table) -> bool:
    """Whether each row is a photo with all that makes one, or has a reason why it is none."""
    table.validate(full=True)
    photos = table.filter(table["digest"].is_valid())
    lacks = sum(table[name].null_count for name in ("id", "path", *_STAMPS))
    lacks += sum(photos[name].null_count for name in ("height", "width"))
    lacks += table.filter(table["digest"].is_null())["reason"].null_count
    smallest = pc.min(pc.min_element_wise(photos["height"], photos["width"])).as_py()
    return lacks == 0 and (smallest is None or smallest > 0)


def public_bytes(file: bytes | None) -> bytes | None:
    """A cell of ``place_file`` as it may be written."""
    text = os.fsdecode(file or b"")
    return os.fsencode(public(text)) if is_address(text) else file


def unread_rows(
    ids: Sequence[str],
    paths: Sequence[bytes],
    splits: Sequence[str | None],
    places: Sequence[Place | None] | None = None,
) -> pa.Table:
    """Rows of ``SCHEMA`` of photos of which nothing else is known."""
    none = [None] * len(ids)
    given = {"id": ids, "path": paths, "split": splits, **place_cells(none if places is None else places)}
    columns = [pa.array(given.get(field.name, none), field.type) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA)


def stamp_files(paths: Sequence[bytes], on_progress: ProgressCallback | None = None) -> np.ndarray:
    """(N, 4) int64: size in bytes, both times of change in ns, and number of each file; -1 if it cannot be asked.

    Where the disk answers slowly, as one in a network does, several threads ask.
    """
    found = np.full((len(paths), len(_STAMPS)), _GONE, np.int64)
    began = time.monotonic()
    found[:_FEW] = _stamp_some(paths[:_FEW])
    is_slow = time.monotonic() - began > _SLOW * _FEW
    firsts = range(_FEW, len(paths), _AT_ONCE)
    some = (paths[first : first + _AT_ONCE] for first in firsts)
    with ThreadPoolExecutor(_THREADS if is_slow else 1) as pool:
        for first, stamps in zip(
            firsts, pool.map(_stamp_some, some) if is_slow else map(_stamp_some, some), strict=True
        ):
            found[first : first + len(stamps)] = stamps
            if on_progress is not None:
                on_progress(first + len(stamps), len(paths))
    return found


def _stamp_some(paths: Sequence[bytes]) -> np.ndarray:
    flat = np.fromiter((value for path in paths for value in _stamp(path)), np.int64, len(paths) * len(_STAMPS))
    return flat.reshape(-1, len(_STAMPS))


def _stamp(path: bytes) -> tuple[int, int, int, int]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return _GONE, _GONE, _GONE, _GONE
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & (2**63 - 1)


def _read(rows: pa.Table, stamps: np.ndarray, stale: np.ndarray, on_progress: ProgressCallback | None) -> pa.Table:
    """The rows with new stamps, and what is in the files at the places ``stale``."""
    columns = {name: rows[name].to_pylist() for name in ("height", "width", "digest", "reason")}
    for place, found in zip(stale.tolist(), scan_files(_found_files(rows, stale), on_progress), strict=True):
        is_photo = isinstance(found, Photo)
        for name, values in columns.items():
            values[place] = getattr(found, name) if is_photo != (name == "reason") else None
    new = {name: pa.array(stamps[:, number]) for number, name in enumerate(_STAMPS)}
    new |= {name: pa.array(values, SCHEMA.field(name).type) for name, values in columns.items()}
    return pa.table([new.get(name, rows[name]) for name in SCHEMA.names], schema=SCHEMA)


def _found_files(rows: pa.Table, stale: np.ndarray) -> Sequence[FoundFile]:
    cells = rows.select(list(GIVEN)).take(stale).to_pydict()
    return [
        FoundFile(id, Path(os.fsdecode(path)), split, as_place(*place))
        for id, path, split, *place in zip(*cells.values(), strict=True)
    ]
