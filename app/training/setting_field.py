"""One field of a form of settings: the widget that suits the setting's type and range, and its value as text."""

import json
from typing import Any

import streamlit as st

from app import session
from app.widgets import escape
from maskdistill.config import Setting

_SLIDER_STEPS = 200  # a range of more steps than this is typed


def draw_field(setting: Setting, preset: Any) -> None:
    """The keyed widget of one setting, and below it the preset's value if that is another.

    It works inside a ``st.form``: no callback. Its value must be in the session already; see ``field_value``.

    Args:
        setting: What is drawn.
        preset: The preset's value.
    """
    key = session.field_key(setting.full_name)
    options: dict[str, Any] = {"key": key, "help": _help(setting, preset), "persist_state": "session"}
    if setting.choices:
        st.selectbox(setting.words, setting.choices, **options)
    elif setting.type is bool:
        st.toggle(setting.words, **options)
    elif setting.type in (int, float):
        _draw_number(setting, session.widget_value(key), options)
    else:
        st.text_input(setting.words, placeholder="none" if setting.type is tuple else "", **options)
    if typed_change(setting, preset) is not None:
        st.caption(f":orange[●] preset: {escape(_show(preset))}")


def field_value(setting: Setting, value: Any) -> Any:
    """What the widget holds for a value of the setting: a list of numbers is typed as "9, 12"."""
    return ", ".join(map(str, value)) if setting.type is tuple else value


def typed_change(setting: Setting, preset: Any) -> str | None:
    """What the widget holds, as ``--set`` takes it; None if that is the preset's value."""
    text = _as_text(setting, session.widget_value(session.field_key(setting.full_name)))
    return None if text == _as_text(setting, field_value(setting, preset)) else text


def _as_text(setting: Setting, value: Any) -> str:
    if value is None:  # a number that was deleted
        return ""
    if setting.type is tuple:
        return ", ".join(part.strip() for part in value.strip("[] ").split(","))
    if setting.type is float:
        return f"{value:.10g}"  # a slider's 0.29000000000000004 is 0.29
    return value.strip() if isinstance(value, str) else json.dumps(value)


def _draw_number(setting: Setting, value: float, options: dict[str, Any]) -> None:
    """A slider for a range of few steps.

    What is typed has no bounds in the browser: it would keep the whole form back, and say less than ``ConfigError``.
    """
    kind = setting.type
    step = kind(setting.step) if kind is float else 1
    if setting.low is None or setting.high is None or setting.high - setting.low > _SLIDER_STEPS * step:
        st.number_input(setting.words, step=step, format="%d" if kind is int else "%g", **options)
        return
    low, high = kind(setting.low), kind(setting.high)
    # An open end is not offered; a value nearer to it than a step, which a preset may hold, can be shown.
    low = min(low + step, value) if setting.within.open_low else low
    high = max(high - step, value) if setting.within.open_high else high
    st.slider(setting.words, low, high, step=step, **options)


def _help(setting: Setting, preset: Any) -> str:
    parts = [f"{setting.help[0].upper()}{setting.help[1:]}.", f"Preset: {_show(preset)}."]
    if setting.within is not None:
        parts.append(f"Allowed: {setting.allowed}.")
    return escape(" ".join([*parts, f"({setting.full_name})"]))


def _show(value: Any) -> str:
    """A value for people."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "empty"
