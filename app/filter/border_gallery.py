"""The masks on both sides of a threshold, or those that one rule decided on, and the buttons to overrule it."""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, floor

import numpy as np
import streamlit as st

from app import selection, session, widgets
from app.components.image_grid import Tile, image_grid, paged
from app.filter.data import ALL, Candidates
from app.images.crops import crop_url
from app.mask_detail.dialog import open_mask
from app.mask_detail.facts import SIGNALS
from app.run_view import RunView
from maskdistill.config import FilterConfig
from maskdistill.pictures import colors
from maskdistill.pseudo_labels.filter import RULE_HELP, RULES, THRESHOLDS, FilterResult
from maskdistill.pseudo_labels.threshold_borders import Border, find_border, masks_under
from maskdistill.pseudo_labels.threshold_curves import threshold_of
from maskdistill.review import decisions
from maskdistill.review.decisions import Action, Mark, Scope, Seen
from maskdistill.storage.run_folder import Run

NAMES = {item.field: SIGNALS[item.signal][0] for item in THRESHOLDS}
NAMES |= {"min_area": "Least area", "max_area": "Most area", ALL: "All rules"}
_DROPS_BELOW = {item.signal: item.drops_below for item in reversed(THRESHOLDS)}  # of area, its lower threshold's
_PER_PAGE = 18  # six rows of three, as high as the histograms beside them
_SIZE = 70  # least side of a crop, CSS pixels
_HOW_TO_MARK = "Mark crops with the box in their corner, Ctrl- or Shift-click, or Space."


def draw(candidates: Candidates, config: FilterConfig, result: FilterResult, field: str) -> None:
    """The border of a threshold, or the masks of the chosen rule; of the chosen cluster only, if there is one.

    Args:
        candidates: The masks.
        config: The thresholds on show.
        result: What they keep.
        field: The threshold, or ``ALL``.
    """
    rule = selection.option(selection.Option.RULE, "", ("", *RULES))
    cluster = selection.current().cluster
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        _choose_border(field, bool(rule))
        _draw_decisions(candidates)
    if rule or cluster:
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown("Only", width="content")
            if rule:
                _clear_button(rule, lambda: selection.set_option(selection.Option.RULE, ""), "rule")
            if cluster:
                _clear_button(candidates.decisions_now.name_of(cluster), lambda: selection.select(cluster=0), "cluster")
    among = np.ones(len(candidates.mask_ids), bool) if not cluster else candidates.signals.cluster == cluster
    if rule:
        _draw_rule(candidates, config, result, rule, among)
    else:
        _draw_border(candidates, config, result, field, among)
    _draw_marks()


def _choose_border(field: str, disabled: bool) -> None:
    key = session.sync_widget("filter:border", field)
    st.selectbox(
        "Threshold whose border is shown",
        list(NAMES),
        key=key,
        format_func=lambda name: f"Threshold: {NAMES[name]}",
        disabled=disabled,
        label_visibility="collapsed",
        width=190,
        on_change=lambda: selection.set_option(selection.Option.BORDER, session.widget_value(key)),
    )


def _clear_button(name: str, clear: Callable[[], None], what: str) -> None:
    st.button(
        widgets.escape(name),
        icon=":material/close:",
        icon_position="right",
        key=f"filter:clear:{what}",
        help=f"Show the masks of every {what}",
        on_click=clear,
    )


def _draw_border(
    candidates: Candidates, config: FilterConfig, result: FilterResult, field: str, among: np.ndarray
) -> None:
    border = find_border(result, config, "" if field == ALL else field)
    kept, dropped = border.kept[among[border.kept]], border.dropped[among[border.dropped]]
    left, right = st.columns(2, gap="small")
    with left:
        _draw_side(
            candidates, "Just kept", "kept", kept, _why_none_kept(result), partial(_caption, candidates, border, field)
        )
    with right:
        empty = _why_none_dropped(config, field)
        _draw_side(candidates, "Just dropped", "dropped", dropped, empty, partial(_caption, candidates, border, field))


def _draw_rule(
    candidates: Candidates, config: FilterConfig, result: FilterResult, rule: str, among: np.ndarray
) -> None:
    rows = masks_under(result, config, rule)
    signal = next((item.signal for item in THRESHOLDS if item.rule == rule), "score")
    side = "kept" if len(rows) and result.kept[rows[0]] else "dropped"
    st.caption(f"{RULE_HELP[rule][0].upper()}{RULE_HELP[rule][1:]}.")
    title, empty = f"{rule[0].upper()}{rule[1:]}", "This rule decides on no mask now."
    _draw_side(candidates, title, side, rows[among[rows]], empty, lambda row: value_text(candidates, row, signal))


def _caption(candidates: Candidates, border: Border, field: str, row: int) -> str:
    """A mask's value, and which signal decides where several do."""
    if field != ALL:
        return value_text(candidates, row, threshold_of(field).signal)
    signal = THRESHOLDS[border.rule[row]].signal
    return f"{value_text(candidates, row, signal)} {SIGNALS[signal][0].lower()}"


