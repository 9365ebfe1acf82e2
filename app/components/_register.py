"""A component with its style and script in files of its name beside its module."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

_APP = Path(__file__).parents[1]
_FRAME = "components/_base.js"


def register(module: str | Path, html: str, *, shared: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Register the component of a module, once, when that is imported.

    Args:
        module: ``__file__`` of the module: its style is the ``.css`` and its script the ``.js`` of the same name.
        html: What the script finds in place.
        shared: Styles and scripts in ``app/`` that stand before its own, for what some components have in common; what
            all have stands in ``_base.js``.

    Returns:
        What draws it, as ``st.components.v2.component`` gives it.
    """
    path = Path(module)
    files = [_APP / name for name in (_FRAME, *shared)]
    css, js = (_read([*files, path.with_suffix(suffix)], suffix) for suffix in (".css", ".js"))
    return st.components.v2.component(path.stem, html=html, css=css, js=js)


def _read(files: list[Path], suffix: str) -> str:
    """All of them, without lines of comments and indents: Streamlit sends them with every change of the data."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in files if file.suffix == suffix)
    return re.sub(r"(?m)^\s*//.*\n|^\s+", "", text)
