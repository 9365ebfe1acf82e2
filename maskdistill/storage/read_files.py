"""Files of a run, read: what is damaged, foreign or of a later version is told of in one way.

Whatever the libraries behind the formats raise comes out as a ``DamagedFileError``, which names the file, what is wrong
with it, the stage that makes it and the command that makes it anew. What a file must hold stands in ``run_layout``.
"""

import json
import math
import mmap
import os
import shlex
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from maskdistill.errors import RunError
from maskdistill.storage.run_layout import CLASS, COUNT, LATER_COLUMNS, NEEDED, Columns, command_of, find_file

# What the readers were seen to raise on files that were cut, changed or of another kind.
READ_ERRORS = (
    *(ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, RecursionError, OverflowError),
    *(SyntaxError, MemoryError, struct.error, zlib.error, zipfile.BadZipFile, NotImplementedError, pa.ArrowException),
)


def remedy_of(path: Path) -> str:
    """How to get a file of a run back, in a sentence. Nothing that somebody may need is lost by it."""
    file, run = find_file(path)
    if file is not None and file.stage:
        return f"The stage '{file.stage}' makes it anew: {command_of(file.stage, run)}"
    if file is not None and path.name == "run.json":
        if (run / "run.copy.json").is_file():
            return f"This puts the copy beside it in its place: maskdistill run --run {shlex.quote(str(run))}"
        return (
            "Put back a copy of it, or rename it and start the run again with its photos and settings: "
            "maskdistill run --data ... --run ...; masks, models and decisions are kept."
        )
    return "Put back a copy of it."


class DamagedFileError(RunError):
    """A file of a run that cannot be used as it is.

    Args:
        path: The file.
        problem: What is wrong with it, in a few words.
    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = Path(path), problem
        file, self.run = find_file(self.path)
        self.stage = file.stage if file else ""
        super().__init__(f"{path} is damaged ({problem}). {remedy_of(self.path)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.problem)


class MissingFileError(RunError):
    """A file of a run that is not there.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        file, self.run = find_file(self.path)
        self.stage = file.stage if file else ""
        remedy = f" Make it with: {command_of(self.stage, self.run)}" if self.stage else ""
        super().__init__(f"No {self.path.absolute().relative_to(self.run)} in {self.run}.{remedy}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)


class Fields(dict[str, Any]):
    """An object of a JSON file; a field that is not there is a matter of the file."""

    def __init__(self, path: Path, values: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, key: str) -> NoReturn:
        raise DamagedFileError(self._path, f"it has no '{key}'")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path, dict(self))


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        FileNotFoundError: If there is none.
        DamagedFileError: If it cannot be read, or holds something else than such a file does.
    """
    file, _ = find_file(path)
    with reading(path):
        text = path.read_text(encoding="utf-8")
        # Of a large file, which the masks' are, every item is checked as a whole below.
        whole = json.loads(text, object_hook=None if len(text) > 2**20 else lambda values: Fields(path, values))
        problem = find_mismatch(whole, file.shape) if file else ""
    if problem:
        raise DamagedFileError(path, problem)
    return whole


def read_json_if_there(path: Path) -> Any | None:
    """``read_json``; None if there is no such file, also where another process removes it just now."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None


def read_table(path: Path, columns: Sequence[str] | None = None, *, without: Collection[str] = ()) -> pd.DataFrame:
    """Read a Parquet file. One without rows has all columns too.

    Args:
        path: The file.
        columns: Which are wanted; None for all. Only these are checked.
        without: Columns that are not read.

    Raises:
        FileNotFoundError: If there is none.
        DamagedFileError: If it cannot be read, or its columns are not those of such a file.
    """
    file, _ = find_file(path)
    known = file.columns or {} if file else {}
    wanted = {name: kind for name, kind in known.items() if columns is None or name in columns}
    with reading(path):
        some = None
        if columns is not None or without:
            there = [name for name in pq.read_schema(path).names if name not in without]
            some = there if columns is None else [name for name in there if name in columns]
        table = pd.read_parquet(path, columns=some, page_checksum_verification=True)
        lacking = [name for name in wanted if name not in table and name not in LATER_COLUMNS]
        is_empty = len(table.columns) > 0 and not len(table)  # then it may lack some
        problem = f"it has no column '{lacking[0]}'" if lacking and not is_empty else find_wrong_column(table, wanted)
    if problem:
        raise DamagedFileError(path, problem)
    return table.reindex(columns=[*table.columns, *lacking]) if lacking else table


