"""The settings of the filter that are no threshold on a signal."""

import streamlit as st

from app import session
from app.filter.data import SECTION, change
from app.widgets import escape
from maskdistill.config import FilterConfig, RunConfig, Setting, describe_settings

_SETTINGS = {setting.name: setting for setting in describe_settings("filter")}
_LABELS = {"best": "keeps its best", "none": "stays empty"}


def draw(base: RunConfig, config: FilterConfig) -> None:
    """Share of each cluster, least masks of each, and what happens to an empty photo.

    Args:
        base: The run's own settings.
        config: The thresholds on show.
    """
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        key = _synced("keep_share", config)
        low = min(0.05, config.keep_share)
        st.slider(
            "Best share per cluster",
            low,
            1.0,
            step=0.01,
            key=key,
            help=_help(_SETTINGS["keep_share"]),
            on_change=_store,
            args=(base, "keep_share", key),
        )
        key = _synced("min_per_cluster", config)
        st.number_input(
            "Least per cluster",
            0,
            1_000_000,
            step=5,
            key=key,
            help=_help(_SETTINGS["min_per_cluster"]),
            on_change=_store,
            args=(base, "min_per_cluster", key),
        )
        key = _synced("empty_photos", config)
        st.selectbox(
            "An empty photo",
            list(_LABELS),
            key=key,
            format_func=_LABELS.__getitem__,
            help=_help(_SETTINGS["empty_photos"]),
            on_change=_store,
            args=(base, "empty_photos", key),
        )


def _synced(name: str, config: FilterConfig) -> str:
    return session.sync_widget(session.control_key(f"{SECTION}{name}"), getattr(config, name))


def _store(base: RunConfig, name: str, key: str) -> None:
    value = session.widget_value(key)
    if value is not None:
        change(base, **{name: value})


def _help(setting: Setting) -> str:
    return escape(f"{setting.help[0].upper()}{setting.help[1:]}. ({setting.full_name})")
