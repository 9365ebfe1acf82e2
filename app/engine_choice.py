"""Where jobs work on photos: this machine, or a Ray cluster. One choice a session, for every job that it starts."""

import os
from importlib.util import find_spec

import streamlit as st

from app import session
from maskdistill.roots import VARIABLE as ROOTS

_NAMES = {"local": "This machine", "ray": "Ray cluster"}


def draw() -> None:
    """The choice; nothing where the library ray is not installed."""
    if not _is_offered():
        return
    chosen = st.segmented_control(
        "Photos are worked on by",
        list(_NAMES),
        format_func=_NAMES.__getitem__,
        default=_default(),
        required=True,
        key=session.Key.ENGINE,
        persist_state="session",
        width="stretch",
    )
    if chosen == "ray" and not _is_confined():
        st.text_input(
            "Address of the cluster",
            placeholder=os.environ.get("RAY_ADDRESS") or "a cluster of this machine alone",
            key=session.Key.ADDRESS,
            persist_state="session",
            help="HOST:PORT as `ray start --head` prints it. Every node sees runs and photos under the same paths.",
        )


def flags() -> list[str]:
    """The choice as flags of a job's command; none for what the job would do anyway."""
    if not _is_offered():
        return []
    engine = session.widget_value(session.Key.ENGINE) or _default()
    address = "" if _is_confined() else (session.widget_value(session.Key.ADDRESS) or "").strip()
    found = [] if engine == _default() else ["--engine", engine]
    return found + (["--address", address] if engine == "ray" and address else [])


def _is_offered() -> bool:
    return find_spec("ray") is not None


def _is_confined() -> bool:
    """Whether visitors are kept to some folders: then they connect the server to no machine of theirs either."""
    return ROOTS in os.environ


def _default() -> str:
    return "ray" if os.environ.get("MASKDISTILL_ENGINE") == "ray" else "local"
