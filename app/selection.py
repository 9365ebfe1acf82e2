"""What is looked at, and its mirror in the address bar. The only file that names keys of a link."""

import getpass
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

import streamlit as st

from app import identity
from app.session import notify
from maskdistill.config import RunConfig
from maskdistill.errors import ConfigError

_SELECTION, _LINK = "selection", "link"
_LONGEST_OPTION = 1000  # characters of an option in a link; a longer one was not written by the app
SORTS = ("order", "worst", "best")
COMPARISONS = ("", "run", "published", "pinned")


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
    EDIT = "edit"  # mask that is being mended: its id, or "new"; "drawn" behind it: as the first model draws it
    QUEUE = "queue"  # order of the masks on the Audit page
    SEED = "seed"  # of its random order
    AT = "at"  # mask on show in Audit
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


def current() -> Selection:
    """The current selection."""
    return st.session_state.get(_SELECTION, Selection())


def select(**fields: Any) -> None:
    """Change fields of the selection; another photo forgets the clicked patch."""
    chosen = current()
    if fields.get("photo", chosen.photo) != chosen.photo:
        fields.setdefault("patch", None)
    st.session_state[_SELECTION] = replace(chosen, **fields)


def open_run(name: str) -> None:
    """Look at a run from its first photo, with its own settings; who reviews stays the same."""
    st.session_state[_SELECTION] = Selection(run=name, options=_kept_options())


def open_data(spec: str, changes: tuple[str, ...] = ()) -> None:
    """Look at photos without a run."""
    st.session_state[_SELECTION] = Selection(data=spec, changes=changes, options=_kept_options())


def _kept_options() -> tuple[tuple[str, str], ...]:
    return tuple(item for item in current().options if item[0] == Option.REVIEWER)


def option(name: Option, default: str = "", allowed: Collection[str] = ()) -> str:
    """A page's choice; one of a link that is not among ``allowed`` gives the default, with a notice."""
    value = dict(current().options).get(name, default)
    if allowed and value not in allowed:
        notify(f"The link's '{name}={value[:40]}' means nothing here and was left out.")
        set_option(name, "")
        return default
    return value


def set_option(name: Option, value: str) -> None:
    """Keep a page's choice; an empty one leaves the link."""
    options = {**dict(current().options), str(name): value}
    select(options=tuple(item for item in options.items() if item[1]))


def reviewer() -> str:
    """Under whose name decisions are written down: the login's, else the one in the link, else the account's."""
    return identity.name() or option(Option.REVIEWER) or _account()


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        return "me"


def change_setting(base: RunConfig, name: str, text: str) -> None:
    """Set one setting; a value equal to the run's own leaves the list of changes."""
    changes = {item.partition("=")[0]: item for item in current().changes}
    changes.pop(name, None)
    if base.with_overrides([f"{name}={text}"]) != base:
        changes[name] = f"{name}={text}"
    select(changes=tuple(changes.values()))


def reset_settings() -> None:
    """Go back to the run's own settings; which features are looked at is not for the controls to say, and stays."""
    select(changes=tuple(item for item in current().changes if item.startswith("features.")))


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
    link = _format(current())
    if {name: st.query_params.get_all(name) for name in st.query_params} != link:
        st.query_params.from_dict(link)
    st.session_state[_LINK] = link


def link_to(**fields: Any) -> dict[str, list[str]]:
    """Parameters of a link to the selection with these fields changed."""
    return _format(replace(current(), **fields))


class _Field(NamedTuple):
    """How a field of the selection stands in a link."""

    name: str  # in the link
    attribute: str  # of the selection
    read: Callable[[list[str]], Any]  # None for what means nothing
    write: Callable[[Selection], list[str]]  # empty for the default, so that links stay short


def _text(attribute: str, pattern: str = r"(?s).*", kind: Callable[[str], Any] = str) -> _Field:
    def read(values: list[str]) -> Any:
        return kind(values[-1]) if re.fullmatch(pattern, values[-1]) else None

    def write(chosen: Selection) -> list[str]:
        value = getattr(chosen, attribute)
        return [] if value == getattr(_DEFAULT, attribute) else [str(value)]

    return _Field(attribute, attribute, read, write)


def _one_of(attribute: str, allowed: Collection[str]) -> _Field:
    return _text(attribute, "|".join(map(re.escape, allowed)))


def _read_patch(values: list[str]) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d{1,4})-(\d{1,4})", values[-1])
    return (int(found[1]), int(found[2])) if found else None


def _write_patch(chosen: Selection) -> list[str]:
    return [f"{chosen.patch[0]}-{chosen.patch[1]}"] if chosen.patch else []


_DEFAULT = Selection()
_FIELDS = (
    _text("run"),
    _text("data")._replace(write=lambda chosen: [chosen.data] if not chosen.run and chosen.data != "sample" else []),
    _text("photo"),
    _Field("patch", "patch", _read_patch, _write_patch),
    _Field("set", "changes", tuple, lambda chosen: list(chosen.changes)),
    _one_of("compare", COMPARISONS),
    _Field("pin", "pinned", tuple, lambda chosen: list(chosen.pinned) if chosen.compare == "pinned" else []),
    _one_of("sort", SORTS),
    _text("stage", r"[a-z0-9_]{1,30}"),
    _text("job", r"\d{1,9}", int),
    _text("mask", r"\d{1,12}", int),
    _text("cluster", r"\d{1,4}", int),
    _text("picked"),
)


def _parse(link: dict[str, list[str]]) -> Selection:
    known = {field.name: field for field in _FIELDS}
    found: dict[str, Any] = {}
    options = []
    for name, values in link.items():
        value = known[name].read(values) if name in known else None
        if value is not None:
            found[known[name].attribute] = value
        elif name in tuple(Option) and len(values[-1]) <= _LONGEST_OPTION:
            options.append((name, values[-1]))
        else:
            notify(f"The link's '{name}={values[-1][:40]}' means nothing here and was left out.")
    return Selection(**found, options=tuple(options))


def _format(chosen: Selection) -> dict[str, list[str]]:
    link = {field.name: field.write(chosen) for field in _FIELDS}
    return {name: values for name, values in link.items() if values} | {name: [value] for name, value in chosen.options}
