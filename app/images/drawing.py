"""Pictures from arrays: colour maps, mask layers, overlays, and the strip that is downloaded. No Streamlit in here."""

import base64
import io
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Scale = Literal["sequential", "diverging"]

# Okabe and Ito's colours with a lighter blue that stands out on photos, then darker ones. Any two lie 10 CIELAB units
# apart or more, also to eyes without one kind of cone (Machado et al., 2009), and stand out on a light and a dark page.
MASK_COLOURS = (
    *("#3FC8E4", "#E69F00", "#CC79A7", "#00B386", "#F0E442"),
    *("#FF7A33", "#5B8CFF", "#B3261E", "#6F3CC4", "#12705F"),
)
# Anchors of viridis (van der Walt and Smith, 2015), even to colour-blind eyes, and a blue-orange scale for signed maps.
_SCALES = {
    "sequential": (
        *("#440154", "#482878", "#3E4A89", "#31688E", "#26828E"),
        *("#1F9E89", "#35B779", "#6DCD59", "#B4DE2C", "#FDE725"),
    ),
    "diverging": (
        *("#0B4F8A", "#3273A6", "#6699C2", "#A3C1DB", "#E8ECEF"),
        *("#EBC79F", "#DC9A57", "#C26F1C", "#8A4600"),
    ),
}


def rgb(colour: str) -> tuple[int, int, int]:
    """``#RRGGBB`` as three numbers of 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def mask_colour(rank: int) -> str:
    """Colour of the mask of that rank, 0 for the best."""
    return MASK_COLOURS[rank % len(MASK_COLOURS)]


def css_gradient(scale: Scale) -> str:
    """The scale from low to high, for a legend."""
    return f"linear-gradient(90deg, {', '.join(_SCALES[scale])})"


def colour_map(values: np.ndarray, low: float, high: float, scale: Scale) -> Image.Image:
    """(rows, cols) values as an RGB picture of the same size; values outside [low, high] take the end's colour."""
    anchors = np.array([rgb(colour) for colour in _SCALES[scale]], dtype=np.float32)
    position = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * (len(anchors) - 1)
    below = np.minimum(position.astype(int), len(anchors) - 2)
    weight = (position - below)[..., None]
    return Image.fromarray((anchors[below] * (1 - weight) + anchors[below + 1] * weight).astype(np.uint8))


def mask_layer(mask: np.ndarray, colour: str) -> Image.Image:
    """A mask as a two-colour picture, transparent outside: about 1 kB as PNG."""
    layer = Image.fromarray(mask.astype(np.uint8)).convert("L")
    layer = Image.frombytes("P", layer.size, layer.tobytes())
    layer.putpalette([0, 0, 0, *rgb(colour)])
    layer.info["transparency"] = 0
    return layer


def outline(mask: np.ndarray, width: int) -> np.ndarray:
    """The rim of a mask, ``width`` pixels inside it."""
    from scipy import ndimage  # takes a third of a second, which the first page can do without

    return mask & ~ndimage.binary_erosion(mask, iterations=width, border_value=1)


def overlay(photo: Image.Image, masks: list[np.ndarray], opacity: float) -> Image.Image:
    """The photo with its masks tinted and outlined, best mask on top."""
    pixels = np.asarray(photo).astype(np.float32)
    width = max(1, round(min(photo.size) / 240))
    for rank in reversed(range(len(masks))):
        colour = np.array(rgb(mask_colour(rank)), dtype=np.float32)
        inside, rim = masks[rank], outline(masks[rank], width)
        pixels[inside] = pixels[inside] * (1 - opacity) + colour * opacity
        pixels[rim] = colour
    return Image.fromarray(pixels.round().astype(np.uint8))


def index_mask(masks: list[np.ndarray], size: tuple[int, int]) -> Image.Image:
    """Palette picture: 0 background, n the n-th mask; where masks overlap the better one wins.

    Args:
        masks: (H, W) bool, best first.
        size: height, width in pixels.
    """
    index = np.zeros(size, dtype=np.uint8)
    for rank in reversed(range(len(masks))):
        index[masks[rank]] = rank + 1
    picture = Image.frombytes("P", (size[1], size[0]), index.tobytes())
    picture.putpalette([0, 0, 0] + [part for colour in MASK_COLOURS for part in rgb(colour)])
    return picture


def png_bytes(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def png_url(image: Image.Image) -> str:
    """The picture as a data URL, without loss."""
    return f"data:image/png;base64,{base64.b64encode(png_bytes(image)).decode('ascii')}"


def jpeg_url(image: Image.Image, quality: int = 88) -> str:
    """The photo as a data URL."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return jpeg_bytes_url(buffer.getvalue())


def jpeg_bytes_url(content: bytes) -> str:
    """A JPEG file as a data URL."""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"


def contact_sheet(pictures: list[tuple[str, Image.Image]], width: int = 420, columns: int = 4) -> Image.Image:
    """Titled pictures in rows on white, for slides.

    Args:
        pictures: Title and RGB picture, all of one aspect.
        width: Pixels of one picture.
        columns: Pictures in a row.
    """
    margin, title_height = 16, 34
    height = round(width * pictures[0][1].height / pictures[0][1].width)
    rows = -(-len(pictures) // columns)
    sheet_size = (margin + columns * (width + margin), margin + rows * (height + title_height + margin))
    sheet = Image.new("RGB", sheet_size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=17)
    for number, (title, picture) in enumerate(pictures):
        left = margin + number % columns * (width + margin)
        top = margin + number // columns * (height + title_height + margin)
        draw.text((left, top + 4), title, fill="#17212B", font=font)
        sheet.paste(picture.resize((width, height), Image.Resampling.BICUBIC), (left, top + title_height))
    return sheet
