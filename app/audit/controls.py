"""The row of settings: who reviews, in which order, and whether as a second opinion. All stand in the link."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import identity, selection, session
from app.audit.label_store import ReviewLabels
from app.audit.queue import QueueSettings
from app.selection import Option
from app.session import Key
from maskdistill.review.audit import ORDER_HELP, ORDER_NAMES, Order

_LONGEST_NAME = 40  # characters
_SEPARATOR = "|"  # names of a pair in the link


def read_settings(labels: ReviewLabels) -> QueueSettings:
    """What the link asks for."""
    order = Order(selection.option(Option.QUEUE, Order.DOUBTFUL, tuple(Order)))
    seed = selection.option(Option.SEED, "0")
    pair = tuple(name for name in selection.option(Option.PAIR).split(_SEPARATOR) if name in labels.names)
    return QueueSettings(
        reviewer=selection.reviewer(),
        order=order,
        seed=int(seed) if seed.isdecimal() else 0,
        second_opinion=selection.option(Option.OPINION, allowed=("", "second")) == "second",
        pair=pair if len(pair) == 2 else (),
    )


def open_queue(order: Order, pair: tuple[str, ...] = ()) -> None:
    """Change to another queue."""
    selection.set_option(Option.QUEUE, "" if order is Order.DOUBTFUL else order)
    selection.set_option(Option.PAIR, _SEPARATOR.join(pair))
    selection.set_option(Option.AT, "")


def draw(settings: QueueSettings, place: DeltaGenerator) -> None:
    """Draw the settings, in a row that holds the title already, and what the order means."""
    with place:
        st.selectbox(
            "Order",
            list(Order),
            key=session.sync_widget(Key.AUDIT_ORDER, settings.order),
            format_func=lambda order: ORDER_NAMES[order],
            help=ORDER_HELP[settings.order],
            width=260,
            on_change=lambda: open_queue(session.widget_value(Key.AUDIT_ORDER)),
        )
        if settings.order is Order.RANDOM:
            st.number_input(
                "Seed",
                min_value=0,
                max_value=999_999,
                key=session.sync_widget(Key.AUDIT_SEED, settings.seed),
                width=110,
                on_change=lambda: selection.set_option(Option.SEED, str(session.widget_value(Key.AUDIT_SEED))),
            )
        st.text_input(
            "Reviewer",
            key=session.sync_widget(Key.AUDIT_REVIEWER, settings.reviewer),
            max_chars=None if identity.name() else _LONGEST_NAME,
            help="Given by the login." if identity.name() else "Saved with every decision. Two people need two names.",
            disabled=bool(identity.name()),
            width=170,
            on_change=_rename,
        )
        st.toggle(
            "Second opinion",
            key=session.sync_widget(Key.AUDIT_OPINION, settings.second_opinion),
            help="Review masks that others have decided on too. Their labels are hidden until you have given yours. "
            "It measures the agreement between two people.",
            on_change=_set_opinion,
        )
    st.caption(ORDER_HELP[settings.order])


def _rename() -> None:
    name = session.widget_value(Key.AUDIT_REVIEWER).replace(_SEPARATOR, " ").strip()
    selection.set_option(Option.REVIEWER, name)


def _set_opinion() -> None:
    selection.set_option(Option.OPINION, "second" if session.widget_value(Key.AUDIT_OPINION) else "")
