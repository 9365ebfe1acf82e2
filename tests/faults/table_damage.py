"""What can happen to a table: columns and rows that are missing, more, or hold other values."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
from file_damage import Kinds


def table_kinds(path: Path, seed: int) -> Kinds:
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


def arrow_kinds(path: Path, _seed: int) -> Kinds:
    import pyarrow as pa

    def other(path: Path) -> None:
        table = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
        wrong = pa.table({"a": [1]}).replace_schema_metadata(table.schema.metadata)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, wrong.schema) as writer:
            writer.write_table(wrong)

    return {"other columns under the right name": other}