def columns_of(path: Path) -> list[str]:
    """Names of the columns of a Parquet file, by its end alone.

    Raises:
        RunError: If there is none, or it cannot be read.
    """
    try:
        with reading(path):
            return list(pq.read_schema(path).names)
    except FileNotFoundError as error:
        raise MissingFileError(path) from error


def count_rows(path: Path) -> int:
    """How many rows a Parquet file has, by its end alone.

    Raises:
        FileNotFoundError: If there is none.
        DamagedFileError: If it cannot be read.
    """
    with reading(path):
        return int(pq.read_metadata(path).num_rows)


def read_table_if_whole(path: Path) -> pd.DataFrame | None:
    """``read_table``; None if it is missing or damaged: for what is made again whenever it is not there."""
    try:
        return read_table(path)
    except (FileNotFoundError, DamagedFileError):
        return None


def read_array(path: Path, *, ndim: int | None = None, mapped: bool = True, finite: bool = True) -> np.ndarray:
    """Read a .npy file of numbers, mapped into memory unless told otherwise.

    Raises:
        FileNotFoundError: If there is none.
        DamagedFileError: If it cannot be read, has another number of axes, or holds other things than numbers, which
            must be ``finite``.
    """
    with reading(path):
        values = np.load(path, mmap_mode="r" if mapped and path.stat().st_size else None, allow_pickle=False)
        is_array = isinstance(values, np.ndarray)
        problem = find_wrong_numbers(values, ndim, finite=finite) if is_array else "it holds no array"
    if problem:
        raise DamagedFileError(path, problem)
    return values


def let_go(values: np.ndarray) -> None:
    """Let what was read of a mapped array leave memory; it is read again where it is needed. Others stay as is."""
    base: Any = values
    while isinstance(base, np.ndarray):
        mapped = getattr(base, "_mmap", None)  # as numpy.memmap keeps it
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
            return
        base = base.base


def read_arrays(path: Path, *, names: Sequence[str] = (), finite: bool = True) -> dict[str, np.ndarray]:
    """Read a .npz file.

    Raises:
        FileNotFoundError: If there is none.
        DamagedFileError: If it cannot be read, lacks one of ``names``, or holds numbers that are not ``finite``.
    """
    with reading(path), np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
        missing = [name for name in names if name not in arrays]
        found = {name: find_wrong_numbers(values, None, finite=finite) for name, values in arrays.items()}
        wrong = [f"'{name}': {text}" for name, text in found.items() if text]
    if missing or wrong:
        raise DamagedFileError(path, f"it has no '{missing[0]}'" if missing else wrong[0])
    return arrays


@contextmanager
def reading(path: Path, errors: tuple[type[Exception], ...] = READ_ERRORS) -> Iterator[None]:
    """What goes wrong inside while a file is read is a matter of that file.

    Raises:
        FileNotFoundError: If there is none.
        DamagedFileError: If it is no regular file, or an error is raised inside.
    """
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):  # to open a pipe would wait for whoever writes into it
            raise DamagedFileError(path, f"it is {_name_kind(kind)}, wanted a file")
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFileError(path, f"it cannot be read: {error.strerror or first_line(error)}") from error
    except errors as error:
        raise DamagedFileError(path, first_line(error)) from error


