"""The map and what stands above it: which map, which colours."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from app import mask_selection, selection, session
from app.clusters import umap_button
from app.clusters.colouring import colouring, modes
from app.clusters.redraw import Part, chosen_clusters, redraw_selection
from app.clusters.scatter import Known, hover_notes, scatter
from app.images.crops import crop_url
from app.mask_detail.dialog import open_mask
from app.run_view import Decided, Explorer, decided, explorer
from maskdistill.errors import MaskDistillError
from maskdistill.review.point_map import PointMap
from maskdistill.review.selections import box_text, ids_text, lasso_text, outlines
from maskdistill.storage.run_folder import Run

_KEY = "clusters:scatter"
_NAMES = {"umap": "UMAP", "pca": "PCA"}


@st.fragment(key=Part.MAP)
def draw(run: Run) -> None:
    """The map with its controls; the selection is drawn by another part."""
    found = explorer(run)
    done = decided(found)
    names = modes(found)
    mode = selection.option(selection.Option.COLOUR, "cluster", names)
    points = _controls(found, done, names, mode)
    chosen = mask_selection.current(found, done)
    selected = np.zeros(found.table.num_masks, bool)
    selected[chosen.rows] = True
    scatter(
        points,
        colouring(mode, found, done, points),
        text=chosen.text,
        selected=selected[points.rows],
        shapes=outlines(chosen.text, points),
        key=_KEY,
        on_act=partial(_act, found, done, points),
    )
    selection.write_link()


@st.fragment
def answer_hover(run: Run) -> None:
    """What shows beside the pointer; drawn apart, so that pointing at masks draws nothing else."""
    found = explorer(run)
    done = decided(found)
    points = shown_map(found, done)
    hover_notes(points, f"{points.stamp}:{done.version}", partial(_describe, found, done, points), key="clusters:hover")


def shown_map(found: Explorer, done: Decided) -> PointMap:
    """The map on show: UMAP where it was made, unless the other one is asked for."""
    maps = mask_selection.ground(found, done).maps
    return maps[selection.option(selection.Option.MAP, next(iter(maps)), maps)]


def _controls(found: Explorer, done: Decided, names: dict[str, str], mode: str) -> PointMap:
    maps = mask_selection.ground(found, done).maps
    points = shown_map(found, done)
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
                format_func=_NAMES.__getitem__,
                required=True,
                on_change=_choose_map,
                width="content",
            )
        else:
            umap_button.draw(found)
    return points


def _choose_map() -> None:
    selection.set_option(selection.Option.MAP, session.widget_value("clusters:which") or "")


def _act(found: Explorer, done: Decided, points: PointMap, act: dict[str, Any]) -> None:
    """What a hand did on the map."""
    kind, add = act.get("kind"), bool(act.get("add"))
    if kind == "click" and not add:
        open_mask(_mask_at(found, points, act["point"]))
    before = chosen_clusters()
    try:
        if kind == "clear":
            mask_selection.clear()
        elif kind == "click":
            mask_selection.pick(found, done, ids_text([_mask_at(found, points, act["point"])]), add=True)
        elif kind == "legend":
            mask_selection.pick(found, done, act["pick"], add=add)
        else:
            drawn = lasso_text if kind == "lasso" else box_text
            mask_selection.pick(found, done, drawn(points, act["corners"]), add=add)
    except MaskDistillError as error:
        session.notify(str(error))
    redraw_selection(before)


def _mask_at(found: Explorer, points: PointMap, point: int) -> int:
    return int(found.frame["mask_id"].iat[points.rows[int(point)]])


def _describe(found: Explorer, done: Decided, points: PointMap, numbers: Sequence[int]) -> list[Known]:
    return [_known(found, done, int(points.rows[number]), number) for number in numbers]


def _known(found: Explorer, done: Decided, row: int, point: int) -> Known:
    frame, cluster = found.frame, int(mask_selection.members(found, done)[row])
    mask_id = int(frame["mask_id"].iat[row])
    lines = [str(frame["image_id"].iat[row]), done.name_of(cluster) if cluster else "left out"]
    lines.append(f"proposal {frame['quality'].iat[row]:.2f}")
    if frame["candidate"].iat[row]:
        lines[-1] += f", score {frame['score'].iat[row]:.2f}"
    fields = mask_selection.ground(found, done).fields
    words = [mask_selection.KEPT_WORDS[fields["kept"][row]], mask_selection.DECISION_WORDS[fields["decision"][row]]]
    lines.append(", ".join(word for word in words if word not in ("not judged", "undecided")))
    return Known(point, f"Mask {mask_id}", tuple(filter(None, lines)), crop_url(found, mask_id))
