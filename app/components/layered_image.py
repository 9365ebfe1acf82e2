"""Component: a photo and what lies over it, as masks, maps of values or label maps; only clicks ask the server.

The toolbar sets the opacity, and hides everything while H is held. Two views of the photo are switched by a button or
by Z, more by the slider below; two sides stand left and right of a border that can be dragged.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from app import session
from app.components._register import register
from app.images import sent_images
from maskdistill.pictures import colors, drawing

if TYPE_CHECKING:  # importing these loads torch, which most pages that show a picture do without
    from maskdistill.datasets.transforms import PatchGeometry
    from maskdistill.pictures.derivation import DerivationStep, Patch

Table = Mapping[int, Mapping[str, str]]  # label -> name, colour, key, as ``LabelNames`` gives it

PHOTO = "photo"  # the side that shows the photo without a label map
HTML = """
<div class="layered">
  <div class="toolbar">
    <span class="views" role="group" aria-label="View"></span><kbd class="switch">Z</kbd>
    <label class="of-sides">Left <select class="first" aria-label="Label map on the left"></select></label>
    <button class="swap of-sides" title="Swap left and right">⇄</button>
    <label class="of-sides">Right <select class="second" aria-label="Label map on the right"></select></label>
    <label>Opacity <input class="opacity" type="range" min="0" max="100" aria-label="Opacity"></label>
    <label class="of-masks"><input class="outline" type="checkbox"> Outline</label>
    <label class="of-sides" title="Only pixels on which the two disagree"><input class="differing" type="checkbox">
      Differences</label>
    <button class="hide" title="The bare photo, for as long as it is held">
      <span class="long">Hold to hide</span><span class="short">Hide</span> <kbd>H</kbd></button>
  </div>
  <div class="body">
    <div class="main">
      <div class="stage"><div class="frame">
        <img class="photo" alt=""><canvas></canvas><canvas></canvas>
        <div class="lines"></div><div class="cell hover"></div><div class="cell ring"></div><div class="tags"></div>
        <span class="side-name left"></span><span class="side-name right"></span>
        <div class="divider" role="slider" tabindex="0" aria-label="Border between left and right" aria-valuemin="0"
          aria-valuemax="100"><i></i></div>
        <div class="scale"></div><div class="tip" role="status"></div>
      </div></div>
      <div class="slider"><button class="play" type="button">Play</button><label></label>
        <input class="place" type="range"><output></output></div>
      <div class="legend"></div>
    </div>
    <div class="tiles"></div>
  </div>
  <div class="masks"></div>
</div>
"""
_component = register(
    __file__,
    HTML,
    shared=(
        *("styles/slider.css", "components/_layers.js", "images/sent_images.js", "components/layered_image_labels.js"),
        *("components/layered_image_sides.js", "components/layered_image_parts.js"),
        "components/layered_image_frame.js",
    ),
)


@dataclass(frozen=True)
class Part:
    """One of the figures that a mask's score is made of."""

    name: str
    value: float  # 0 to 1
    help: str


@dataclass(frozen=True)
class Layer:
    """A picture over the whole photo, or over its patches."""

    src: str  # data URL
    opacity: float = 1.0  # at the right end of the toolbar's slider
    least: float = 0.0  # at its left end
    on_patches: bool = False
    smooth: bool = True  # False shows each pixel as a square
    outline: bool = False  # just outside what is not transparent
    name: str = ""  # in the list of masks below, where it can be switched off; empty: not listed
    color: str = ""  # #RRGGBB, of its entry there
    score: str = ""
    parts: tuple[Part, ...] = ()

    @classmethod
    def of_step(cls, step: "DerivationStep", opacity: float = 1.0, least: float = 0.0) -> "Layer":
        """A picture of a derivation."""
        return cls(drawing.png_url(step.image), opacity, least, step.on_patches, smooth=False)

    @classmethod
    def of_image(cls, image: Image.Image) -> "Layer":
        """A picture of the photo's aspect."""
        return cls(drawing.png_url(image))


@dataclass(frozen=True)
class ColorScale:
    """What the colours of a map of values mean."""

    title: str
    ends: tuple[str, str]
    gradient: str  # CSS

    @classmethod
    def of_step(cls, step: "DerivationStep", title: str) -> "ColorScale":
        """The scale of a picture of a derivation."""
        return cls(title, step.ends or ("", ""), colors.css_gradient(step.scale))


