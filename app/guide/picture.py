"""The one large picture of a step."""

from app import photo_cache
from app.components.layered_image import Grid, LayeredImage
from app.guide.step_context import StepContext

KEY = "guide:photo"  # the same at every step, so that the photo stays while the layers change
_SIDE = 1280  # pixels, longer side of the photo beneath at most


def step_image(context: StepContext, alt: str) -> LayeredImage:
    """The bare photo, for a step to put its layers on.

    Args:
        context: Which photo.
        alt: What the picture shows, for screen readers.
    """
    return LayeredImage(
        src=photo_cache.photo_url(context.photo, _SIDE),
        size=(context.photo.width, context.photo.height),
        alt=alt,
        height="calc(100vh - var(--guide-chrome, 17rem))",  # the window, less what stands above and below
        grid=Grid.of_geometry(context.live.view.geometry),
    )
