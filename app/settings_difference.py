"""Settings in which two runs or jobs differ, as a table. No Streamlit in here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from app.stage_names import label_of
from maskdistill.config import describe_settings, flatten, section_names

_NOTHING = "–"


def differences(first: tuple[str, Mapping[str, Any]], second: tuple[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Settings in which two differ: the setting's label, its value in each, and its name.

    A setting that one of them does not know, since it is of another version, shows as a dash.

    Args:
        first: What its column is called, and ``RunConfig`` as plain values.
        second: Likewise.
    """
    left, right = flatten(first[1]), flatten(second[1])
    names = [name for name in [*left, *(name for name in right if name not in left)] if _differ(left, right, name)]
    labels = _labels()
    rows = [
        (labels.get(name, name), _show(left.get(name)), _show(right.get(name)), name)
        for name in sorted(names, key=_order(names))
    ]
    return pd.DataFrame(rows, columns=["Setting", first[0], second[0], "Name"])


def _differ(left: Mapping[str, Any], right: Mapping[str, Any], name: str) -> bool:
    return name not in left or name not in right or left[name] != right[name]


def _labels() -> dict[str, str]:
    """``section.name`` -> "Stage 1: epochs"."""
    found = {setting.full_name: setting.label for setting in describe_settings("")}
    for section in section_names():
        for setting in describe_settings(section):
            found[setting.full_name] = f"{label_of(section)}: {_lower(setting.label)}"
    return found


def _lower(label: str) -> str:
    """In the middle of a sentence; an abbreviation such as CRF stays."""
    return label if label[:2].isupper() else f"{label[0].lower()}{label[1:]}"


def _order(names: Sequence[str]) -> Callable[[str], tuple[int, int]]:
    """Sections in the order of the method, names in theirs."""
    sections = ["", *section_names()]

    def place(name: str) -> tuple[int, int]:
        section = name.rpartition(".")[0]
        return sections.index(section) if section in sections else len(sections), names.index(name)

    return place


def _show(value: Any) -> str:
    if value is None or value == "":
        return _NOTHING
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or _NOTHING
    return f"{value:g}" if isinstance(value, float) else str(value)
