"""Component: a photo with its masks or an affinity map on it, scores below; a click on a patch comes back."""

from collections.abc import Callable
from typing import Any

from app import photo_cache
from app.components._register import register
from app.images import colors, drawing
from app.images.derivation import DerivationStep
from app.photo_cache import LiveProposals
from maskdistill.datasets import Photo
from maskdistill.proposals.propose import Proposal
from maskdistill.proposals.scoring import PART_HELP, PART_NAMES, WEIGHTS

_HTML = """
<div class="view">
  <div class="bar">
    <span class="choice" role="group" aria-label="What lies over the photo">
      <button class="to-masks" aria-pressed="true">Masks</button
      ><button class="to-map" aria-pressed="false">Affinity</button>
    </span>
    <label>Opacity <input class="opacity" type="range" min="0" max="100" value="45"></label>
    <label><input class="outline" type="checkbox" checked> Outline</label>
    <button class="hide" title="The bare photo, for as long as it is held">
      <span class="long">Hold to hide</span><span class="short">Hide</span> <kbd>H</kbd></button>
  </div>
  <div class="stage"><div class="frame" title="Click a patch to see what it is akin to">
    <img class="photo" alt=""><img class="map" alt=""><canvas></canvas>
    <div class="cell hover"></div><div class="cell chosen"></div>
    <div class="legend"><span>Affinity to the ringed patch</span><span class="low"></span><div class="ramp"></div>
      <span class="high"></span></div>
  </div></div>
  <div class="masks"></div>
</div>
"""

_component = register(__file__, _HTML, shared=("styles/toolbar.css", "components/_layers.js"))


def photo_view(
    photo: Photo,
    live: LiveProposals,
    affinity: DerivationStep | None,
    chosen: tuple[int, int] | None,
    *,
    key: str,
    max_height: int,
    on_click: Callable[[], None],
) -> None:
    """Draw the component.

    Args:
        photo: The photo.
        live: Its masks.
        affinity: Map that the toolbar's second choice shows, or None.
        chosen: Patch (row, col) that was clicked; a new one brings the map to the front.
        key: Widget key; the click is its trigger ``click`` with u, v in [0, 1] from the top left.
        max_height: CSS pixels.
        on_click: Called before the next run.
    """
    geometry = live.view.geometry
    fractions = {
        "fx": geometry.padded_width / geometry.resized_width,
        "fy": geometry.padded_height / geometry.resized_height,
    }
    data = {
        "src": photo_cache.photo_url(photo),
        "label": photo.id,
        "aspect": photo.width / photo.height,
        "maxHeight": max_height,
        "grid": {"rows": geometry.rows, "cols": geometry.cols, **fractions},
        "masks": [_mask_data(rank, item) for rank, item in enumerate(live.proposals.proposals)],
        "map": None if affinity is None else _map_data(affinity, fractions),
        "chosen": None if chosen is None else list(chosen),
    }
    _component(data=data, key=key, on_click_change=on_click)


def _mask_data(rank: int, proposal: Proposal) -> dict[str, Any]:
    colour = colors.mask_color(rank)
    return {
        "name": f"Mask {rank + 1}",
        "colour": colour,
        "src": drawing.png_url(drawing.mask_layer(proposal.mask, colour)),
        "score": f"{proposal.score:.2f}",
        "parts": [
            {"name": PART_NAMES[name], "value": value, "help": f"{PART_HELP[name]} (weight {WEIGHTS[name]:g})"}
            for name, value in proposal.parts.items()
        ],
    }


def _map_data(step: DerivationStep, fractions: dict[str, float]) -> dict[str, Any]:
    return {
        "src": drawing.png_url(step.image),
        "patch": None if step.mark is None else list(step.mark),
        "ends": list(step.ends or ("", "")),
        "gradient": colors.css_gradient(step.scale),
        **fractions,
    }
