"""What this session looks at, and its mirror in the address bar. The only file that names session and link keys."""

import getpass
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import streamlit as st

from maskdistill.config import RunConfig
from maskdistill.errors import ConfigError

_MISSING = object()
_SELECTION, _LINK, _NOTICES = "selection", "link", "notices"
_LONGEST_OPTION = 200  # characters of an option in a link
SORTS = ("order", "worst", "best")
COMPARISONS = ("", "run", "published", "pinned")


class Key(StrEnum):
    """Widgets that are read back, and small things that pages remember."""

    STRIP_PAGE = "strip page"
    STRIP_PHOTO = "strip photo"
    SORT = "sort"
    COMPARE = "compare"
    SOURCE_KIND = "source kind"
    SOURCE_PATH = "source path"
    SAMPLE_VIEWS = "sample views"
    RUN_NAME = "run name"
    NAMED_FOR = "named for"
    BACKBONE = "backbone"
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
    FILM_STAGE = "film stage"
    READING = "machine reading"
    WATCHED = "watched jobs"
    MARKED = "marked masks"
    TICKED = "ticked clusters"
    TRIALS = "trials shown"
    PICTURES = "pictures sent"
    DETAIL_VERSION = "decisions when the detail opened"
    DETAIL_ERROR = "error in the detail"
    DROPPED_PHOTOS = "dropped photos"
    GUIDE_PHOTO = "guide photo"
    FILTER_OWN = "filter of the run"
    FILTER_MARKED = "filter marks"
    FILTER_NAME = "filter preset name"
    SITTING = "audit sitting"
    AUDIT_ORDER = "audit order"
    AUDIT_SEED = "audit seed"
    AUDIT_REVIEWER = "audit reviewer"
    AUDIT_OPINION = "audit opinion"
    AUDIT_FIRST = "audit first"
    AUDIT_SECOND = "audit second"
    AUDIT_AGREEMENT = "audit agreement"
    AUDIT_HANDOVER = "audit handover"
    HERE = "page on show"
    TRAVEL = "page to open"
    TRAVEL_SIGNAL = "travel:signal"


class Option(StrEnum):
    """Small choices of a page that stand in the link under these names. Each page checks its own values."""

    REVIEWER = "reviewer"  # whose decisions are written down
    COLOUR = "colour"  # what the map of the masks is coloured by
    MAP = "map"  # which map of the masks
    CROPS = "crops"  # how the crops of a selection are sorted
    CLUSTERS = "below"  # what stands below the map
    STEP = "step"  # of the guide, 1 to 8
    SCREEN = "screen"  # "full": the guide for a projector
    MODEL = "model"  # run whose clusters and models the guide shows, where it is not the one looked at
    HEAD = "head"  # of the attention: a number, "mean" or "none"
    LAYER = "layer"  # what the guide lays over the photo in the step of the cut
    EPOCH = "epoch"  # of the first model's training
    WIPE = "wipe"  # percent of the photo on the left of the slider between the two models
    RESULTS = "results"  # which part of the Results page is on show
    PHOTO_ORDER = "photos"  # how its photos are sorted
    FIRST = "left"  # label maps on the left of its slider
    SECOND = "right"  # and on the right
    HOLDING = "holding"  # class that its photos hold
    MEASURED = "measured"  # photos that its classes are measured on
    OTHER_RUN = "other"  # run that is compared with this one
    BORDER = "border"  # threshold whose border the Filter page shows, or "all"
    RULE = "rule"  # rule whose masks it shows in place of the border
    QUEUE = "queue"  # order of the masks on the Audit page
    SEED = "seed"  # of its random order
    AT = "at"  # mask on its desk
    OPINION = "opinion"  # "second": also masks that others judged
    PAIR = "pair"  # two people whose disagreements are gone through


