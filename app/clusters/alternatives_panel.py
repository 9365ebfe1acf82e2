"""Another number of clusters, or another seed: tried, compared with what is now, and adopted if it is better."""

import re
from html import escape
from pathlib import Path

import streamlit as st

from app import selection, session, widgets
from app.clusters.alternatives import alternatives_of, trial_title
from app.clusters import alternatives_jobs, curve_panel, flow_chart
from app.clusters.alternatives_stats import Facts, facts_now, facts_of, rows_of
from app.clusters.side_by_side import side_by_side
from app.clusters.undo_buttons import tell
from app.images.crops import crop_url
from app.mask_detail.dialog import open_mask
from app.run_view import DecisionView, RunView
from maskdistill.clustering.alternatives import Alternative, AlternativeKey, check_key, delete_alternative, read_curve
from maskdistill.errors import ConfigError, MaskDistillError
from maskdistill.review import decisions

_MOST_SHOWN = 3  # trials beside what is now


def draw(run_view: RunView, decisions_now: DecisionView) -> None:
    """The form, the trials side by side, and the curve."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        _form(run_view)
    with right:
        curve_panel.draw(run_view, decisions_now)
    try:
        trials = list(alternatives_of(run_view).values())
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    if not trials:
        st.info(
            "No other clustering was tried yet. Enter one or more numbers above; nothing changes until you adopt one."
        )
        return
    shown = _choose(trials)
    now = facts_now(run_view, decisions_now)
    beside = [facts_of(run_view, decisions_now, trial) for trial in shown]
    _cards(run_view, decisions_now, now, shown, beside)
    if beside:
        st.caption(
            "What became of each cluster, the largest first: how much of it lies in a cluster of the trial · how much "
            "of that one it makes up. Pale where it is less than half. The map can be coloured by a trial."
        )
        side_by_side(
            [facts.title for facts in (now, *beside)],
            rows_of(now, beside, decisions_now),
            crop=lambda mask_id: crop_url(run_view, mask_id),
            key="clusters:beside",
            on_open=open_mask,
        )
        flow_chart.draw(now, beside, decisions_now)


def _form(run_view: RunView) -> None:
    st.markdown("**Try other numbers of clusters**")
    st.caption("On the stored embeddings of all masks. The run's clusters stay as they are until you adopt a trial.")
    with st.form("clusters:try", border=False):
        numbers, seed, button = st.columns([3, 2, 2], vertical_alignment="bottom")
        default = ", ".join(str(number) for number in _suggested(run_view))
        text = numbers.text_input("Numbers of clusters", default, key="clusters:numbers")
        value = seed.number_input("Seed", 0, 10_000, 0, key="clusters:seed", help="Another seed shows what is chance")
        wanted = button.form_submit_button("Try", type="primary", icon=":material/science:", width="stretch")
    if wanted:
        try:
            alternatives_jobs.start(run_view, parse_keys(text, int(value)))
        except MaskDistillError as error:
            st.error(widgets.escape(str(error)))
        else:
            session.remember(session.Key.ALTERNATIVES, None)
    alternatives_jobs.follow(run_view.run)


def parse_keys(text: str, seed: int) -> list[AlternativeKey]:
    """Numbers of clusters as people type them.

    Raises:
        ConfigError: If there is none, or one is out of range.
    """
    parts = re.split(r"[\s,;]+", text.strip())
    if not all(re.fullmatch(r"\d{1,4}", part) for part in parts):
        raise ConfigError(f"Numbers of clusters are wanted, as 12, 15, 18; got '{text[:40]}'.")
    keys = [AlternativeKey(number, seed) for number in dict.fromkeys(map(int, parts))]
    for key in keys:
        check_key(key)
    return keys


def _suggested(run_view: RunView) -> list[int]:
    """What to begin with: the range that the curve suggests, else some around the number there is."""
    try:
        curve = read_curve(run_view.run)
    except MaskDistillError:
        curve = None  # the curve's own place says what is wrong
    if curve is not None:
        return sorted({curve.plateau[0], curve.suggested, curve.plateau[1]})
    now = (run_view.clusters or {}).get("num_classes", 14)
    return sorted({max(2, round(now * factor)) for factor in (0.85, 1.15, 1.4)})


def _choose(trials: list[Alternative]) -> list[Alternative]:
    """The trials on show: those chosen, else the first three."""
    names = {trial.key.name: trial for trial in trials}
    kept = [name for name in session.recall(session.Key.ALTERNATIVES) or list(names) if name in names][:_MOST_SHOWN]
    chosen = st.multiselect(
        "Compare with what is now",
        list(names),
        key=session.sync_widget("clusters:which trials", kept),
        format_func=lambda name: trial_title(names[name]),
        max_selections=_MOST_SHOWN,
        on_change=lambda: session.remember(session.Key.ALTERNATIVES, session.widget_value("clusters:which trials")),
    )
    return [names[name] for name in chosen]


def _cards(
    run_view: RunView, decisions_now: DecisionView, now: Facts, trials: list[Alternative], beside: list[Facts]
) -> None:
    st.html(Path(__file__).with_suffix(".css"))
    columns = st.columns(1 + _MOST_SHOWN, gap="small")
    with columns[0], st.container(border=True, height="stretch"):
        st.html(_card(now))
    for column, trial, facts in zip(columns[1:], trials, beside, strict=False):
        with column, st.container(border=True, height="stretch"):
            st.html(_card(facts))
            with st.container(horizontal=True, gap="small"):
                if facts.comparison is not None and facts.comparison.agreement == 1:
                    st.caption(":material/check: In use", width="content")
                else:
                    _adopt_button(run_view, decisions_now, trial)
                st.button(
                    "",
                    icon=":material/delete:",
                    key=f"clusters:delete:{trial.key.name}",
                    type="tertiary",
                    help="Let this trial go",
                    on_click=delete_alternative,
                    args=(run_view.run, trial.key),
                )


def _adopt_button(run_view: RunView, decisions_now: DecisionView, alternative: Alternative) -> None:
    with st.popover(
        "Adopt", icon=":material/task_alt:", key=f"clusters:adopting:{alternative.key.name}:{decisions_now.version}"
    ):
        st.markdown(
            f"All later stages learn from these **{alternative.key.num_classes} clusters**. Names, merges and "
            "splits of the present ones count no more. Undo brings them back."
        )
        st.button(
            "Adopt it",
            type="primary",
            key=f"clusters:adopt:{alternative.key.name}",
            on_click=_adopt,
            args=(run_view, alternative),
        )


def _adopt(run_view: RunView, alternative: Alternative) -> None:
    ids = run_view.frame["mask_id"].to_numpy()[run_view.row_of_vector]
    clusters, key = alternative.cluster.tolist(), alternative.key
    selection.select(picked="", cluster=0)
    tell(decisions.adopt, run_view.run, selection.reviewer(), ids.tolist(), clusters, key.num_classes, key.seed)


def _card(facts: Facts) -> str:
    largest = max(facts.sizes.values(), default=1)
    bars = "".join(f'<i style="height:{100 * size / largest:.0f}%"></i>' for size in facts.sizes.values())
    sizes = list(facts.sizes.values()) or [0]
    lines = [("Sizes", f"{sizes[0]:,} to {sizes[-1]:,}", "masks of the largest and of the smallest cluster")]
    if facts.comparison is not None:
        help_text = "adjusted Rand index with the clusters of now: 1 equal, 0 by chance"
        lines.append(("Agreement with now", f"{facts.comparison.agreement:.2f}", help_text))
        matched = "share of the masks in clusters that are matched one to one"
        lines.append(("Same cluster as now", f"{facts.comparison.overlap:.0%}", matched))
    if facts.stability is not None:
        stable = "mean agreement of the clusters with the many runs they were made from: higher is surer"
        lines.append(("Stability", f"{facts.stability:.2f}", stable))
    if facts.truth is not None:
        reported = "normalised mutual information with ground truth; for reporting only"
        lines.append(("Truth (report only)", f"{facts.truth:.2f}", reported))
    rows = "".join(
        f'<div title="{escape(told)}"><span>{escape(name)}</span><b>{escape(value)}</b></div>'
        for name, value, told in lines
    )
    return f'<div class="trial"><h5>{escape(facts.title)}</h5><div class="sizes">{bars}</div>{rows}</div>'
