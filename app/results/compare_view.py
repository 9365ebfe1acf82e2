"""Two label maps of a photo on either side of a border, and all that can be chosen small beside them."""

from collections.abc import Callable, Mapping, Sequence

from app.components.layered_image import LayeredImage, Side, Table, layered_image


def compare_view(
    photo_url: str,
    size: tuple[int, int],
    title: str,
    sides: Sequence[Side],
    tables: Mapping[str, Table],
    pair: tuple[str, str],
    *,
    key: str,
    on_pair: Callable[[str, str], None] | None = None,
) -> None:
    """Draw the component; opacity, border and choices are kept from photo to photo.

    Args:
        photo_url: The photo as a data URL.
        size: Its width and height.
        title: Its name, for screen readers.
        sides: What can be compared.
        tables: What labels are called, by the names that the sides give them.
        pair: Kinds on the left and on the right.
        key: Widget key.
        on_pair: Gets the kinds that were chosen, before the next run.
    """
    image = LayeredImage(
        src=photo_url,
        size=size,
        alt=title,
        height="clamp(300px, 56vh, 520px)",  # fits onto the screen with its controls
        opacity=60,
        keep_settings="results",
        sides=tuple(sides),
        tables=tables,
        pair=pair,
    )
    layered_image(image, key=key, on_pair=on_pair)
