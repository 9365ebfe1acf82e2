"""Component: the one large picture of a step, with what lies over the photo, and its slider below."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from app import photo_cache, session
from app.components._register import register
from app.images import colors, drawing, sent_images
from app.images.derivation import DerivationStep, Patch
from maskdistill.datasets import Photo
from maskdistill.datasets.transforms import PatchGeometry

SIDE = 1280  # pixels, longer side of the photo beneath at most
_HTML = """
<div class="scene">
  <div class="frame">
    <img class="photo" alt=""><div class="layers"></div><div class="lines"></div>
    <div class="cell hover"></div><div class="cell ring"></div><div class="tags"></div>
    <div class="divider"><i></i></div><span class="side left"></span><span class="side right"></span>
    <div class="legend"></div>
  </div>
  <div class="bar">
    <button class="play" type="button">Play</button><label></label>
    <input type="range"><output></output>
  </div>
</div>
"""

_component = register(__file__, _HTML, shared=("images/sent_images.js",))


@dataclass(frozen=True)
class Layer:
    """A picture over the whole photo, or over its patches."""

    src: str  # data URL
    opacity: float = 1.0
    on_patches: bool = False
    smooth: bool = True  # False shows each pixel as a square

    @classmethod
    def of_step(cls, step: DerivationStep, opacity: float) -> "Layer":
        """A picture of a derivation."""
        return cls(drawing.png_url(step.image), opacity, step.on_patches, smooth=False)

    @classmethod
    def of_image(cls, image: Image.Image, opacity: float = 1.0, *, smooth: bool = True) -> "Layer":
        """A picture of the photo's aspect."""
        return cls(drawing.png_url(image), opacity, smooth=smooth)


@dataclass(frozen=True)
class Tag:
    """A few words on the picture, about what is there."""

    u: float  # fraction of the width
    v: float  # fraction of the height
    text: str
    colour: str  # #RRGGBB
    out: bool = False  # struck through


@dataclass(frozen=True)
class Slider:
    """The control below the picture."""

    label: str
    low: float
    high: float
    step: float
    value: float
    digits: int = 0
    live: bool = True  # tells the server while it is moved; else when it is let go
    name: str = ""  # for screen readers, where the label is a sign


@dataclass(frozen=True)
class Frame:
    """What the picture shows at one place of the slider, without asking the server."""

    src: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that is seen."""

    photo: Photo
    alt: str  # what the picture shows, for screen readers
    geometry: PatchGeometry
    layers: tuple[Layer, ...] = ()
    grey: bool = False  # the photo without its colours, under colours that mean something
    lines: bool = False  # between the patches
    can_pick: bool = False  # a patch
    ring: Patch | None = None
    scale: DerivationStep | None = None  # whose colours are explained
    scale_title: str = ""
    keys: tuple[tuple[str, str], ...] = ()  # colour and what it stands for
    tags: tuple[Tag, ...] = ()
    slider: Slider | None = None
    frames: tuple[Frame, ...] = ()
    wipe: tuple[Frame, Frame] | None = None  # left and right of a line that the slider, or the hand, moves


def draw_scene(
    scene: Scene,
    *,
    key: str,
    on_pick: Callable[[float, float], None] | None = None,
    on_slide: Callable[[float], None] | None = None,
) -> None:
    """Draw the component.

    Args:
        scene: What is seen.
        key: Widget key.
        on_pick: Gets the point of the photo that was clicked, u and v in [0, 1], before the next run.
        on_slide: Gets the slider's value likewise.
    """

    def picked() -> None:
        point = session.component_value(key, "pick")
        if point is not None and on_pick is not None:
            on_pick(float(point["u"]), float(point["v"]))

    def slid() -> None:
        value = session.component_value(key, "slide")
        if value is not None and on_slide is not None:
            on_slide(float(value))

    _component(
        data=_data(scene),
        key=key,
        on_pick_change=picked,
        on_slide_change=slid,
        on_missing_change=lambda: sent_images.send_again(key),
    )


def _data(scene: Scene) -> dict[str, Any]:
    geometry, scale = scene.geometry, scene.scale
    layered = [*scene.layers, *scene.frames, *(scene.wipe or ())]
    names, new = sent_images.sent().pack([photo_cache.photo_url(scene.photo, SIDE), *(layer.src for layer in layered)])
    named = [asdict(layer) | {"src": name} for layer, name in zip(layered, names[1:], strict=True)]
    num_layers, num_frames = len(scene.layers), len(scene.frames)
    return {
        "pictures": new,
        "alt": scene.alt,
        "photo": names[0],
        "aspect": round(scene.photo.width / scene.photo.height, 5),
        "grey": scene.grey,
        "layers": named[:num_layers],
        "frames": named[num_layers:][:num_frames],
        "wipe": named[num_layers + num_frames :] or None,
        "grid": {
            "rows": geometry.rows,
            "cols": geometry.cols,
            "fx": geometry.padded_width / geometry.resized_width,
            "fy": geometry.padded_height / geometry.resized_height,
        },
        "lines": scene.lines,
        "canPick": scene.can_pick,
        "ring": None if scene.ring is None else list(scene.ring),
        "scale": scale
        and {"title": scene.scale_title, "ends": scale.ends, "gradient": colors.css_gradient(scale.scale)},
        "keys": [{"colour": colour, "text": text} for colour, text in scene.keys],
        "tags": [asdict(tag) for tag in scene.tags],
        "slider": scene.slider and asdict(scene.slider),
    }
