"""Controls of the settings, as ``maskdistill.config`` describes them; only those that the engine reads are drawn."""

from typing import Any

import streamlit as st

from app import selection, session
from app.widgets import escape
from maskdistill.config import RunConfig, Setting, describe_setting
from maskdistill.proposals.crf import INSTALL_HINT, crf_available

ENGINES = {"ncut": ("tau", "num_objects", "foreground", "refine_steps"), "published": ("topk", "mass", "num_heads")}
NCUT_MORE = ("feature", "blocks", "views", "view_scale", "component", "min_piece")
CRF = ("iterations", "bilateral_weight", "bilateral_sigma_xy", "bilateral_sigma_rgb", "max_pixels", "min_agreement")
_LAST_BLOCKS = 5  # blocks of the backbone that are offered


def draw_controls(base: RunConfig, config: RunConfig, depth: int, num_heads: int) -> None:
    """All controls of the current engine; each change goes into the selection.

    Args:
        base: The run's own settings.
        config: The settings on show.
        depth: Blocks of the backbone.
        num_heads: Heads of its last block.
    """
    limits = {"blocks": depth, "num_heads": num_heads}

    def draw(section: str, *names: str) -> None:
        for name in names:
            _draw(describe_setting(f"{section}.{name}"), base, config, limits.get(name))

    draw("proposals", "engine", *ENGINES[config.proposals.engine])
    available = crf_available()
    _draw_toggle(describe_setting("crf.enabled"), base, config, "" if available else INSTALL_HINT)
    if config.crf.enabled and available:
        with st.expander("Values of the CRF"):
            draw("crf", *CRF)
    if config.proposals.engine == "ncut":
        with st.expander("More settings of the cut"):
            draw("proposals", *NCUT_MORE)


def _draw(setting: Setting, base: RunConfig, config: RunConfig, limit: int | None) -> None:
    """A slider, a choice, or buttons for some of the backbone's blocks. ``limit``: its largest value here."""
    value = setting.value_in(config)
    options = _options(setting, base)
    if setting.choices:
        session.sync_widget(options["key"], value)
        st.segmented_control(
            options=setting.choices, required=True, format_func=setting.choice_label, width="stretch", **options
        )
    elif setting.type is tuple:
        assert limit is not None  # the depth of the backbone
        blocks = range(max(1, limit - _LAST_BLOCKS + 1), limit + 1)
        session.sync_widget(options["key"], [block for block in value if block in blocks])
        st.pills(options=blocks, selection_mode="multi", **options)
    elif setting.word:
        session.sync_widget(options["key"], value)
        st.select_slider(options=setting.numbers(value, usual=True), **options)
    else:
        ends = setting.slider_ends(value, usual=True)
        assert ends is not None  # settings without a largest value have no control here
        low, high = ends
        high = max(limit, value) if limit else high
        session.sync_widget(options["key"], value)
        form = "%d" if float(setting.step).is_integer() else None
        st.slider(min_value=low, max_value=high, step=setting.step, format=form, **options)


def _draw_toggle(setting: Setting, base: RunConfig, config: RunConfig, unavailable: str) -> None:
    """``unavailable`` says why it cannot be switched on; empty if it can."""
    options = _options(setting, base)
    session.sync_widget(options["key"], setting.value_in(config) and not unavailable)
    st.toggle(disabled=bool(unavailable), **{**options, "help": unavailable or options["help"]})


def _options(setting: Setting, base: RunConfig) -> dict[str, Any]:
    """What all controls are given; the value of a change goes into the selection."""
    key = session.control_key(setting.full_name)

    def store() -> None:
        value = session.widget_value(key)
        text = setting.as_text(sorted(value) if isinstance(value, list) else value)
        selection.change_setting(base, setting.full_name, text)

    return {"label": setting.label, "key": key, "help": escape(setting.sentence), "on_change": store}


def describe_changes(changes: tuple[str, ...]) -> str:
    """Changed settings in a few words, as Markdown."""
    words = [escape(item.removeprefix("proposals.").replace("=", " = ")) for item in changes]
    return ", ".join(words) or "the run's own settings"
