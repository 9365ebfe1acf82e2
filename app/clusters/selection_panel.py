"""What is selected: how many, what they share, their crops, and what can be done with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import streamlit as st

from app import selection, session
from app.clusters import mask_selection, relabel_panel
from app.clusters.cluster_stats import ClusterStats, book
from app.clusters.redraw import Part, chosen_clusters, redraw_selection
from app.clusters.summary import as_html, summarise
from app.components.crop_grid import Tile, crop_grid, paged
from app.images import colors
from app.images.crops import crop_url
from app.mask_detail.dialog import open_mask
from app.run_view import DecisionView, RunView, decision_view, read_run_view
from maskdistill.storage.run_folder import Run

_PER_PAGE = 32
_HEIGHT = 480  # pixels of the crops; more scroll
_FEW = 12  # crops that need no scrolling
_BADGES = {1: "✓", 2: "✕", 3: "→"}  # accepted, rejected, relabelled
_ORDERS = {
    "centre": "Nearest to the centre",
    "border": "Least sure of their cluster",
    "belief": "Lowest score",
    "photo": "By photo",
    "random": "At random",
}


@st.fragment(key=Part.CHOSEN)
def draw(run: Run) -> None:
    """The selection of the link."""
    run_view = read_run_view(run)
    decisions_now = decision_view(run_view)
    everything = mask_selection.current(run_view, decisions_now)
    chosen = replace(everything, rows=everything.rows[run_view.frame["vector"].to_numpy()[everything.rows] >= 0])
    unseen = len(everything.rows) - len(chosen.rows)
    st.html(Path(__file__).with_suffix(".css"))
    if not len(chosen.rows):
        _ask(unseen)
        selection.write_link()
        return
    _head(run_view, decisions_now, chosen, unseen)
    ids = run_view.frame["mask_id"].to_numpy()[chosen.rows]
    marked = np.intersect1d(marks(chosen.text), ids).astype(np.int64).tolist()
    relabel_panel.draw(run_view, decisions_now, np.array(marked) if marked else ids)
    _crops(run_view, decisions_now, chosen, marked)
    selection.write_link()


def marks(text: str) -> list[int]:
    """Ids of the masks that are marked among those selected; another selection begins without."""
    owner, found = session.recall(session.Key.MARKED, ("", []))
    return found if owner == text else []


def _ask(unseen: int) -> None:
    st.subheader("Nothing is selected")
    if unseen:
        st.caption(f"The selection of {_count(unseen, 'mask')} holds none of the map: stage 1 alone saw objects there.")
    st.markdown(
        "Draw around masks on the map with the **lasso**, drag a **box** over them, or click a cluster in the legend "
        "or in the table below. A click on a point opens that mask."
    )


def _head(run_view: RunView, decisions_now: DecisionView, chosen: mask_selection.SelectedMasks, unseen: int) -> None:
    told = summarise(run_view, decisions_now, chosen.rows)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        masks, photos = _count(told.num_masks, "mask"), _count(told.num_photos, "photo")
        st.subheader(f"{masks} on {photos}", anchor=False, width="content")
        st.button("Clear", icon=":material/close:", key="clusters:clear", type="tertiary", on_click=_clear)
    st.html(as_html(told, decisions_now.name_of))
    if unseen:
        st.caption(f"{unseen:,} more, seen by stage 1 alone, are not on the map.")


def _clear() -> None:
    before = chosen_clusters()
    mask_selection.clear()
    redraw_selection(before)


def _crops(
    run_view: RunView, decisions_now: DecisionView, chosen: mask_selection.SelectedMasks, marked: list[int]
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
        _mark_buttons(run_view, chosen, marked)
    rows = sort_rows(order, run_view, book(run_view, decisions_now), chosen.rows)
    ids = run_view.frame["mask_id"].to_numpy()[rows]
    shown = paged(ids, key=f"clusters:page:{hash((chosen.text, order))}", per_page=_PER_PAGE)
    with st.container(height=_HEIGHT, border=False) if len(shown) > _FEW else st.container():
        crop_grid(
            _tiles(run_view, decisions_now, shown),
            key="clusters:crops-grid",
            marked=marked,
            on_open=open_mask,
            on_mark=lambda marks: _mark(chosen.text, marks),
            size=84,
            label="Selected masks",
        )


def _mark_buttons(run_view: RunView, chosen: mask_selection.SelectedMasks, marked: list[int]) -> None:
    if marked:
        st.button(
            f"Unmark {len(marked):,}", key="clusters:unmark", type="tertiary", on_click=_mark, args=(chosen.text, [])
        )
    else:
        st.caption("Ctrl-click marks some", width="content")


def _mark(text: str, marks: list[int]) -> None:
    session.remember(session.Key.MARKED, (text, marks))


def sort_rows(order: str, run_view: RunView, told: ClusterStats, rows: np.ndarray) -> np.ndarray:
    """Rows of the table in an order of ``_ORDERS``; those without the value come last."""
    frame = run_view.frame
    if order == "photo":
        return rows
    if order == "random":
        return np.random.default_rng(len(rows)).permutation(rows)
    belief = np.where(frame["candidate"].to_numpy()[rows], frame["score"].to_numpy()[rows], np.nan)
    quality = frame["quality"].to_numpy()[rows]
    values = {"centre": told.distance[rows], "border": told.margin[rows]}.get(
        order, np.where(np.isnan(belief), quality, belief)
    )
    return rows[np.argsort(values, kind="stable")]


def _tiles(run_view: RunView, decisions_now: DecisionView, mask_ids: list[int]) -> list[Tile]:
    fields = mask_selection.selection_data(run_view, decisions_now).fields
    rows = run_view.table.rows_of(mask_ids)
    photos = run_view.frame["image_id"].to_numpy()[rows]
    told = zip(
        mask_ids, photos, *(fields[name][rows].tolist() for name in ("cluster", "kept", "decision")), strict=True
    )
    return [_tile(run_view, decisions_now, *each) for each in told]


def _tile(
    run_view: RunView, decisions_now: DecisionView, mask_id: int, photo: str, cluster: int, kept: int, decision: int
) -> Tile:
    name = decisions_now.name_of(cluster) if cluster else "left out"
    words = [f"mask {mask_id}", str(photo), name]
    words += [mask_selection.KEPT_WORDS[kept]] if kept else []
    words += [mask_selection.DECISION_WORDS[decision]] if decision else []
    return Tile(
        mask_id,
        crop_url(run_view, mask_id),
        caption=name,
        badge=_BADGES.get(decision, ""),
        tone="colour",
        colour=colors.cluster_colour(cluster),
        title=", ".join(words),
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
