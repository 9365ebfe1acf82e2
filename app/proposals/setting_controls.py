"""Controls of the settings: each with its unit and a sentence; only those that the engine reads are drawn."""

import json
from collections.abc import Callable
from typing import Any

import streamlit as st

from app import selection, session
from app.proposals.control_list import CRF, ENGINE, NCUT, NCUT_MORE, PUBLISHED, Control
from maskdistill.config import RunConfig
from maskdistill.proposals.crf import INSTALL_HINT, crf_available


def draw_controls(base: RunConfig, config: RunConfig, depth: int, num_heads: int) -> None:
    """All controls of the current engine; each change goes into the selection.

    Args:
        base: The run's own settings.
        config: The settings on show.
        depth: Blocks of the backbone.
        num_heads: Heads of its last block.
    """
    _draw(ENGINE, base, config)
    if config.proposals.engine == "published":
        for control in PUBLISHED:
            _draw(control, base, config, high=num_heads if control.name.endswith("num_heads") else None)
    else:
        for control in NCUT:
            _draw(control, base, config)
    _draw_crf(base, config)
    if config.proposals.engine == "ncut":
        with st.expander("More of the cut"):
            for control in NCUT_MORE:
                _draw(control, base, config, high=depth)


def _draw_crf(base: RunConfig, config: RunConfig) -> None:
    available = crf_available()
    key = session.sync_widget(session.control_key("crf.enabled"), config.crf.enabled and available)
    st.toggle(
        "CRF refinement",
        key=key,
        disabled=not available,
        help="Dense CRF on the photo's colours, at image resolution; slower." if available else INSTALL_HINT,
        on_change=_store,
        args=(base, "crf.enabled", key, str),
    )
    if config.crf.enabled and available:
        with st.expander("Values of the CRF"):
            for control in CRF:
                _draw(control, base, config)


def _draw(control: Control, base: RunConfig, config: RunConfig, high: float | None = None) -> None:
    section, _, leaf = control.name.partition(".")
    value = getattr(getattr(config, section), leaf)
    key = session.control_key(control.name)
    if control.kind == "slider":
        _draw_slider(control, base, key, value, high or control.high)
    elif control.kind == "blocks":
        _draw_blocks(control, base, key, value, int(high or 0))
    else:
        session.sync_widget(key, value)
        st.segmented_control(
            control.label,
            list(control.options),
            key=key,
            required=True,
            format_func=lambda option: control.options[option],
            help=control.help,
            width="stretch",
            on_change=_store,
            args=(base, control.name, key, str),
        )


def _draw_slider(control: Control, base: RunConfig, key: str, value: float, high: float) -> None:
    whole = isinstance(control.step, int)
    kind = int if whole else float
    value = kind(value)
    session.sync_widget(key, value)
    st.slider(
        control.label,
        # A link may hold a value outside the usual range; the slider grows to show it.
        min_value=min(kind(control.low), value),
        max_value=max(kind(high), value),
        step=kind(control.step),
        key=key,
        help=control.help,
        on_change=_store,
        args=(base, control.name, key, repr),
    )


def _draw_blocks(control: Control, base: RunConfig, key: str, value: tuple[int, ...], depth: int) -> None:
    options = list(range(max(1, depth - 4), depth + 1))
    session.sync_widget(key, [block for block in value if block in options])
    st.pills(
        control.label,
        options,
        selection_mode="multi",
        key=key,
        help=control.help,
        on_change=_store,
        args=(base, control.name, key, lambda blocks: json.dumps(sorted(blocks))),
    )


def _store(base: RunConfig, name: str, key: str, as_text: Callable[[Any], str]) -> None:
    selection.change_setting(base, name, as_text(session.widget_value(key)))


def describe_changes(changes: tuple[str, ...]) -> str:
    """Changed settings in a few words."""
    return (
        ", ".join(item.removeprefix("proposals.").replace("=", " = ") for item in changes) or "the run's own settings"
    )
