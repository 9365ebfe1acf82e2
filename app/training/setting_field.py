"""One field of a form of settings: the widget that suits the setting's type and range, and its value as text."""

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
    options: dict[str, Any] = {
        "label": setting.label,
        "key": key,
        "help": _help(setting, preset),
        "persist_state": "session",
    }
    if setting.choices:
        st.selectbox(options=setting.choices, **options)
    elif setting.word:
        st.select_slider(options=setting.numbers(session.widget_value(key)), **options)
    elif setting.type is bool:
        st.toggle(**options)
    elif setting.type in (int, float):
        _draw_number(setting, session.widget_value(key), options)
    else:
        st.text_input(placeholder="none" if setting.type is tuple else "", **options)
    if typed_change(setting, preset) is not None:
        st.caption(f":orange[●] preset: {escape(_show(preset))}")


def field_value(setting: Setting, value: Any) -> Any:
    """What the widget holds for a value of the setting: a list of numbers is typed as "9, 12"."""
    return ", ".join(map(str, value)) if setting.type is tuple else value


def typed_change(setting: Setting, preset: Any) -> str | None:
    """What the widget holds, as ``--set`` takes it; None if that is the preset's value."""
    typed = session.widget_value(session.field_key(setting.full_name))
    if setting.type is tuple:
        typed = [part.strip() for part in typed.strip("[] ").split(",") if part.strip()]
    text = setting.as_text(typed)
    return None if text == setting.as_text(preset) else text


def _draw_number(setting: Setting, value: float, options: dict[str, Any]) -> None:
    """A slider for a range of few steps.

    A number that is typed has no bounds in the browser: these would block the whole form, and explain less than
    ``ConfigError`` does.
    """
    low, high = setting.slider_ends(value) or (0, float("inf"))
    if high - low > _SLIDER_STEPS * setting.step:
        st.number_input(step=setting.step, format="%d" if setting.type is int else "%g", **options)
    else:
        st.slider(min_value=low, max_value=high, step=setting.step, **options)


def _help(setting: Setting, preset: Any) -> str:
    parts = [setting.sentence, f"Preset: {_show(preset)}."]
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
