"""Steps 6 and 8: what the first model draws, epoch by epoch, and how the final one differs."""

from dataclasses import replace

import numpy as np

from app import selection
from app.components.layered_image import Layer, LayeredImage, Side, Slider, View, layered_image
from app.guide.photo_results import TrainedRun
from app.guide.picture import KEY, step_image
from app.guide.step_context import StepContext
from app.guide.step_list import whole_number
from app.selection import Option
from maskdistill.pictures import drawing, overlays
from maskdistill.pictures.colors import cluster_color

_MOST_KEYS = 5  # classes that are named on the picture


def draw_first_model(context: StepContext) -> str:
    """What the first model draws after each pass over the photos."""
    trained, photo_on_run = context.on_run
    epochs = photo_on_run.epochs()
    numbers, total = [epoch for epoch, _ in epochs], trained.config.stage1.epochs
    image = _image(context, "What the first model draws", photo_on_run.labels("stage1"))
    photos = trained.table["image"].nunique()
    facts = f"Trained on {photos:,} photos, each seen {total} times"
    if len(epochs) == 1:
        layered_image(replace(image, views=(View((Layer(epochs[0][1]),)),)), key=KEY)
        return f"{facts}; what the model drew in between was not kept"
    epoch = whole_number(Option.EPOCH, numbers[-1], numbers[0], numbers[-1])
    slider = Slider("Epoch", 0, len(numbers) - 1, 1, int(np.searchsorted(numbers, epoch)))
    views = tuple(View((Layer(src),), f"{number} of {total}" if number else "before") for number, src in epochs)
    layered_image(
        replace(image, views=views, slider=slider),
        key=KEY,
        on_slide=lambda place: _keep(Option.EPOCH, numbers[round(place)], numbers[-1]),
    )
    return facts


def draw_final_model(context: StepContext) -> str:
    """First and final model on the two sides of a line."""
    _, photo_on_run = context.on_run
    labels = [photo_on_run.labels(stage) for stage in ("stage1", "final")]
    first, final = (drawing.png_url(overlays.class_layer(item)) for item in labels)
    share = whole_number(Option.WIPE, 50, 0, 100)
    image = replace(
        _image(context, "First and final model", np.stack(labels)),
        sides=(Side("first", "First model", first, table=""), Side("final", "Final model", final, table="")),
        pair=("first", "final"),
        split=share,
    )
    layered_image(image, key=KEY, on_slide=lambda value: _keep(Option.WIPE, round(value), 50))
    return f"The two models differ on {np.mean(labels[0] != labels[1]):.1%} of the photo"


def _image(context: StepContext, what: str, labels: np.ndarray) -> LayeredImage:
    trained, _ = context.on_run
    bare = step_image(context, f"{what} on {context.photo.id}")
    return replace(bare, gray=True, keys=_keys(trained, labels))


def _keys(trained_run: TrainedRun, labels: np.ndarray) -> tuple[tuple[str, str], ...]:
    """Colours and names of the classes that cover most of a picture."""
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    largest = [int(label) for label in np.argsort(-counts, kind="stable")[:_MOST_KEYS] if counts[label]]
    return tuple((cluster_color(label), trained_run.decision_view.name_of(label)) for label in largest)


def _keep(option: Option, value: int, default: int) -> None:
    selection.set_option(option, "" if value == default else str(value))
