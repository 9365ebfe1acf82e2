"""Every file of a finished run, damaged in every way: for tests and for ``benchmarks.faults``.

``damages`` looks at a run and yields what can be done to a copy of it. Of files that come in numbers, such as label
maps, one of each kind is taken. Equal seeds damage equal bytes.
"""

import json
import os
import re
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_run import draw_voc, run_chain, tiny_config

from maskdistill.clustering.alternatives import AlternativeKey, make_alternatives, make_curve
from maskdistill.models.training.checkpoint import read_tensors, write_tensors
from maskdistill.review.decisions import Action, Mark, Scope, decide, rename
from maskdistill.stages.stage_list import OF_EVERY_RUN
from maskdistill.storage.run_folder import Run
from maskdistill.storage.saved_views import save_view

DATABASE = "run.sqlite"
LATER = 99  # a version of any format that no program of today knows
_MOST_KEYS = 60  # of a JSON file, drawn with the seed
_IN_NUMBERS = re.compile(r"(?<![\w])(\d+)(?=\.(png|jpg|npy|npz)$|/)|epoch-\d+")
_LEFT_OUT = re.compile(r"\.lock$|^logs/|\.tmp$|-(wal|shm)$")


@dataclass(frozen=True)
class Damage:
    """One thing that can happen to one file."""

    name: str
    file: str  # inside the run
    do: Callable[[Path], object]  # the run folder, or a copy of it, to do it to

    @property
    def is_of_decisions(self) -> bool:
        """Whether it is done to what people decided, which no command can make anew."""
        return self.file.startswith(DATABASE)


def make_run(folder: Path, *, projection: bool = True) -> Run:
    """A run of drawn photos with everything in it: every stage, a round, decisions, a saved view.

    Args:
        folder: Where photos, weights and ``runs/tiny`` are put.
        projection: Whether to make the map by UMAP too, which takes seconds.
    """
    draw_voc(folder / "voc")
    run = Run(folder / "runs" / "tiny")
    wanted = OF_EVERY_RUN if projection else tuple(name for name in OF_EVERY_RUN if name != "projection")
    run_chain(run.path, folder / "voc", tiny_config(folder).with_overrides(["rounds.count=1"]), wanted=wanted)
    row = run.masks().iloc[0]
    box = tuple(int(row[f"bbox_{name}"]) for name in "xywh")
    decide(run, "ann", [Mark(int(row["mask_id"]), row["image_id"], box, Action.ACCEPT, None)], scope=Scope.LABELS)
    rename(run, "ann", 1, "discs")
    save_view(run, "selection", "mine", {"masks": [0]})
    make_alternatives(run, [AlternativeKey(2, 0)])
    make_curve(run)
    run_chain(run.path, folder / "voc", tiny_config(folder).with_overrides(["rounds.count=1"]), wanted=wanted)
    return run


def damages(run: Path, seed: int = 0) -> Iterator[Damage]:
    """What can be done to a copy of a run.

    Args:
        run: A finished run; it is read only.
        seed: Of the bytes that are changed and the keys that are drawn.
    """
    for file in files_of(run):
        for kind, do in _kinds(run, file, seed):
            yield Damage(f"{file}: {kind}", file, do)
    for kind, do in _of_database(seed):
        yield Damage(f"{DATABASE}: {kind}", DATABASE, do)
    for folder in sorted({Path(file).parts[0] for file in files_of(run) if "/" in file}):
        yield Damage(f"{folder}: a file in place of the folder", folder, partial(_file_for_folder, folder=folder))
        yield Damage(f"{folder}: folder gone", folder, partial(_no_folder, folder=folder))


def files_of(run: Path) -> list[str]:
    """Files of a run, one of each kind that comes in numbers."""
    found: dict[str, str] = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.is_file() and not _LEFT_OUT.search(name):
            found.setdefault(_IN_NUMBERS.sub("#", name), name)
    return sorted(found.values())


