"""The map of the masks, and above it the choice of the map and of its colors."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from app import selection, session, widgets
from app.clusters import mask_selection, umap_button
from app.clusters.coloring import coloring, modes
from app.clusters.redraw import Part, change_selection
from app.clusters.scatter import PointNote, hover_notes, scatter
from app.images.crops import crop_url
from app.mask_detail.dialog import open_mask
from app.run_context import run_config
from app.run_view import DecisionView, RunView, decision_view, read_run_view
from maskdistill.review.point_map import PointMap
from maskdistill.review.selections import box_text, ids_text, lasso_text, outlines
from maskdistill.storage.run_folder import Run

_KEY = "clusters:scatter"
_MAPS = {"umap": "UMAP", "pca": "PCA"}


@st.fragment(key=Part.MAP)
@widgets.show_errors()
def draw(run: Run) -> None:
    """The map with its controls; the selection is drawn by another part."""
    run_view = read_run_view(run)
    decisions_now = decision_view(run_view)
    names = modes(run_view)
    mode = selection.option(selection.Option.COLOUR, "cluster", names)
    points = _controls(run_view, decisions_now, names, mode)
    chosen = mask_selection.current(run_view, decisions_now)
    selected = np.zeros(run_view.table.num_masks, bool)
    selected[chosen.rows] = True
    scatter(
        points,
        coloring(mode, run_view, decisions_now, points),
        text=chosen.text,
        selected=selected[points.rows],
        shapes=outlines(chosen.text, points),
        key=_KEY,
        on_action=partial(_act, run_view, decisions_now, points),
    )
    selection.write_link()


@st.fragment
@widgets.show_errors()
def answer_hover(run: Run) -> None:
    """What shows beside the pointer; a fragment of its own, so that pointing at masks draws nothing else."""
    run_view = read_run_view(run)
    decisions_now = decision_view(run_view)
    points = shown_map(run_view, decisions_now)
    hover_notes(
        points,
        f"{points.stamp}:{decisions_now.version}",
        partial(_describe, run_view, decisions_now, points),
        key="clusters:hover",
    )


def shown_map(run_view: RunView, decisions_now: DecisionView) -> PointMap:
    """The map on show: UMAP where it was made, unless the other one is asked for."""
    maps = mask_selection.selection_data(run_view, decisions_now).maps
    return maps[selection.option(selection.Option.MAP, next(iter(maps)), maps)]


def _controls(run_view: RunView, decisions_now: DecisionView, names: dict[str, str], mode: str) -> PointMap:
    maps = mask_selection.selection_data(run_view, decisions_now).maps
    points = shown_map(run_view, decisions_now)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.selectbox(
            "Colour by",
            list(names),
            key=session.sync_widget("clusters:colour", mode),
            format_func=names.__getitem__,
            on_change=lambda: selection.set_option(selection.Option.COLOUR, session.widget_value("clusters:colour")),
            width=190,
        )
        if len(maps) > 1:
            st.segmented_control(
                "Map",
                list(maps),
                key=session.sync_widget("clusters:which", points.name),
                format_func=_MAPS.__getitem__,
                required=True,
                on_change=_choose_map,
                width="content",
            )
        else:
            umap_button.draw(run_view)
    most = run_config(run_view.run.info()).projection.most_unfolded
    if points.name == "umap" and len(points.rows) > most:
        st.caption(f"The map is made of {most:,} masks, as many of each cluster; the others are placed among them.")
    return points


def _choose_map() -> None:
    selection.set_option(selection.Option.MAP, session.widget_value("clusters:which") or "")


def _act(run_view: RunView, decisions_now: DecisionView, points: PointMap, action: dict[str, Any]) -> None:
    """What was done on the map."""
    kind, add = str(action.get("kind")), bool(action.get("add"))
    if kind == "click" and not add:
        open_mask(_mask_at(run_view, points, action["point"]))
        return
    change_selection(lambda: _select(run_view, decisions_now, points, kind, action, add))


def _select(
    run_view: RunView, decisions_now: DecisionView, points: PointMap, kind: str, action: dict[str, Any], add: bool
) -> None:
    if kind == "clear":
        mask_selection.clear()
        return
    if kind == "click":
        text = ids_text([_mask_at(run_view, points, action["point"])])
    elif kind == "legend":
        text = action["selection"]
    else:
        text = (lasso_text if kind == "lasso" else box_text)(points, action["corners"])
    mask_selection.select_masks(run_view, decisions_now, text, add=add)


def _mask_at(run_view: RunView, points: PointMap, point: int) -> int:
    return int(run_view.frame["mask_id"].to_numpy()[points.rows[int(point)]])


def _describe(
    run_view: RunView, decisions_now: DecisionView, points: PointMap, numbers: Sequence[int]
) -> list[PointNote]:
    return [_note(run_view, decisions_now, int(points.rows[number]), number) for number in numbers]


def _note(run_view: RunView, decisions_now: DecisionView, row: int, point: int) -> PointNote:
    frame, cluster = run_view.frame, int(mask_selection.clusters_of_masks(run_view, decisions_now)[row])
    mask_id = int(frame["mask_id"].to_numpy()[row])
    lines = [str(frame["image_id"].iat[row]), decisions_now.name_of(cluster) if cluster else "left out"]
    lines.append(f"proposal {frame['quality'].iat[row]:.2f}")
    if frame["candidate"].iat[row]:
        lines[-1] += f", score {frame['score'].iat[row]:.2f}"
    fields = mask_selection.selection_data(run_view, decisions_now).fields
    labels = [mask_selection.KEPT_LABELS[fields["kept"][row]], mask_selection.DECISION_LABELS[fields["decision"][row]]]
    lines.append(", ".join(label for label in labels if label not in ("not judged", "undecided")))
    return PointNote(point, f"Mask {mask_id}", tuple(filter(None, lines)), crop_url(run_view, mask_id))
