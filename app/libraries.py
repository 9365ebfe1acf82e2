"""What a page imports takes seconds in a fresh server: the page says so at once, instead of staying blank."""

import ctypes
import gc
import sys
from importlib import import_module

import streamlit as st

from maskdistill.machine import heavy_imports
from maskdistill.storage.run_folder import runs_folder
from maskdistill.storage.user_folders import redirect_caches

_TABLES = ("pandas", "plotly.graph_objects", "scipy.ndimage", "sklearn.cluster")
_NEEDED = {  # by page: the libraries that take long
    "proposals": ("pandas", "torch", "timm"),
    "guide": (*_TABLES, "torch", "timm"),
    "clusters": _TABLES,
    "filter": _TABLES,
    "training": ("pandas", "plotly.graph_objects"),
    "results": _TABLES,
    "audit": _TABLES,
}
_MMAP_THRESHOLD, _LARGE = -3, 2**23  # glibc's M_MMAP_THRESHOLD, bytes; by default it rises to 32 MB as blocks are freed
_ARENA_MAX, _FEW = -8, 2  # glibc's M_ARENA_MAX; by default each of many threads keeps what it freed for itself
_loaded: set[str] = set()  # whole; in sys.modules a library stands from when its import begins


def load_for(page: str) -> None:
    """Import what a page needs, with a line in its place meanwhile; once a server. The page is then asked for again.

    Args:
        page: Part of its address; what is not known needs nothing.
    """
    if not _missing(page):
        return
    redirect_caches(runs_folder() / ".cache")
    st.caption(f"Opening {page.capitalize()} for the first time: loading libraries …")
    with heavy_imports:  # a second session waits here, and finds them loaded
        for name in _missing(page):
            import_module(name)
            _loaded.add(name)
        _return_freed_memory()
        gc.collect()
        gc.freeze()  # libraries stay for good: a collection that looks through them took half a second
        gc.collect()  # the next full one waits for a quarter as much as this one left
    st.rerun()


def _return_freed_memory() -> None:
    """Large blocks go back to the system when they are freed: a server lives for days, and pools only grow."""
    import pyarrow

    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):  # glibc
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_ARENA_MAX, _FEW)


def _missing(page: str) -> list[str]:
    return [name for name in _NEEDED.get(page, ()) if name not in _loaded]