def _kinds(run: Path, file: str, seed: int) -> Iterator[tuple[str, Callable[[Path], object]]]:
    for kind, change in _ANY.items():
        yield kind, partial(_apply, file=file, change=partial(change, seed=_seed(file, seed)))
    path = run / file
    for kind, change in _OF_SUFFIX.get(path.suffix, lambda _path, _seed: {})(path, seed).items():
        yield kind, partial(_apply, file=file, change=change)
    twins = [name for name in files_of(run) if Path(name).suffix == path.suffix and name != file]
    for twin in twins[:: max(1, len(twins) // 3)]:
        yield f"is {twin}", partial(_copy_over, file=file, twin=twin)


def _apply(run: Path, *, file: str, change: Callable[[Path], object]) -> None:
    path = run / file
    _let_go(path)
    change(path)


def _let_go(path: Path) -> None:
    """A file of its own: copies of runs may share it by a hard link."""
    if path.is_file():
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


def _copy_over(run: Path, *, file: str, twin: str) -> None:
    content = (run / twin).read_bytes()
    (run / file).unlink()
    (run / file).write_bytes(content)


def _file_for_folder(run: Path, *, folder: str) -> None:
    _no_folder(run, folder=folder)
    (run / folder).write_text("a file")


def _no_folder(run: Path, *, folder: str) -> None:
    shutil.rmtree(run / folder)


# Of any file.


def _seed(file: str, seed: int) -> int:
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


_ANY: dict[str, Callable[..., object]] = {
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


# JSON.


def _json_kinds(path: Path, seed: int) -> dict[str, Callable[[Path], object]]:
    value = json.loads(path.read_text(encoding="utf-8"))
    kinds: dict[str, Callable[[Path], object]] = {
        f"holds {text[:12]}": partial(Path.write_text, data=text)
        for text in ("null", "[]", "{}", "3", '"text"', "NaN", "[" * 50_000, '{"a":', "1" * 5000)
    }
    kinds["not in UTF-8"] = partial(Path.write_bytes, data=json.dumps(value).encode("utf-16"))
    kinds["with a mark of the byte order"] = partial(Path.write_bytes, data=b"\xef\xbb\xbf" + path.read_bytes())
    kinds["with a field of a later version"] = partial(_edit, keys=(), change=lambda old: {**old, "later": [1]})
    keys = list(_keys(value))
    drawn = np.random.default_rng(_seed(path.name, seed)).permutation(len(keys))[:_MOST_KEYS]
    for place in sorted(drawn.tolist()):
        at = keys[place]
        label = ".".join(map(str, at))
        kinds[f"without {label}"] = partial(_edit, keys=at, change=None)
        for wrong in (None, -1, 10**30, 0.5, "text", [], {}, [None], {"a": 1}, float("nan")):
            kinds[f"{label} is {str(wrong)[:12]}"] = partial(_edit, keys=at, change=lambda _old, new=wrong: new)
    if isinstance(value, dict) and "format" in value:
        kinds["of a later version"] = partial(_edit, keys=("format",), change=lambda _old: LATER)
    return kinds


def _keys(value: Any, depth: int = 4) -> Iterator[tuple[str | int, ...]]:
    """Ways to every value inside; of a list the first item alone."""
    inside = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in inside:
        yield (key,)
        if depth > 1:
            yield from ((key, *rest) for rest in _keys(item, depth - 1))


def _edit(path: Path, *, keys: tuple[str | int, ...], change: Callable[[Any], Any] | None) -> None:
    """Change what stands at ``keys``, or take it out."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    if not keys:
        path.write_text(json.dumps(change(whole) if isinstance(whole, dict) else [whole]), encoding="utf-8")
        return
    inside = whole
    for key in keys[:-1]:
        inside = inside[key]
    if change is None:
        del inside[keys[-1]]
    else:
        inside[keys[-1]] = change(inside[keys[-1]])
    path.write_text(json.dumps(whole), encoding="utf-8")


# Tables.


def _table_kinds(path: Path, seed: int) -> dict[str, Callable[[Path], object]]:
    table = pd.read_parquet(path)
    kinds: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "no rows": lambda table: table.iloc[:0],
        "fewer rows": lambda table: table.iloc[: len(table) // 2],
        "more rows": lambda table: pd.concat([table, table.iloc[-2:]], ignore_index=True),
        "rows turned around": lambda table: table.iloc[::-1],
        "no columns": lambda table: pd.DataFrame(index=table.index),
        "other columns": lambda table: table.add_prefix("other_"),
        "a column of a later version": lambda table: table.assign(later=1),
    }
    for column in table.columns:
        kinds[f"without {column}"] = partial(_without, column=column)
        kinds[f"{column} is text"] = partial(_with, column=column, value="text")
        kinds[f"{column} is missing everywhere"] = partial(_with, column=column, value=None)
        if pd.api.types.is_numeric_dtype(table[column]) and not pd.api.types.is_bool_dtype(table[column]):
            kinds[f"{column} is NaN once"] = partial(_with_once, column=column, value=float("nan"))
            kinds[f"{column} is -5 once"] = partial(_with_once, column=column, value=-5)
            kinds[f"{column} is too large once"] = partial(_with_once, column=column, value=2**40)
            kinds[f"{column} is the same everywhere"] = partial(_with, column=column, value=table[column].iloc[0])
    return {kind: partial(_rewrite, change=change) for kind, change in kinds.items()}


def _rewrite(path: Path, *, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    table = pd.read_parquet(path)
    changed = change(table)
    changed.attrs = table.attrs
    changed.to_parquet(path, index=False)


def _without(table: pd.DataFrame, *, column: str) -> pd.DataFrame:
    return table.drop(columns=column)


def _with(table: pd.DataFrame, *, column: str, value: object) -> pd.DataFrame:
    return table.assign(**{column: value})


def _with_once(table: pd.DataFrame, *, column: str, value: float) -> pd.DataFrame:
    whole = pd.api.types.is_integer_dtype(table[column]) and isinstance(value, int)
    values = table[column].astype("int64" if whole else "float64")
    values.iloc[len(values) // 2] = value
    return table.assign(**{column: values})


# Arrays.


def _array_kinds(_path: Path, _seed: int) -> dict[str, Callable[[Path], object]]:
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


def _arrays_kinds(path: Path, _seed: int) -> dict[str, Callable[[Path], object]]:
    kinds: dict[str, Callable[[Path], object]] = {"no arrays": partial(_save_arrays, change=lambda _: {})}
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


# Pictures.


def _picture_kinds(_path: Path, _seed: int) -> dict[str, Callable[[Path], object]]:
    return {
        "of another size": lambda path: _picture(path, lambda image: image.resize((7, 5))),
        "of one pixel": lambda path: _picture(path, lambda image: image.resize((1, 1))),
        "of 16 bits": lambda path: Image.fromarray(np.full((32, 32), 40_000, np.uint16)).save(path, "PNG"),
        "in colors": lambda path: _picture(path, lambda image: image.convert("RGB")),
        "in grey": lambda path: _picture(path, lambda image: image.convert("L")),
        "a JPEG": lambda path: Image.new("RGB", (32, 32)).save(path, "JPEG"),
        "labels out of range": lambda path: _picture(path, _out_of_range),
        "said to be huge": _huge,
    }


def _picture(path: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    with Image.open(path) as image:
        changed = change(image)
    changed.save(path, "PNG" if path.suffix == ".png" else "JPEG")


def _out_of_range(image: Image.Image) -> Image.Image:
    changed = Image.fromarray(np.full((image.height, image.width), 200, np.uint8))
    if image.mode == "P":
        changed.putpalette(image.getpalette())
    return changed


def _huge(path: Path) -> None:
    Image.new("P", (32, 32)).save(path, "PNG")
    content = bytearray(path.read_bytes())
    content[16:24] = (60_000).to_bytes(4) + (60_000).to_bytes(4)
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    path.write_bytes(content)


# Weights.


def _weight_kinds(_path: Path, _seed: int) -> dict[str, Callable[[Path], object]]:
    return {
        "weights of another network": lambda path: _weights(path, lambda _: {"a": torch.ones(3)}),
        "a tensor less": lambda path: _weights(path, lambda tensors: dict(list(tensors.items())[1:])),
        "no tensors": lambda path: _weights(path, lambda _: {}),
        "NaN everywhere": lambda path: _weights(
            path, lambda tensors: {k: v * float("nan") for k, v in tensors.items()}
        ),
        "a class more": lambda path: _weights(path, _another_class),
        "without our values": lambda path: save_file(load_file(path), path),
        "values that are no JSON": lambda path: save_file(load_file(path), path, metadata={"maskdistill": "{"}),
        "values of a later version": lambda path: save_file(load_file(path), path, metadata={"maskdistill": "[]"}),
        "a header too long": lambda path: path.write_bytes(b"\xff" * 7 + b"\x7f" + path.read_bytes()[8:]),
    }


def _weights(path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    tensors, values = read_tensors(path)
    write_tensors(path, change(tensors), values)


def _not_numbers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value * float("nan") for name, value in tensors.items()}


def _another_class(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The last layer with a row more, as of a run with more clusters."""
    classes = min(len(value) for value in tensors.values() if value.ndim)
    return {
        name: torch.cat([value, value[-1:]]) if value.ndim and len(value) == classes else value
        for name, value in tensors.items()
    }


# Texts.


def _line_kinds(_path: Path, _seed: int) -> dict[str, Callable[[Path], object]]:
    return {
        "a line that is no JSON": lambda path: path.write_text(f"{{oh\n{path.read_text()}"),
        "a line of another kind": lambda path: path.write_text(f"[1]\n{path.read_text()}"),
        "a line that is null": lambda path: path.write_text(f"null\n{path.read_text()}"),
        "values of other types": lambda path: path.write_text(path.read_text().replace("0.", '"0.')),
        "not in UTF-8": lambda path: path.write_bytes(b"\xff\xfe" + path.read_bytes()),
    }


def _arrow_kinds(path: Path, _seed: int) -> dict[str, Callable[[Path], object]]:
    import pyarrow as pa

    def other(path: Path) -> None:
        table = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
        wrong = pa.table({"a": [1]}).replace_schema_metadata(table.schema.metadata)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, wrong.schema) as writer:
            writer.write_table(wrong)

    return {"other columns under the right name": other}


_OF_SUFFIX: dict[str, Callable[[Path, int], dict[str, Callable[[Path], object]]]] = {
    ".json": _json_kinds,
    ".parquet": _table_kinds,
    ".npy": _array_kinds,
    ".npz": _arrays_kinds,
    ".png": _picture_kinds,
    ".jpg": _picture_kinds,
    ".safetensors": _weight_kinds,
    ".jsonl": _line_kinds,
    ".arrow": _arrow_kinds,
}


# The database.


def _of_database(seed: int) -> Iterator[tuple[str, Callable[[Path], object]]]:
    statements = {
        "of a later version": f"PRAGMA user_version = {LATER}",
        "of a version that never was": "PRAGMA user_version = -3",
        "said to be of no version": "PRAGMA user_version = 0",
        "of the version before": "PRAGMA user_version = 1",
        **{f"without {name}": f"DROP TABLE {name}" for name in ("jobs", "events", "steps", "marks", "views", "claims")},
        "without a column": "ALTER TABLE views RENAME COLUMN value TO worth",
        "decisions that are no JSON": "UPDATE steps SET value = 'text'",
        "decisions of another type": "UPDATE steps SET value = '[1]'",
        "decisions of a later kind": "UPDATE steps SET kind = 'later'",
        "marks of a later kind": "UPDATE marks SET action = 'later'",
        "views that are no JSON": "UPDATE views SET value = '{'",
        "times that are texts": "UPDATE steps SET time = 'today'",
    }
    for kind, statement in statements.items():
        yield kind, partial(_execute, statement=statement)
    for name in ("wal", "shm", "journal"):
        yield f"noise beside it ({name})", partial(_beside, name=name, seed=seed)
    yield "a page of noise", partial(_page_of_noise, seed=seed)


def _execute(run: Path, *, statement: str) -> None:
    _let_go(run / DATABASE)
    with closing(sqlite3.connect(run / DATABASE, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(statement)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _beside(run: Path, *, name: str, seed: int) -> None:
    (run / f"{DATABASE}-{name}").write_bytes(np.random.default_rng(seed).bytes(4096))


def _page_of_noise(run: Path, *, seed: int) -> None:
    _let_go(run / DATABASE)
    with (run / DATABASE).open("r+b") as file:
        file.seek(4096)
        file.write(np.random.default_rng(seed).bytes(4096 * 6))