@dataclass(frozen=True)
class Selection:
    """Everything a link reopens. ``changes`` are ``section.name=value``, as the command line's ``--set`` takes them."""

    run: str = ""  # name of a run; empty if photos are looked at without one
    data: str = "sample"  # source of photos where there is no run
    photo: str = ""  # id; empty takes the first
    patch: tuple[int, int] | None = None  # row, col that was clicked
    changes: tuple[str, ...] = ()  # against the run's settings
    compare: str = ""  # what stands beside it: one of COMPARISONS
    pinned: tuple[str, ...] = ()  # changes of the pinned settings
    sort: str = "order"  # one of SORTS
    stage: str = ""  # of the method; empty takes the one that matters now
    job: int = 0  # number of a job of the run; 0 takes the current one
    mask: int | None = None  # id of the mask whose details are open
    cluster: int = 0  # 0 for none
    picked: str = ""  # set of masks, as maskdistill.selecting writes it
    options: tuple[tuple[str, str], ...] = ()  # by the names of Option


def selection() -> Selection:
    """The current selection."""
    return st.session_state.get(_SELECTION, Selection())


def select(**fields: Any) -> None:
    """Change fields of the selection; another photo forgets the clicked patch."""
    current = selection()
    if fields.get("photo", current.photo) != current.photo:
        fields.setdefault("patch", None)
    st.session_state[_SELECTION] = replace(current, **fields)


def open_run(name: str) -> None:
    """Look at a run from its first photo, with its own settings; who reviews stays the same."""
    st.session_state[_SELECTION] = Selection(run=name, options=_kept_options())


def open_data(spec: str, changes: tuple[str, ...] = ()) -> None:
    """Look at photos without a run."""
    st.session_state[_SELECTION] = Selection(data=spec, changes=changes, options=_kept_options())


def _kept_options() -> tuple[tuple[str, str], ...]:
    return tuple(item for item in selection().options if item[0] == Option.REVIEWER)


def option(name: Option, default: str = "", allowed: Collection[str] = ()) -> str:
    """A page's choice; one of a link that is not among ``allowed`` gives the default, with a notice."""
    value = dict(selection().options).get(name, default)
    if allowed and value not in allowed:
        notify(f"The link's '{name}={value[:40]}' means nothing here and was left out.")
        set_option(name, "")
        return default
    return value


def set_option(name: Option, value: str) -> None:
    """Keep a page's choice; an empty one leaves the link."""
    options = {**dict(selection().options), str(name): value[:_LONGEST_OPTION]}
    select(options=tuple(item for item in options.items() if item[1]))


def reviewer() -> str:
    """Under whose name decisions are written down: the one in the link, else the account's."""
    return option(Option.REVIEWER) or _account()


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        return "me"


def change_setting(base: RunConfig, name: str, text: str) -> None:
    """Set one setting; a value equal to the run's own leaves the list of changes."""
    changes = {item.partition("=")[0]: item for item in selection().changes}
    changes.pop(name, None)
    if base.with_overrides([f"{name}={text}"]) != base:
        changes[name] = f"{name}={text}"
    select(changes=tuple(changes.values()))


def reset_settings() -> None:
    """Go back to the run's own settings; which features are looked at is not for the controls to say, and stays."""
    select(changes=tuple(item for item in selection().changes if item.startswith("features.")))


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


def apply_changes(base: RunConfig, changes: tuple[str, ...]) -> tuple[RunConfig, tuple[str, ...]]:
    """The settings with every change that is valid, and those changes; the others become notices."""
    config, good = base, []
    for item in changes:
        try:
            config = config.with_overrides([item])
        except ConfigError as error:
            notify(f"A setting of the link was left out. {error}")
        else:
            good.append(item)
    return config, tuple(good)


def read_link() -> None:
    """Take over a link that was opened, or Back in the browser; what the app wrote itself is left alone."""
    link = {name: st.query_params.get_all(name) for name in st.query_params}
    if not link or link == st.session_state.get(_LINK):
        return
    st.session_state[_LINK] = link
    st.session_state[_SELECTION] = _parse(link)


