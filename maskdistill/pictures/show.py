"""A photo with masks drawn over it, to be looked at; a notebook shows what ``show`` returns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from maskdistill.datasets import Photo, read_photo
from maskdistill.errors import ShapeError
from maskdistill.pictures.drawing import overlay


def show(
    photo: Photo | Path | Image.Image,
    masks: np.ndarray | Sequence[np.ndarray] = (),
    *,
    opacity: float = 0.5,
    height: int | None = None,
) -> Image.Image:
    """The photo with its masks tinted and outlined, the first on top. A cell of a notebook shows it as it is.

    Args:
        photo: A photo of a source, the path of a picture, or an RGB picture.
        masks: (H, W) bool, or several of them, at the photo's size, best first.
        opacity: Of the tint, from 0 to 1.
        height: Pixels of the result; None for those of the photo.

    Raises:
        DatasetError: If the photo cannot be read.
        ShapeError: If a mask has another size than the photo.

    Example:
        ```python
        import numpy as np
        import maskdistill as md

        photo = md.open_source("sample").photos[0]
        left = np.arange(photo.width) < photo.width // 2
        md.show(photo, np.tile(left, (photo.height, 1)), height=240)
        ```
    """
    image = photo.convert("RGB") if isinstance(photo, Image.Image) else read_photo(photo)
    drawn = [masks] if isinstance(masks, np.ndarray) and masks.ndim == 2 else list(masks)
    for number, mask in enumerate(drawn):
        if mask.shape != (image.height, image.width):
            raise ShapeError(f"masks[{number}]", f"{(image.height, image.width)}, as the photo", mask.shape)
    result = overlay(image, [np.asarray(mask, bool) for mask in drawn], opacity)
    if height is None:
        return result
    return result.resize((max(1, round(result.width * height / result.height)), height), Image.Resampling.LANCZOS)
