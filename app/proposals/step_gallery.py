"""Component: the pictures of a derivation in a grid; a click shows one large."""

from dataclasses import dataclass

from app import photo_cache
from app.components._register import register
from maskdistill.datasets import Photo
from maskdistill.datasets.transforms import PatchGeometry
from maskdistill.pictures import colors, drawing
from maskdistill.pictures.derivation import DerivationStep

_PHOTO_SIDE = 640  # pixels, longest side of the photo beneath the maps
_HTML = """
<div class="gallery">
  <div class="head">
    <label class="bar">Photo beneath the maps <input class="beneath" type="range" min="0" max="80" value="25"></label>
  </div>
  <div class="sections"></div>
  <dialog><div class="page">
    <div class="large"></div><div class="caption"></div>
    <div class="turn"><button class="previous">← Back</button><span class="place"></span>
      <span><button class="next" autofocus>Next →</button> <button class="close">Close</button></span></div>
  </div></dialog>
</div>
"""

_component = register(__file__, _HTML, shared=("styles/slider.css",))


@dataclass(frozen=True)
class Section:
    """Steps that belong together."""

    title: str
    text: str
    steps: list[DerivationStep]
    min_width: int = 135  # CSS pixels of a picture


def step_gallery(photo: Photo, geometry: PatchGeometry, sections: list[Section], *, key: str) -> None:
    """Draw the steps of each section side by side."""
    fx, fy = geometry.padded_width / geometry.resized_width, geometry.padded_height / geometry.resized_height
    data = {
        "photo": photo_cache.photo_url(photo, _PHOTO_SIDE),
        "aspect": photo.width / photo.height,
        "grid": {"rows": geometry.rows, "cols": geometry.cols, "fx": fx, "fy": fy},
        "sections": [
            {
                "title": item.title,
                "text": item.text,
                "minWidth": item.min_width,
                "steps": [_step(step) for step in item.steps],
            }
            for item in sections
        ],
    }
    _component(data=data, key=key)


def _step(step: DerivationStep) -> dict[str, object]:
    return {
        "title": step.title,
        "caption": step.caption,
        "src": drawing.png_url(step.image),
        "onPatches": step.on_patches,
        "ends": None if step.ends is None else list(step.ends),
        "gradient": colors.css_gradient(step.scale),
        "mark": None if step.mark is None else list(step.mark),
    }
