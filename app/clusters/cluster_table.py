"""Component: the clusters in a table, each with its typical masks. A row selects, a box ticks, a name is edited."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from app import session
from app.clusters.cluster_stats import Line
from app.components._register import register
from app.images import colors, sent_images

_SHOWN = 6  # crops of a cluster
_component = register(
    __file__, '<div class="frame"><table></table></div>', shared=("components/_layers.js", "images/sent_images.js")
)


def cluster_table(
    lines: Sequence[Line],
    *,
    crop: Callable[[int], str],
    truth_name: Callable[[int], str] | None,
    ticked: Collection[int],
    chosen: Collection[int],
    key: str,
    on_act: Callable[[dict[str, Any]], None],
) -> None:
    """Draw the table.

    Args:
        lines: The clusters.
        crop: Data URL of a mask's crop, by its id.
        truth_name: Name of a ground-truth class; None where nothing is known of it.
        ticked: Numbers of the clusters whose boxes are ticked.
        chosen: Numbers of the clusters that are selected.
        key: Widget key.
        on_act: Gets what was done, before the next run: kind "select" with ``cluster`` and ``add``, "open" with
            ``mask``, "rename" with ``cluster`` and ``name``, or "tick" with all ``clusters`` that are ticked now.
    """

    def acted() -> None:
        act = session.component_value(key, "act")
        if act is not None:
            on_act(act)

    shown = [line.exemplars[:_SHOWN] for line in lines]
    names, new = sent_images.sent().pack(crop(mask_id) for ids in shown for mask_id in ids)
    left = iter(names)
    data = {
        "rows": [
            _row(line, [[mask_id, next(left)] for mask_id in ids], truth_name)
            for line, ids in zip(lines, shown, strict=True)
        ],
        "pictures": new,
        "ticked": sorted(ticked),
        "chosen": sorted(chosen),
        "hasKept": any(line.kept is not None for line in lines),
        "hasTruth": truth_name is not None,
    }
    _component(data=data, key=key, on_act_change=acted, on_missing_change=lambda: sent_images.send_again(key))


def _row(line: Line, crops: list[list[Any]], truth_name: Callable[[int], str] | None) -> dict[str, Any]:
    return {
        "cluster": line.cluster,
        "name": line.name,
        "given": line.given_name,
        "colour": colors.NONE if line.excluded else colors.cluster_colour(line.cluster),
        "excluded": line.excluded,
        "crops": crops,
        "size": line.size,
        "tightness": line.tightness,
        "kept": line.kept,
        "purity": line.purity,
        "truth": truth_name(line.truth) if truth_name is not None and line.truth >= 0 else "",
    }