def state_of_file(path: Path) -> tuple[int, int, int] | None:
    """Equal as long as a file is not written or replaced, to keep what was found in it; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else type(error).__name__


def _name_kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for is_kind, name in kinds if is_kind(mode)), "a device")


def find_mismatch(value: Any, shape: Any, where: str = "") -> str:
    """What in a JSON value is not of a shape, as ``run_layout`` writes them; empty if nothing is."""
    if isinstance(shape, tuple):
        found = [find_mismatch(value, one, where) for one in shape if one is not None]
        return "" if (value is None and None in shape) or "" in found else found[0]
    if isinstance(shape, range):
        good = type(value) is int and value in shape
        return "" if good else f"{_at(where)} is {_short(value)}, wanted a whole number {_describe_range(shape)}"
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{_at(where)} is {_short(value)}, wanted a list"
        return next((text for item in value if (text := find_mismatch(item, shape[0], where))), "")
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{_at(where)} is {_short(value)}, wanted an object"
        lacking = [name for name in shape.get(NEEDED, ()) if name not in value]
        if lacking:
            return f"{_at(where)} has no '{lacking[0]}'"
        any_field = shape.get(str, object)
        fields = ((name, item, shape.get(name, any_field)) for name, item in value.items())
        return next((text for name, item, one in fields if (text := find_mismatch(item, one, f"{where}.{name}"))), "")
    return _find_wrong_type(value, shape, where)


def _find_wrong_type(value: Any, shape: type, where: str) -> str:
    if shape is float:
        good = abs(value) < 2**63 if type(value) is int else type(value) is float and not math.isinf(value)
        return "" if good else f"{_at(where)} is {_short(value)}, wanted a number"
    good = type(value) is int if shape is int else isinstance(value, shape)
    return "" if good else f"{_at(where)} is {_short(value)}, wanted {_TYPES[shape]}"


_TYPES = {str: "a text", bool: "true or false", int: "a whole number"}


def _at(where: str) -> str:
    return f"'{where.lstrip('.')}'" if where else "it"


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:40]} …"


def _describe_range(wanted: range) -> str:
    return f"from {wanted.start}" if wanted.stop >= 2**31 else f"from {wanted.start} to {wanted.stop - 1}"


def find_wrong_column(table: pd.DataFrame, columns: Columns) -> str:
    """What is wrong with the columns of a table; empty if nothing is."""
    for name, kind in columns.items():
        if name in table and (problem := _find_wrong_values(table[name], kind)):
            return f"column '{name}' {problem}"
    return ""


def _find_wrong_values(column: pd.Series, kind: str) -> str:
    base, _, may_lack = kind.partition(" or ")
    known = column.dropna()
    if not may_lack and len(known) < len(column):
        return "has empty cells"
    if not len(known):
        return ""
    if base == "text":
        return "" if pd.api.types.infer_dtype(known) in ("string", "categorical") else "holds other things than texts"
    if base == "flag":
        return "" if pd.api.types.infer_dtype(known) == "boolean" else "holds other things than true and false"
    if not pd.api.types.is_numeric_dtype(known) or pd.api.types.is_bool_dtype(known):
        return "holds other things than numbers"
    return _find_wrong_number(known.to_numpy(), base)


def _find_wrong_number(values: np.ndarray, kind: str) -> str:
    if values.dtype.kind == "c" or not np.isfinite(values).all():
        return "holds numbers that are not finite"
    if kind == "number":
        return ""
    if values.dtype.kind == "f" and (values != np.round(values)).any():
        return "holds other things than whole numbers"
    lowest, highest = _RANGES.get(kind, (0, COUNT.stop))
    if values.min() < lowest or values.max() > highest:
        return f"holds {values.min():.0f} to {values.max():.0f}, wanted {lowest} to {highest}"
    if kind not in ("rising", "id") or (values[1:] > values[:-1]).all():
        return ""
    if kind == "rising":
        return "is out of order"
    return "names something twice" if len(np.unique(values)) < len(values) else ""


_RANGES = {"class": (CLASS.start, CLASS.stop - 1), "whole": (-1, 2**31), "side": (1, 2**31 - 1)}


def find_wrong_numbers(values: np.ndarray, ndim: int | None, *, finite: bool = True) -> str:
    """What is wrong with an array of numbers; empty if nothing is, or if it holds texts or flags."""
    if ndim is not None and values.ndim != ndim:
        return f"it has {values.ndim} axes, wanted {ndim}"
    if values.dtype.kind not in "fiuUb" or (ndim is not None and values.dtype.kind in "Ub"):
        return f"it holds {values.dtype}, wanted numbers"
    good = not finite or values.dtype.kind in "Ub" or np.isfinite(values).all()
    return "" if good else "it holds NaN or infinity"


def check_pair(path: Path, found: int, wanted: int, other: Path, of: Callable[[int], str] = "{} rows".format) -> None:
    """Refuse a file that does not go with another one of its run.

    Raises:
        DamagedFileError: If the numbers differ.
    """
    if found != wanted:
        raise DamagedFileError(path, f"it has {of(found)}, {other.name} {of(wanted)}")
