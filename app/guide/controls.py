"""The one control that matters at a step, beside its text; sliders stand below the picture."""

from typing import Any

import streamlit as st

from app import selection, session
from app.guide.photo_choice import draw_choice
from app.guide.step_context import StepContext
from app.guide.steps import proposals
from app.guide.steps.clusters import chosen_cluster, clusters_of
from app.selection import Option

_PILLS = 24  # clusters up to which each has a button
_HEADS = {proposals.NO_HEAD: "Patches", proposals.MEAN: "All"}
_LAYERS = {proposals.MASK: "Mask", proposals.SIDES: "Two sides"}


def draw_control(step: int, context: StepContext) -> None:
    """Draw the control of a step, if it has one beside its text."""
    if step == 1:
        draw_choice(context)
    elif step == 2:
        heads = proposals.heads(context)
        _choose(Option.HEAD, "Head of the attention", heads, proposals.chosen_head(context), heads[-1], _HEADS)
    elif step == 3:
        _offer_seed()
    elif step == 4:
        layer = selection.option(Option.LAYER, proposals.MASK, list(_LAYERS))
        _choose(Option.LAYER, "Over the photo", list(_LAYERS), layer, proposals.MASK, _LAYERS)
    elif step == 5 and context.trained is not None:
        _choose_cluster(context)


def _choose(option: Option, label: str, values: list[str], chosen: str, default: str, names: dict[str, str]) -> None:
    key = session.sync_widget(f"guide:{option}", chosen)

    def keep() -> None:
        value = session.widget_value(key)  # None where the step was left in the same moment
        selection.set_option(option, "" if value in (default, None) else value)

    st.pills(
        label,
        values,
        key=key,
        required=True,
        format_func=lambda value: names.get(value, value),
        on_change=keep,
    )


def _offer_seed() -> None:
    if selection.current().patch is not None:
        st.button("Back to the mask's strongest patch", icon=":material/undo:", on_click=_forget_patch)


def _forget_patch() -> None:
    selection.select(patch=None)


def _choose_cluster(context: StepContext) -> None:
    trained, _ = context.on_run
    values, key = [0, *clusters_of(trained)], "guide:cluster"
    session.sync_widget(key, chosen_cluster(trained))
    common: dict[str, Any] = {
        "key": key,
        "format_func": lambda cluster: (
            "Most similar" if not cluster else trained.decision_view.name_of(cluster).removeprefix("cluster ")
        ),
        "on_change": lambda: selection.select(cluster=session.widget_value(key) or 0),
    }
    if len(values) <= _PILLS:
        st.pills("Show", values, required=True, **common)
    else:
        st.selectbox("Show", values, **common)
