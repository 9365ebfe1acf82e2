"""The selected masks: how many, what they have in common, their crops, and what can be done with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import streamlit as st

from app import selection, session, widgets
from app.clusters import mask_selection, relabel_panel
from app.clusters.cluster_stats import ClusterStats, read_cluster_stats
from app.clusters.redraw import Part, change_selection
from app.clusters.summary import as_html, summarize
from app.components.image_grid import Tile, image_grid, paged
from app.images.crops import crop_url
from app.mask_detail.dialog import open_mask
from app.run_view import DecisionView, RunView, decision_view, read_run_view
from maskdistill.pictures import colors
from maskdistill.storage.run_folder import Run

_PER_PAGE = 32
_HEIGHT = 480  # pixels of the crops; more scroll
_FEW = 12  # crops that need no scrolling
_CROP = 84  # least side, CSS pixels
_BADGES = {1: "✓", 2: "✕", 3: "→"}  # accepted, rejected, relabelled
_ORDERS = {
    "centre": "Nearest to the centre",
    "border": "Nearest to another cluster",
    "belief": "Lowest score",
    "photo": "By photo",
    "random": "Random",
}


@st.fragment(key=Part.SELECTION)
@widgets.show_errors()
def draw(run: Run) -> None:
    """The selection of the link."""
    run_view = read_run_view(run)
    decisions_now = decision_view(run_view)
    selected = mask_selection.current(run_view, decisions_now)
    on_map = replace(selected, rows=selected.rows[run_view.frame["vector"].to_numpy()[selected.rows] >= 0])
    num_off_map = len(selected.rows) - len(on_map.rows)
    st.html(Path(__file__).with_suffix(".css"))
    if len(on_map.rows):
        _draw_selection(run_view, decisions_now, on_map, num_off_map)
    else:
        _say_how_to_select(num_off_map)
    selection.write_link()


def _draw_selection(
    run_view: RunView, decisions_now: DecisionView, selected: mask_selection.SelectedMasks, num_off_map: int
) -> None:
    _head(run_view, decisions_now, selected, num_off_map)
    ids = run_view.frame["mask_id"].to_numpy()[selected.rows]
    marks = _marked(selected.text)
    marked = np.intersect1d(marks, ids).astype(np.int64).tolist() if marks else []
    relabel_panel.draw(run_view, decisions_now, np.array(marked) if marked else ids)
    _crops(run_view, decisions_now, selected, marked)


def _marked(text: str) -> list[int]:
    """Ids of the masks that are marked among those selected; another selection begins without."""
    owner, marked = session.recall(session.Key.MARKED, ("", []))
    return marked if owner == text else []


def _say_how_to_select(num_off_map: int) -> None:
    st.subheader("Nothing is selected")
    if num_off_map:
        st.caption(f"{_count(num_off_map, 'selected mask')} not on the map: only stage 1 found these objects.")
    st.markdown(
        "Draw around masks on the map with the **lasso**, drag a **box** over them, or click a cluster in the legend "
        "or in the table below. Click a point to open its mask."
    )


def _head(
    run_view: RunView, decisions_now: DecisionView, selected: mask_selection.SelectedMasks, num_off_map: int
) -> None:
    summary = summarize(run_view, decisions_now, selected.rows)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        masks, photos = _count(summary.num_masks, "mask"), _count(summary.num_photos, "photo")
        st.subheader(f"{masks} on {photos}", anchor=False, width="content")
        st.button("Clear", icon=":material/close:", key="clusters:clear", type="tertiary", on_click=_clear)
    st.html(as_html(summary, decisions_now.name_of))
    if num_off_map:
        st.caption(f"{_count(num_off_map, 'more mask')} not on the map: only stage 1 found these objects.")


def _clear() -> None:
    change_selection(mask_selection.clear)


def _crops(
    run_view: RunView, decisions_now: DecisionView, selected: mask_selection.SelectedMasks, marked: list[int]
) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        order = selection.option(selection.Option.CROPS, "centre", _ORDERS)
        st.selectbox(
            "Sorted",
            list(_ORDERS),
            key=session.sync_widget("clusters:crops", order),
            format_func=_ORDERS.__getitem__,
            on_change=lambda: selection.set_option(selection.Option.CROPS, session.widget_value("clusters:crops")),
            width=200,
            label_visibility="collapsed",
        )
        _mark_buttons(selected, marked)
    rows = sort_rows(order, run_view, read_cluster_stats(run_view, decisions_now), selected.rows)
    ids = run_view.frame["mask_id"].to_numpy()[rows]
    shown = paged(ids, key=f"clusters:page:{hash((selected.text, order))}", per_page=_PER_PAGE)
    with st.container(height=_HEIGHT, border=False) if len(shown) > _FEW else st.container():
        image_grid(
            _tiles(run_view, decisions_now, shown),
            key="clusters:crops-grid",
            marked=marked,
            on_open=open_mask,
            on_mark=lambda marks: _mark(selected.text, marks),
            size=_CROP,
            label="Selected masks",
        )


def _mark_buttons(selected: mask_selection.SelectedMasks, marked: list[int]) -> None:
    if marked:
        st.button(
            f"Unmark {len(marked):,}", key="clusters:unmark", type="tertiary", on_click=_mark, args=(selected.text, [])
        )
    else:
        st.caption("Ctrl-click marks some", width="content")


def _mark(text: str, marks: list[int]) -> None:
    session.remember(session.Key.MARKED, (text, marks))


def sort_rows(order: str, run_view: RunView, stats: ClusterStats, rows: np.ndarray) -> np.ndarray:
    """Rows of the table in an order of ``_ORDERS``; those without the value come last."""
    frame = run_view.frame
    if order == "photo":
        return rows
    if order == "random":
        return np.random.default_rng(len(rows)).permutation(rows)
    score = np.where(frame["candidate"].to_numpy()[rows], frame["score"].to_numpy()[rows], np.nan)
    quality = frame["quality"].to_numpy()[rows]
    values = {"centre": stats.distance[rows], "border": stats.margin[rows]}.get(
        order, np.where(np.isnan(score), quality, score)
    )
    return rows[np.argsort(values, kind="stable")]


def _tiles(run_view: RunView, decisions_now: DecisionView, mask_ids: list[int]) -> list[Tile]:
    fields = mask_selection.selection_data(run_view, decisions_now).fields
    rows = run_view.table.rows_of(mask_ids)
    photos = run_view.frame["image_id"].to_numpy()[rows]
    described = zip(
        mask_ids, photos, *(fields[name][rows].tolist() for name in ("cluster", "kept", "decision")), strict=True
    )
    return [_tile(run_view, decisions_now, *each) for each in described]


def _tile(
    run_view: RunView, decisions_now: DecisionView, mask_id: int, photo: str, cluster: int, kept: int, decision: int
) -> Tile:
    name = decisions_now.name_of(cluster) if cluster else "left out"
    details = [f"mask {mask_id}", str(photo), name]
    details += [mask_selection.KEPT_LABELS[kept]] if kept else []
    details += [mask_selection.DECISION_LABELS[decision]] if decision else []
    return Tile(
        mask_id,
        crop_url(run_view, mask_id),
        caption=name,
        badge=_BADGES.get(decision, ""),
        color=colors.cluster_color(cluster),
        title=", ".join(details),
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