@dataclass(frozen=True)
class View:
    """What lies over the photo at one time."""

    layers: tuple[Layer, ...] = ()  # the first on top
    name: str = ""  # on its button, or beside the slider
    ring: "Patch | None" = None
    scale: ColorScale | None = None
    box: tuple[int, int, int, int] | None = None  # x, y, width, height: the part of the photo that is enlarged


@dataclass(frozen=True)
class Side:
    """What may stand left or right of the border."""

    kind: str
    name: str
    src: str  # grey PNG of labels, as ``label_url`` makes it; empty for the bare photo
    table: str = "clusters"  # which of the tables tells what its labels mean; empty for a picture of colours
    note: str = ""  # a figure beside the name


@dataclass(frozen=True)
class Tag:
    """A few words on the picture, about what is there."""

    u: float  # fraction of the width
    v: float  # fraction of the height
    text: str
    color: str  # #RRGGBB
    out: bool = False  # dashed


@dataclass(frozen=True)
class Slider:
    """The control below the picture; with several views it goes from one to the next, else it asks the server."""

    label: str
    low: float
    high: float
    step: float
    value: float
    digits: int = 0
    name: str = ""  # for screen readers, where the label is a sign


@dataclass(frozen=True)
class Grid:
    """The patches of a photo."""

    rows: int
    cols: int
    fx: float  # their width together, in widths of the photo
    fy: float

    @classmethod
    def of_geometry(cls, geometry: "PatchGeometry") -> "Grid":
        """The grid that the transformer reads the photo on."""
        width, height = (
            geometry.padded_width / geometry.resized_width,
            geometry.padded_height / geometry.resized_height,
        )
        return cls(geometry.rows, geometry.cols, width, height)


@dataclass(frozen=True, kw_only=True)
class LayeredImage:
    """All that is shown."""

    src: str  # the photo as a data URL
    size: tuple[int, int]  # its width and height in pixels
    alt: str  # what the picture shows, for screen readers
    height: str  # of the frame at most, as CSS
    fills: bool = False  # the frame is as wide as its column, whatever the photo's aspect
    views: tuple[View, ...] = (View(),)
    opacity: int | None = None  # where the toolbar's slider begins, in percent; None for no toolbar
    keep_settings: str = ""  # pictures of one name keep the toolbar's settings from photo to photo
    grid: Grid | None = None
    lines: bool = False  # between the patches
    hint: str = ""  # where a patch can be clicked: what that does
    picked: "Patch | None" = None  # the one that was clicked; a new one shows the last view
    gray: bool = False  # the photo without its colours, under colours that mean something
    keys: tuple[tuple[str, str], ...] = ()  # colour and what it stands for
    tags: tuple[Tag, ...] = ()
    slider: Slider | None = None
    sides: tuple[Side, ...] = ()
    pair: tuple[str, str] = ("", "")  # kinds on the left and on the right; one that is not there becomes the first
    tables: Mapping[str, Table] | None = None  # what labels mean, by the names that the sides give them
    split: int | None = None  # percent at which the border stands, if the server keeps it


def layered_image(
    image: LayeredImage,
    *,
    key: str,
    on_pick: Callable[[float, float], None] | None = None,
    on_slide: Callable[[float], None] | None = None,
    on_pair: Callable[[str, str], None] | None = None,
) -> None:
    """Draw the component.

    Args:
        image: What is shown.
        key: Widget key.
        on_pick: Gets the point of the photo that was clicked, u and v in [0, 1], before the next run.
        on_slide: Gets the slider's value, or where the border stands, likewise.
        on_pair: Gets the kinds of the two sides likewise.
    """

    def callback(trigger: str, handle: Callable[..., None] | None) -> Callable[[], None]:
        def received() -> None:
            value = session.component_value(key, trigger)
            if value is not None and handle is not None:
                handle(*value)

        return received

    _component(
        data=data_of(image),
        key=key,
        on_pick_change=callback("pick", on_pick),
        on_slide_change=callback("slide", on_slide),
        on_pair_change=callback("pair", on_pair),
        on_missing_change=lambda: sent_images.send_again(key),
    )


def data_of(image: LayeredImage) -> dict[str, Any]:
    """What the browser gets: pictures that it has by their names alone."""
    data = asdict(image)
    holders = [data, *(layer for view in data["views"] for layer in view["layers"]), *data["sides"]]
    names, new = sent_images.sent().pack([holder["src"] for holder in holders])
    for holder, name in zip(holders, names, strict=True):
        holder["src"] = name
    tables = {
        name: {str(label): entry for label, entry in table.items()} for name, table in (image.tables or {}).items()
    }
    return data | {"pictures": new, "tables": tables}
