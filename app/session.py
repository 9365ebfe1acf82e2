"""What this browser session keeps: widgets that are read back, small values of pages, and notices.

The only file that names widgets read elsewhere. What a link reopens stands in ``app.selection``.
"""

from enum import StrEnum
from typing import Any

import streamlit as st

_MISSING = object()
_NOTICES = "notices"


class Key(StrEnum):
    """Widgets that are read back, and small things that pages remember."""

    STRIP_PAGE = "strip page"
    SORT = "sort"
    COMPARE = "compare"
    SOURCE_KIND = "source kind"
    SOURCE_PATH = "source path"
    SEARCH_STOPPED = "search stopped"
    SAMPLE_VIEWS = "sample views"
    MASKS_KIND = "masks kind"
    MASKS_PATH = "masks path"
    MASKS_IMAGES = "masks images"
    MASKS_DROPPED = "masks dropped"
    MASKS_TURN = "masks turn"
    RUN_NAME = "run name"
    NAMED_FOR = "named for"
    BACKBONE = "backbone"
    ENGINE = "engine"
    ADDRESS = "cluster address"
    SIDEBAR_RUN = "sidebar:run"
    APPLY = "apply"
    STARTED = "started"
    DROP_FOLDER = "drop folder"
    DROP_REFUSED = "drop refused"
    DROP_COUNT = "drop count"
    DROP_TURN = "drop turn"
    RANK = "rank"
    DUPLICATE = "duplicate"
    DISCARD = "discard"
    COMPARED = "compared jobs"
    LOG_OPEN = "log open"
    EPOCHS_STAGE = "epochs stage"
    READING = "machine reading"
    WATCHED = "watched jobs"
    MARKED = "marked masks"
    TICKED = "ticked clusters"
    ALTERNATIVES = "alternatives shown"
    PICTURES = "pictures sent"
    DETAIL_VERSION = "decisions when the detail opened"
    EDITOR = "mask being mended"
    EDITOR_SAID = "why a mask was not kept"
    DROPPED_PHOTOS = "dropped photos"
    GUIDE_PHOTO = "guide photo"
    FILTER_OWN = "filter of the run"
    FILTER_MARKED = "filter marks"
    FILTER_NAME = "filter preset name"
    REVIEW = "review session"
    AUDIT_SESSION = "audit session"
    AUDIT_ORDER = "audit order"
    AUDIT_SEED = "audit seed"
    AUDIT_REVIEWER = "audit reviewer"
    AUDIT_OPINION = "audit opinion"
    AUDIT_FIRST = "audit first"
    AUDIT_SECOND = "audit second"
    AUDIT_AGREEMENT = "audit agreement"
    AUDIT_EXPORT = "audit export"
    PAGE_ON_SHOW = "page on show"
    PAGE_TO_OPEN = "page to open"
    SWITCH_SIGNAL = "page switch:signal"


def notify(text: str) -> None:
    """Keep a sentence for the top of the page, once."""
    notices = st.session_state.setdefault(_NOTICES, [])
    if text not in notices:
        notices.append(text)


def take_notices() -> list[str]:
    """Sentences not yet shown."""
    return st.session_state.pop(_NOTICES, [])


def has_notices() -> bool:
    """Whether a sentence waits for the top of the page, as after a button of a part that is drawn by itself."""
    return bool(st.session_state.get(_NOTICES))


def control_key(name: str) -> str:
    """Widget key of a setting's control."""
    return f"control:{name}"


def field_key(name: str) -> str:
    """Widget key of a setting's field in a form, apart from its control on another page."""
    return f"field:{name}"


def sync_widget(key: str, value: Any) -> str:
    """Make a keyed widget show ``value`` when it is drawn next, without fighting the user's hand."""
    if st.session_state.get(key, _MISSING) != value:  # "in" would copy the whole state
        st.session_state[key] = value
    return key


def put_widget(key: str, value: Any) -> None:
    """Make a keyed widget show ``value``, also if something was typed there that was not sent yet."""
    st.session_state[key] = value


def widget_value(key: str, default: Any = None) -> Any:
    """Value of a keyed widget, for callbacks and other pages; the default before it was ever drawn."""
    return st.session_state.get(key, default)


def component_value(key: str, name: str) -> Any:
    """State or trigger value of a component, for callbacks; None if it did not fire."""
    return st.session_state.get(key, {}).get(name)


def remember(key: str, value: Any) -> None:
    """Keep a small value of a page for this session."""
    st.session_state[f"page:{key}"] = value


def recall(key: str, default: Any = None) -> Any:
    """What ``remember`` kept."""
    return st.session_state.get(f"page:{key}", default)
