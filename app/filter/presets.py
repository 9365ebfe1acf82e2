"""Thresholds under a name: loading, saving, comparing and deleting them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from app import session, widgets
from app.filter.data import Candidates, result_of, show
from maskdistill.config import FilterConfig, RunConfig
from maskdistill.errors import MaskDistillError
from maskdistill.pseudo_labels.filter import FilterResult
from maskdistill.pseudo_labels.filter_presets import (
    BUILT_IN,
    KIND,
    PresetResult,
    compare,
    describe,
    presets,
    save_preset,
)
from maskdistill.storage.run_folder import Run
from maskdistill.storage.saved_views import delete_view

SHOWN = "as shown"
_OWN = "unsaved thresholds"


def draw_choice(base: RunConfig, config: FilterConfig, known: Mapping[str, FilterConfig]) -> None:
    """The preset on show, and the choice of another."""
    name = next((name for name, preset in known.items() if preset == config), _OWN)
    key = session.sync_widget("filter:preset", name)

    def show_chosen() -> None:
        chosen = session.widget_value(key)
        if chosen in known:
            show(base, known[chosen])

    st.selectbox(
        "Preset",
        [*known, *([_OWN] if name == _OWN else [])],
        key=key,
        label_visibility="collapsed",
        width=230,
        on_change=show_chosen,
    )


def draw_saving(run: Run, config: FilterConfig, known: Mapping[str, FilterConfig]) -> None:
    """A name, and the button that saves the thresholds on show under it."""
    with st.popover("Save", icon=":material/bookmark_add:", help="Save these thresholds under a name"):
        key = session.Key.FILTER_NAME
        st.text_input("Name", key=key, placeholder="strict", max_chars=60)
        st.caption(widgets.escape(f"As shown: {describe(config)}."))
        st.button("Save preset", type="primary", key="filter:save", on_click=lambda: _save(run, config, key))
        for name, preset in known.items():
            if preset == config and name not in BUILT_IN:
                st.caption(f":material/check: Saved as {widgets.escape(name)}.")


def _save(run: Run, config: FilterConfig, key: str) -> None:
    name = session.widget_value(key)
    if widgets.attempt(lambda: save_preset(run, name, config)):
        session.put_widget(key, "")


def draw_table(
    candidates: Candidates,
    base: RunConfig,
    config: FilterConfig,
    result: FilterResult,
    known: Mapping[str, FilterConfig],
) -> None:
    """Every preset with what it keeps; chosen ones can be loaded, deleted and compared."""
    st.markdown("**Presets** :small[choose one to load or delete it, two or more to compare them]")
    configs = {SHOWN: config, **known}
    results = {SHOWN: result, **{name: result_of(candidates, preset) for name, preset in known.items()}}
    rows = compare(results, result)
    table = pd.DataFrame([_row(candidates, name, configs[name], kept) for name, kept in rows.items()])
    event = st.dataframe(
        table,
        hide_index=True,
        key="filter:presets",
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "Masks": st.column_config.NumberColumn(format="localized"),
            "Photos": st.column_config.NumberColumn(format="localized"),
            "Shared": st.column_config.ProgressColumn(
                "Shared with shown",
                help="Masks that both keep, as a share of those that either keeps",
                format="percent",
                min_value=0,
                max_value=1,
            ),
        },
    )
    names = list(configs)
    chosen = [names[row] for row in event.selection.rows if row < len(names)]
    if len(chosen) == 1:
        _draw_one(candidates.run_view.run, base, chosen[0], known)
    elif chosen:
        _draw_comparison(candidates, {name: results[name] for name in chosen})


def _row(candidates: Candidates, name: str, config: FilterConfig, kept: PresetResult) -> dict[str, str | int | float]:
    weakest = f"{kept.least:,} ({candidates.decisions_now.name_of(kept.weakest)})" if kept.weakest else ""
    return {
        "Preset": name,
        "Masks": kept.masks,
        "Photos": kept.photos,
        "Least in a cluster": weakest,
        "Clusters without": kept.empty,
        "Shared": kept.shared,
        "Thresholds": describe(config),
    }


def _draw_one(run: Run, base: RunConfig, name: str, known: Mapping[str, FilterConfig]) -> None:
    if name not in known:
        return
    with st.container(horizontal=True, gap="small"):
        st.button(
            f"Load {widgets.escape(name)}",
            key="filter:load",
            icon=":material/input:",
            on_click=lambda: show(base, known[name]),
        )
        if name not in BUILT_IN:
            st.button(
                f"Delete {widgets.escape(name)}",
                key="filter:delete",
                icon=":material/delete:",
                on_click=_delete,
                args=(run, name),
            )


def _delete(run: Run, name: str) -> None:
    widgets.attempt(lambda: delete_view(run, KIND, name))


def _draw_comparison(candidates: Candidates, results: Mapping[str, FilterResult]) -> None:
    """What each two share, and what each keeps of every cluster."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.caption("Masks that both keep, as a share of those that either keeps")
        kept = [result.kept for result in results.values()]
        st.dataframe(
            pd.DataFrame(_overlaps(kept), index=list(results), columns=list(results)).style.format("{:.0%}"),
            key="filter:overlaps",
        )
    with right:
        st.caption("Masks kept of each cluster")
        clusters = {name: result.clusters() for name, result in results.items()}
        of_each = {name: {id: count.kept for id, count in counts.items()} for name, counts in clusters.items()}
        table = pd.DataFrame(of_each)
        table.index = [candidates.decisions_now.name_of(cluster) for cluster in table.index]
        st.dataframe(table, key="filter:of clusters", height=240)


def _overlaps(kept: Sequence[np.ndarray]) -> np.ndarray:
    """(P, P) intersection over union of (N,) bool masks."""
    sets = np.array(kept, np.float64)
    both, sizes = sets @ sets.T, sets.sum(1)
    return both / np.maximum(sizes[:, None] + sizes[None, :] - both, 1)


def known_presets(run: Run, base: RunConfig) -> dict[str, FilterConfig]:
    """Every preset, the built-in ones first; those alone if the saved ones cannot be read, with a notice."""
    try:
        return presets(run, base.filter)
    except MaskDistillError as error:
        session.notify(str(error))
        return {}