def _draw_side(
    candidates: Candidates, title: str, side: str, rows: np.ndarray, empty: str, caption: Callable[[int], str]
) -> None:
    sign = colors.SIGNS["good" if side == "kept" else "bad"]
    st.markdown(f"**{sign} {widgets.escape(title)}** :small[{len(rows):,}]")
    grid = st.container()  # above the pages, so that both sides begin level
    shown = paged(rows, key=f"filter:{title}:page", per_page=_PER_PAGE)
    with grid:
        image_grid(
            [_tile(candidates, row, caption(row)) for row in shown],
            key=f"filter:{side}",
            marked=session.recall(session.Key.FILTER_MARKED, ()),
            on_open=open_mask,
            on_mark=lambda ids: session.remember(session.Key.FILTER_MARKED, tuple(ids)),
            size=_SIZE,
            empty=empty,
            label=title,
        )


def _tile(candidates: Candidates, row: int, caption: str) -> Tile:
    mask_id, cluster = int(candidates.mask_ids[row]), int(candidates.signals.cluster[row])
    name = candidates.decisions_now.name_of(cluster)
    return Tile(
        mask_id,
        crop_url(candidates.run_view, mask_id),
        caption=caption,
        badge="" if name == f"cluster {cluster}" else name,
        color=colors.cluster_color(cluster),
        title=f"photo {candidates.photos[row]}, {name}, {caption}",
    )


def value_text(candidates: Candidates, row: int, signal: str) -> str:
    """A mask's value of a signal, for people, rounded towards what is dropped: 0.7999 must not read as 0.8."""
    value = float(getattr(candidates.signals, signal)[row])
    if np.isnan(value):
        return "not measured"
    thousandths = max(0, (floor if _DROPS_BELOW[signal] else ceil)(1000 * value))
    return f"{thousandths / 10:.1f}%" if signal in ("area", "border") else f"{thousandths / 1000:.3f}"


def _why_none_kept(result: FilterResult) -> str:
    if not result.kept.any():
        return "Every mask is dropped. Move a threshold back."
    return "This threshold decides on no mask here."


def _why_none_dropped(config: FilterConfig, field: str) -> str:
    if field != ALL and getattr(config, field) == threshold_of(field).neutral:
        return "This threshold is off. Drag its handle: the first masks that it drops appear here."
    return "Every mask that it drops here is dropped by another rule too."


def _draw_decisions(candidates: Candidates) -> None:
    marked = _marked(candidates)
    last = _last_step(candidates)
    for action, label, icon in ((Action.ACCEPT, "Accept", "check"), (Action.REJECT, "Reject", "close")):
        st.button(
            f"{label} {len(marked)}" if marked else label,
            icon=f":material/{icon}:",
            key=f"filter:{action}",
            disabled=not marked,
            help=f"Overrule the filter. {_HOW_TO_MARK}",
            on_click=_decide,
            args=(candidates.run_view, candidates.decisions_now.seen, marked, action),
        )
    st.button(
        "",
        icon=":material/undo:",
        key="filter:undo",
        disabled=last is None,
        help="Nothing to undo" if last is None else f"Undo: {widgets.escape(last.text)}",
        on_click=_undo,
        args=(candidates.run_view.run, None if last is None else last.id),
    )


def _draw_marks() -> None:
    st.caption(f"{_HOW_TO_MARK} Decisions are saved under the name {widgets.escape(selection.reviewer())}.")
    if session.recall(session.Key.FILTER_MARKED):
        st.button("Unmark all", key="filter:unmark", type="tertiary", on_click=_unmark)


def _marked(candidates: Candidates) -> list[int]:
    return [
        mask_id for mask_id in session.recall(session.Key.FILTER_MARKED, ()) if candidates.run_view.table.has(mask_id)
    ]


def _last_step(candidates: Candidates) -> decisions.Step | None:
    own = decisions.steps(candidates.run_view.run, reviewer=selection.reviewer(), scope=Scope.LABELS)
    return next((step for step in own if not step.undone), None)


def _undo(run: Run, step: int | None) -> None:
    widgets.attempt(lambda: decisions.undo(run, selection.reviewer(), scope=Scope.LABELS, expected=step))


def _unmark() -> None:
    session.remember(session.Key.FILTER_MARKED, ())


def _decide(run_view: RunView, seen: Seen, mask_ids: Sequence[int], action: Action) -> None:
    table = run_view.frame.iloc[run_view.table.rows_of(list(mask_ids))]
    columns = (table[name].tolist() for name in ("mask_id", "image_id", "x", "y", "w", "h"))
    marks = [Mark(id, image, tuple(box), action) for id, image, *box in zip(*columns, strict=True)]

    def decide() -> None:
        run = run_view.run
        _, written = decisions.decide_unless_changed(run, selection.reviewer(), marks, scope=Scope.LABELS, seen=seen)
        widgets.notify_left_alone(len(marks) - len(written))

    if widgets.attempt(decide):
        _unmark()
