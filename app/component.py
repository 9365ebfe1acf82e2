"""A component with its style and script in files of its name beside its module."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st


def register(module: str, html: str) -> Callable[..., Any]:
    """Register the component of a module, once, when that is imported.

    Args:
        module: ``__file__`` of the module: its style is the ``.css`` and its script the ``.js`` of the same name.
        html: What the script finds in place.

    Returns:
        What draws it, as ``st.components.v2.component`` gives it.
    """
    path = Path(module)
    css, js = (path.with_suffix(suffix).read_text(encoding="utf-8") for suffix in (".css", ".js"))
    return st.components.v2.component(path.stem, html=html, css=css, js=js)
