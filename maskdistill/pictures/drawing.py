"""Pictures from arrays: color maps, layers, overlays, and the sheet that is downloaded."""

import base64
import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskdistill.pictures.colors import MASK_COLORS, Scale, label_colors, mask_color, rgb, scale_pixels

_IGNORED_ALPHA = 110  # of 255


def color_map(values: np.ndarray, low: float, high: float, scale: Scale) -> Image.Image:
    """(rows, cols) values as an RGB picture of the same size; values outside [low, high] take the end's color."""
    return Image.fromarray(scale_pixels((values - low) / max(high - low, 1e-9), scale))


def mask_layer(mask: np.ndarray, color: str) -> Image.Image:
    """A mask as a two-color picture, transparent outside: about 1 kB as PNG."""
    layer = Image.fromarray(mask.astype(np.uint8)).convert("L")
    layer = Image.frombytes("P", layer.size, layer.tobytes())
    layer.putpalette([0, 0, 0, *rgb(color)])
    layer.info["transparency"] = 0
    return layer


def label_layer(labels: Image.Image) -> Image.Image:
    """A palette picture of a label map in the colors of labels: background transparent, 255 half transparent."""
    layer = Image.frombytes("P", labels.size, labels.tobytes())
    layer.putpalette([part for color in label_colors() for part in color])
    layer.info["transparency"] = bytes([0, *[255] * 254, _IGNORED_ALPHA])
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
        color = np.array(rgb(mask_color(rank)), dtype=np.float32)
        inside, rim = masks[rank], outline(masks[rank], width)
        pixels[inside] = pixels[inside] * (1 - opacity) + color * opacity
        pixels[rim] = color
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
    picture.putpalette([0, 0, 0] + [part for color in MASK_COLORS for part in rgb(color)])
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
