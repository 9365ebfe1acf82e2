"""Component: the clusters in a table, each with its typical masks. A row selects, a box ticks, a name is edited.

Streamlit's own tables do not do this: ``st.data_editor`` edits a name but cannot say which crop or row was clicked,
``st.dataframe`` can but edits nothing; neither colors a cluster, strikes out an excluded one, or marks the selected
ones. They also hold the crops in the data, so that a changed name sends all of them again.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from app import session
from app.clusters.cluster_stats import ClusterRow
from app.components._register import register
from app.images import sent_images
from maskdistill.pictures import colors

_SHOWN = 6  # crops of a cluster
_component = register(
    __file__, '<div class="frame"><table></table></div>', shared=("components/_layers.js", "images/sent_images.js")
)


def cluster_table(
    rows: Sequence[ClusterRow],
    *,
    crop: Callable[[int], str],
    truth_name: Callable[[int], str] | None,
    ticked: Collection[int],
    selected: Collection[int],
    key: str,
    on_action: Callable[[dict[str, Any]], None],
) -> None:
    """Draw the table.

    Args:
        rows: The clusters.
        crop: Data URL of a mask's crop, by its id.
        truth_name: Name of a ground-truth class; None where nothing is known of it.
        ticked: Numbers of the clusters whose boxes are ticked.
        selected: Numbers of the clusters that are selected.
        key: Widget key.
        on_action: Gets what was done, before the next run: kind "select" with ``cluster`` and ``add``, "open" with
            ``mask``, "rename" with ``cluster`` and ``name``, or "tick" with all ``clusters`` that are ticked now.
    """

    def acted() -> None:
        action = session.component_value(key, "action")
        if action is not None:
            on_action(action)

    shown = [row.exemplars[:_SHOWN] for row in rows]
    names, new = sent_images.sent().pack(crop(mask_id) for ids in shown for mask_id in ids)
    name = iter(names)
    data = {
        "rows": [
            _row(row, [[mask_id, next(name)] for mask_id in ids], truth_name)
            for row, ids in zip(rows, shown, strict=True)
        ],
        "pictures": new,
        "ticked": sorted(ticked),
        "selected": sorted(selected),
        "hasKept": any(row.kept is not None for row in rows),
        "hasTruth": truth_name is not None,
        "hasCategory": any(row.category for row in rows),
    }
    _component(data=data, key=key, on_action_change=acted, on_missing_change=lambda: sent_images.send_again(key))


def _row(row: ClusterRow, crops: list[list[Any]], truth_name: Callable[[int], str] | None) -> dict[str, Any]:
    return {
        "cluster": row.cluster,
        "name": row.name,
        "given": row.given_name,
        "color": colors.NONE if row.excluded else colors.cluster_color(row.cluster),
        "excluded": row.excluded,
        "crops": crops,
        "size": row.size,
        "tightness": row.tightness,
        "kept": row.kept,
        "purity": row.purity,
        "category": row.category_share,
        "categoryName": row.category,
        "truth": truth_name(row.truth) if truth_name is not None and row.truth >= 0 else "",
    }
