"""The settings of the filter that are no threshold on a signal."""

from typing import Any

import streamlit as st

from app import session
from app.filter.data import SECTION, change
from app.widgets import escape
from maskdistill.config import FilterConfig, RunConfig, describe_settings

_SETTINGS = {setting.name: setting for setting in describe_settings("filter")}
_EMPTY_PHOTOS = {"best": "keep their best mask", "none": "stay empty"}


def draw(base: RunConfig, config: FilterConfig) -> None:
    """Share of each cluster, least masks of each, and what happens to an empty photo.

    Args:
        base: The run's own settings.
        config: The thresholds on show.
    """
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        st.slider(step=0.01, **_ends(config, "keep_share"), **_options(base, config, "keep_share"))
        st.number_input(step=5, **_ends(config, "min_per_cluster"), **_options(base, config, "min_per_cluster"))
        st.selectbox(
            options=list(_EMPTY_PHOTOS), format_func=_EMPTY_PHOTOS.__getitem__, **_options(base, config, "empty_photos")
        )


def _ends(config: FilterConfig, name: str) -> dict[str, Any]:
    ends = _SETTINGS[name].slider_ends(getattr(config, name))
    return {} if ends is None else dict(zip(("min_value", "max_value"), ends, strict=True))


def _options(base: RunConfig, config: FilterConfig, name: str) -> dict[str, Any]:
    """What the widgets have in common."""
    setting = _SETTINGS[name]
    key = session.sync_widget(session.control_key(f"{SECTION}{name}"), getattr(config, name))
    help_text = escape(f"{setting.help[0].upper()}{setting.help[1:]}. ({setting.full_name})")
    return {"label": setting.label, "key": key, "help": help_text, "on_change": _store, "args": (base, name, key)}


def _store(base: RunConfig, name: str, key: str) -> None:
    value = session.widget_value(key)
    if value is not None:
        change(base, **{name: value})
