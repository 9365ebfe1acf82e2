"""Component: the layered image on which a mask is mended, by clicks, keys and touch.

The browser keeps what the person did, step by step, and draws what a click would change while the pointer moves; the
server says what comes of the steps. The views of the image are the mask now and as it was, under Z.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from app import session
from app.components._register import register
from app.components.layered_image import HTML, LayeredImage, data_of
from app.images import sent_images

_TOOLS = (  # name, words, key, what it does
    ("click", "Click", "A", "add what is like the patch under the pointer, or take it away"),
    ("everywhere", "Everywhere", "⇧", "not the connected part alone"),
    ("keep", "Keep part", "K", "only the connected part under the pointer stays"),
    ("erase", "Drop part", "D", "the connected part under the pointer goes"),
    ("fill", "Fill holes", "F", "holes become part of the mask"),
    ("smooth", "Smooth", "O", "a smoother outline"),
    ("sharpen", "Sharpen", "R", "what the last clicks changed, along the photo's edges, by the CRF"),
    ("split", "Split", "S", "two masks, by a click on each object"),
    ("join", "Join", "J", "with another mask of the photo"),
    ("brush", "Brush", "B", "pixel by pixel; again: another of three sizes"),
    ("eraser", "Eraser", "X", "the same, to take away"),
    ("new", "New mask", "N", "of an object that has none"),
    ("next", "Next mask", "G", "of the same photo"),
)
_BUTTONS = "".join(
    f'<button type="button" data-do="{name}" title="{words}: {help}">{words} <kbd>{key}</kbd></button>'
    for name, words, key, help in _TOOLS
)
_PANEL = f"""
<div class="mend">
  <div class="ends">
    <button type="button" class="primary" data-do="keepmask">Keep <kbd>Enter</kbd></button>
    <button type="button" data-do="undo">Undo <kbd>U</kbd></button>
    <button type="button" data-do="leave">Leave <kbd>Esc</kbd></button>
  </div>
  <p class="said" role="status"></p>
  <div class="tools" role="toolbar" aria-label="Tools">{_BUTTONS}
    <button type="button" data-do="zoom" title="Around the mask, or the whole photo">Zoom <kbd>C</kbd></button></div>
  <p class="hint"></p><p class="brush-size"></p>
  <div class="choices-head" hidden>Take another shape</div><div class="choices"></div>
</div>
"""
_component = register(
    __file__,
    f'<div class="editable">{HTML}{_PANEL}</div>',
    shared=(
        *("components/layered_image.css", "styles/slider.css", "components/_layers.js", "images/sent_images.js"),
        *("components/layered_image_labels.js", "components/layered_image_sides.js"),
        *("components/layered_image_parts.js", "components/layered_image_frame.js", "components/mask_preview.js"),
        *("components/editable_image_over.js", "components/editable_image_steps.js"),
        "components/editable_image_tools.js",
    ),
)


@dataclass(frozen=True)
class Choice:
    """Another shape of the mask."""

    src: str  # data URL of a small picture
    name: str


@dataclass(frozen=True)
class Field:
    """What the browser needs to draw what a click would change."""

    alike: str  # data URL of a grey PNG, (cells, cells): how far a click at one cell reaches another; "" for none
    rows: int
    cols: int
    reach: float  # where nearness falls off, in ways from the click to the mask's border
    least_way: float  # to the border, in the photo's shorter side
    noise: float  # variance of what a click says


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A mask on its way."""

    owner: str  # whose steps these are, on which shape of which mask: the tab keeps those of others apart
    subject: str  # the same without the shape
    server: str  # another one after a restart
    answered: int  # number of the last message that this answers
    applied: int  # steps that the picture shows
    fresh: bool  # whether it is a new mask
    field: Field
    choices: tuple[Choice, ...] = ()
    sharpens: bool = False  # whether the CRF is installed
    after: int = -1  # the photo's next mask, -1 for none
    problem: str = ""
    refused: bool = False  # whether it could not be kept


def editable_image(
    image: LayeredImage,
    edit: Edit,
    *,
    key: str,
    on_edit: Callable[[dict[str, Any]], None],
    on_leave: Callable[[], None],
    on_open: Callable[[str], None],
) -> None:
    """Draw the component.

    Args:
        image: The photo; the first view has the mask as its first layer.
        edit: The mask.
        key: Widget key.
        on_edit: Gets all steps that the person did, and whether to keep the mask, before the next run.
        on_leave: Called when they leave it.
        on_open: Gets which other mask they want: its id, or "new" for one that is not there yet.
    """

    def received(name: str, handle: Callable[..., None], *, passes: bool = True) -> Callable[[], None]:
        def call() -> None:
            value = session.component_value(key, name)
            if value is not None:
                handle(*([value] if passes else []))

        return call

    data = data_of(image)
    values = asdict(edit)
    holders = [*values["choices"], {"src": edit.field.alike}]
    names, new = sent_images.sent().pack([holder["src"] for holder in holders])
    for holder, name in zip(holders, names, strict=True):
        holder["src"] = name
    values["field"]["alike"] = names[-1]
    _component(
        data={**data, "pictures": data["pictures"] | new, "edit": values},
        key=key,
        on_edit_change=received("edit", on_edit),
        on_leave_change=received("leave", on_leave, passes=False),
        on_open_change=received("open", on_open),
        on_missing_change=lambda: sent_images.send_again(key),
    )
