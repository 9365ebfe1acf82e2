"""Clusterings with another number of clusters or another seed: make, compare with the present one, adopt."""

import re
from collections.abc import Iterator
from functools import partial
from html import escape
from pathlib import Path

import streamlit as st

from app import selection, session, widgets
from app.clusters import alternatives_jobs, curve_panel, overlap_matrix
from app.clusters.alternatives import alternative_title, alternatives_of
from app.clusters.alternatives_stats import AlternativeStats, alternative_stats, current_stats, groups_of
from app.clusters.redraw import change_run
from app.components.image_grid import grouped_images
from app.images.crops import crop_url
from app.mask_detail.dialog import open_mask
from app.run_view import DecisionView, RunView
from maskdistill.clustering.alternatives import Alternative, AlternativeKey, check_key, delete_alternative, read_curve
from maskdistill.errors import ConfigError, MaskDistillError
from maskdistill.review import decisions

_MOST_SHOWN = 3  # alternatives beside the present clusters
_NUMBERS, _SHOWN = "clusters:numbers", "clusters:which alternatives"


def draw(run_view: RunView, decisions_now: DecisionView) -> None:
    """The form, the curve, and the alternatives side by side."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        _form(run_view)
    with right:
        curve_panel.draw(run_view, decisions_now)
    alternatives = list(alternatives_of(run_view).values())
    if not alternatives:
        st.info("No alternative clustering yet. Enter one or more numbers above; nothing changes until you adopt one.")
        return
    shown = _choose(alternatives)
    now = current_stats(run_view, decisions_now)
    beside = [alternative_stats(run_view, decisions_now, alternative) for alternative in shown]
    _cards(run_view, decisions_now, now, shown, beside)
    if beside:
        st.caption(
            "Each present cluster, the largest first, and where its masks are in the alternative: share of the present "
            "cluster · share of the alternative's cluster, pale below half. The map can be coloured by an alternative."
        )
        grouped_images(
            groups_of(now, beside, decisions_now, partial(crop_url, run_view)),
            key="clusters:beside",
            layout="table",
            columns=[stats.title for stats in (now, *beside)],
            on_open=open_mask,
        )
        overlap_matrix.draw(beside, decisions_now)


def _form(run_view: RunView) -> None:
    st.markdown("**Try other numbers of clusters**")
    st.caption("From the stored embeddings of all masks. The run's clusters do not change until you adopt one.")
    with st.form("clusters:try", border=False):
        numbers, seed, button = st.columns([3, 2, 2], vertical_alignment="bottom")
        default = ", ".join(str(number) for number in _suggested(run_view))
        text = numbers.text_input("Numbers of clusters", default, key=_NUMBERS)
        value = seed.number_input(
            "Seed", 0, 10_000, 0, key="clusters:seed", help="Another seed shows which clusters are due to chance"
        )
        submitted = button.form_submit_button("Try", type="primary", icon=":material/science:", width="stretch")
    if submitted:
        with widgets.show_errors():
            alternatives_jobs.start(run_view, parse_keys(text, int(value)))
            session.remember(session.Key.ALTERNATIVES, None)
    alternatives_jobs.follow(run_view.run)


def parse_keys(text: str, seed: int) -> list[AlternativeKey]:
    """Numbers of clusters as people type them.

    Raises:
        ConfigError: If there is none, or one is out of range.
    """
    parts = re.split(r"[\s,;]+", text.strip())
    if not all(re.fullmatch(r"\d{1,4}", part) for part in parts):
        raise ConfigError(f"Enter numbers of clusters, as 12, 15, 18; got '{text[:40]}'.")
    keys = [AlternativeKey(number, seed) for number in dict.fromkeys(map(int, parts))]
    for key in keys:
        check_key(key)
    return keys


def _suggested(run_view: RunView) -> list[int]:
    """The range that the curve suggests, else numbers around that of the run."""
    try:
        curve = read_curve(run_view.run)
    except MaskDistillError:
        curve = None  # the panel of the curve shows the error
    if curve is not None:
        return sorted({curve.plateau[0], curve.suggested, curve.plateau[1]})
    now = (run_view.clusters or {}).get("num_classes", 14)
    return sorted({max(2, round(now * factor)) for factor in (0.85, 1.15, 1.4)})


def _choose(alternatives: list[Alternative]) -> list[Alternative]:
    """Those on show: those chosen, else the first three."""
    by_name = {alternative.key.name: alternative for alternative in alternatives}
    recalled = session.recall(session.Key.ALTERNATIVES) or list(by_name)
    chosen = st.multiselect(
        "Compare with the present clusters",
        list(by_name),
        key=session.sync_widget(_SHOWN, [name for name in recalled if name in by_name][:_MOST_SHOWN]),
        format_func=lambda name: alternative_title(by_name[name]),
        max_selections=_MOST_SHOWN,
        on_change=lambda: session.remember(session.Key.ALTERNATIVES, session.widget_value(_SHOWN)),
    )
    return [by_name[name] for name in chosen]


def _cards(
    run_view: RunView,
    decisions_now: DecisionView,
    now: AlternativeStats,
    alternatives: list[Alternative],
    beside: list[AlternativeStats],
) -> None:
    st.html(Path(__file__).with_suffix(".css"))
    columns = st.columns(1 + _MOST_SHOWN, gap="small")
    with columns[0], st.container(border=True, height="stretch"):
        st.html(_card(now))
    for column, alternative, stats in zip(columns[1:], alternatives, beside, strict=False):
        with column, st.container(border=True, height="stretch"):
            st.html(_card(stats))
            with st.container(horizontal=True, gap="small"):
                if stats.comparison is not None and stats.comparison.agreement == 1:
                    st.caption(":material/check: In use", width="content")
                else:
                    _adopt_button(run_view, decisions_now, alternative)
                st.button(
                    "",
                    icon=":material/delete:",
                    key=f"clusters:delete:{alternative.key.name}",
                    type="tertiary",
                    help="Delete this clustering",
                    on_click=delete_alternative,
                    args=(run_view.run, alternative.key),
                )


def _adopt_button(run_view: RunView, decisions_now: DecisionView, alternative: Alternative) -> None:
    with st.popover(
        "Adopt", icon=":material/task_alt:", key=f"clusters:adopting:{alternative.key.name}:{decisions_now.version}"
    ):
        st.markdown(
            f"All later stages then learn from these **{alternative.key.num_classes} clusters**. Names, merges and "
            "splits of the present clusters no longer count. Undo restores them."
        )
        st.button(
            "Adopt it",
            type="primary",
            key=f"clusters:adopt:{alternative.key.name}",
            on_click=_adopt,
            args=(run_view, decisions_now, alternative),
        )


def _adopt(run_view: RunView, decisions_now: DecisionView, alternative: Alternative) -> None:
    ids = run_view.frame["mask_id"].to_numpy()[run_view.row_of_vector]
    clusters, key = alternative.cluster.tolist(), alternative.key
    selection.select(picked="", cluster=0)
    change_run(
        decisions.adopt,
        run_view.run,
        selection.reviewer(),
        ids.tolist(),
        clusters,
        key.num_classes,
        key.seed,
        seen=decisions_now.seen,
    )


def _card(stats: AlternativeStats) -> str:
    largest = max(stats.sizes.values(), default=1)
    bars = "".join(f'<i style="height:{100 * size / largest:.0f}%"></i>' for size in stats.sizes.values())
    rows = "".join(
        f'<div title="{escape(help_text)}"><span>{escape(name)}</span><b>{escape(value)}</b></div>'
        for name, value, help_text in _figures(stats)
    )
    return f'<div class="alternative"><h5>{escape(stats.title)}</h5><div class="sizes">{bars}</div>{rows}</div>'


def _figures(stats: AlternativeStats) -> Iterator[tuple[str, str, str]]:
    """Name, value and explanation of what is known of a clustering."""
    sizes = list(stats.sizes.values()) or [0]
    yield "Sizes", f"{sizes[0]:,} to {sizes[-1]:,}", "masks of the largest and of the smallest cluster"
    if stats.comparison is not None:
        agreement, overlap = stats.comparison.agreement, stats.comparison.overlap
        yield "Agreement", f"{agreement:.2f}", "adjusted Rand index with the present clusters: 1 if equal, 0 by chance"
        yield "Same cluster", f"{overlap:.0%}", "share of the masks in clusters that are matched one to one"
    if stats.stability is not None:
        yield "Stability", f"{stats.stability:.2f}", "mean agreement with the many clusterings it was made from"
    if stats.truth is not None:
        help_text = "normalized mutual information with ground truth; for reporting only"
        yield "Truth (report only)", f"{stats.truth:.2f}", help_text
