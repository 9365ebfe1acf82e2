"""The settings of one stage as a form, with the preset's value, range and a line of help each.

    with st.form("stage1"):
        changes = settings_form.draw("stage1", preset)
        start = st.form_submit_button("Train")
    st.button("Back to the preset", on_click=settings_form.reset, args=("stage1", preset))  # outside: it forgets typing

It works without the ``st.form`` too; what differs from the preset is then marked at once, rather than on submission.
"""

from collections.abc import Sequence

import streamlit as st

from app import session, widgets
from app.run_context import overrides_from
from app.training.setting_field import draw_field, field_value, typed_change
from maskdistill.config import RunConfig, Setting, describe_settings
from maskdistill.errors import ConfigError

_COLUMN = 210  # pixels, least width of a field


def draw(section: str, preset: RunConfig, *, start: RunConfig | None = None) -> list[str] | None:
    """The fields of a section; those that people change most come first, the others are folded away.

    What is typed survives a change of page. It is forgotten when ``start`` changes: another run, another preset.

    Args:
        section: Of the settings, such as "stage1" or "filter"; "" for those that are in none.
        preset: Settings that values are compared with, and that the fields go back to.
        start: Settings that the fields show at first, as those of a run; None: the preset's.

    Returns:
        The ``section.name=value`` changes that lead from the preset to the values of the fields; None if these cannot
        work: the reason then stands below the fields.
    """
    settings = describe_settings(section)
    _follow(settings, start or preset)
    _draw_fields([setting for setting in settings if not setting.advanced], preset)
    more = [setting for setting in settings if setting.advanced]
    if more:
        with st.expander("More settings"):
            _draw_fields(more, preset)
    try:
        return changes(section, preset)
    except ConfigError as error:
        st.error(widgets.escape(str(error)))
        return None


def changes(section: str, preset: RunConfig) -> list[str]:
    """What the fields of a section, once drawn, change in the preset.

    Raises:
        ConfigError: If a value, or two together, cannot work.
    """
    settings = describe_settings(section)
    typed = {setting.full_name: typed_change(setting, setting.value_in(preset)) for setting in settings}
    assignments = [f"{name}={text}" for name, text in typed.items() if text is not None]
    return overrides_from(preset, preset.with_overrides(assignments))


def reset(section: str, preset: RunConfig) -> None:
    """Put the preset's values into the fields of a section; for callbacks."""
    for setting in describe_settings(section):
        session.put_widget(session.field_key(setting.full_name), field_value(setting, setting.value_in(preset)))


def values_of(config: RunConfig, section: str) -> tuple[object, ...]:
    """The values of a section's settings, in their order."""
    return tuple(setting.value_in(config) for setting in describe_settings(section))


def _follow(settings: Sequence[Setting], start: RunConfig) -> None:
    """Fill the fields when they are first drawn, and when they stand for other settings than before."""
    section = settings[0].section
    name = session.field_key(section)
    if session.recall(name) != values_of(start, section):
        session.remember(name, values_of(start, section))
        reset(section, start)


def _draw_fields(settings: Sequence[Setting], preset: RunConfig) -> None:
    grid = st.grid(min_column_width=_COLUMN)
    for setting in settings:
        with grid, st.container(gap="xxsmall"):
            draw_field(setting, setting.value_in(preset))