def write_link() -> None:
    """Bring the address bar up to date."""
    link = _format(selection())
    if {name: st.query_params.get_all(name) for name in st.query_params} != link:
        st.query_params.from_dict(link)
    st.session_state[_LINK] = link


def link_to(**fields: Any) -> dict[str, list[str]]:
    """Parameters of a link to the selection with these fields changed."""
    return _format(replace(selection(), **fields))


def _parse(link: dict[str, list[str]]) -> Selection:
    chosen = Selection()
    for name, values in link.items():
        value = values[-1]
        if name in ("run", "data", "photo"):
            chosen = replace(chosen, **{name: value})
        elif name == "set":
            chosen = replace(chosen, changes=tuple(values))
        elif name == "pin":
            chosen = replace(chosen, pinned=tuple(values))
        elif name == "patch" and re.fullmatch(r"\d{1,4}-\d{1,4}", value):
            row, _, col = value.partition("-")
            chosen = replace(chosen, patch=(int(row), int(col)))
        elif name == "stage" and re.fullmatch(r"[a-z0-9_]{1,30}", value):
            chosen = replace(chosen, stage=value)
        elif name == "job" and re.fullmatch(r"\d{1,9}", value):
            chosen = replace(chosen, job=int(value))
        elif name == "mask" and re.fullmatch(r"\d{1,12}", value):
            chosen = replace(chosen, mask=int(value))
        elif name == "cluster" and re.fullmatch(r"\d{1,4}", value):
            chosen = replace(chosen, cluster=int(value))
        elif name == "picked":
            chosen = replace(chosen, picked=value)
        elif name in tuple(Option):
            chosen = replace(chosen, options=(*chosen.options, (name, value[:_LONGEST_OPTION])))
        elif name == "compare" and value in COMPARISONS:
            chosen = replace(chosen, compare=value)
        elif name == "sort" and value in SORTS:
            chosen = replace(chosen, sort=value)
        else:
            notify(f"The link's '{name}={value[:40]}' means nothing here and was left out.")
    return chosen


def _format(chosen: Selection) -> dict[str, list[str]]:
    """Only what differs from the defaults, so that links stay short."""
    link: dict[str, list[str]] = {}
    if chosen.run:
        link["run"] = [chosen.run]
    elif chosen.data != "sample":
        link["data"] = [chosen.data]
    if chosen.photo:
        link["photo"] = [chosen.photo]
    if chosen.patch is not None:
        link["patch"] = [f"{chosen.patch[0]}-{chosen.patch[1]}"]
    if chosen.changes:
        link["set"] = list(chosen.changes)
    if chosen.compare:
        link["compare"] = [chosen.compare]
    if chosen.compare == "pinned" and chosen.pinned:
        link["pin"] = list(chosen.pinned)
    if chosen.sort != "order":
        link["sort"] = [chosen.sort]
    if chosen.stage:
        link["stage"] = [chosen.stage]
    if chosen.job:
        link["job"] = [str(chosen.job)]
    if chosen.mask is not None:
        link["mask"] = [str(chosen.mask)]
    if chosen.cluster:
        link["cluster"] = [str(chosen.cluster)]
    if chosen.picked:
        link["picked"] = [chosen.picked]
    return link | {name: [value] for name, value in chosen.options}


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


def widget_value(key: str) -> Any:
    """Value of a keyed widget, for callbacks."""
    return st.session_state[key]


def component_value(key: str, name: str) -> Any:
    """State or trigger value of a component, for callbacks; None if it did not fire."""
    return st.session_state.get(key, {}).get(name)


def remember(key: str, value: Any) -> None:
    """Keep a small value of a page for this session."""
    st.session_state[f"page:{key}"] = value


def recall(key: str, default: Any = None) -> Any:
    """What ``remember`` kept."""
    return st.session_state.get(f"page:{key}", default)
