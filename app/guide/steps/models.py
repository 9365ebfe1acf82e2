"""Steps 6 and 8: what the first model draws, epoch by epoch, and how the final one differs."""

from dataclasses import replace

import numpy as np

from app import selection
from app.guide import overlays
from app.guide.photo_results import TrainedRun
from app.guide.scene import Frame, Layer, Scene, Slider, draw_scene
from app.guide.step_context import StepContext
from app.guide.step_list import whole_number
from app.images import drawing
from app.images.colors import cluster_color
from app.selection import Option

_MOST_KEYS = 5  # classes that are named on the picture


def draw_first_model(context: StepContext) -> str:
    """What the first model draws after each pass over the photos."""
    trained, epochs = context.trained, context.subject.epochs()
    numbers, total = [epoch for epoch, _ in epochs], trained.config.stage1.epochs
    scene = _scene(context, "What the first model draws", context.subject.labels("stage1"))
    photos = trained.table["image"].nunique()
    facts = f"Trained on {photos:,} photos, each seen {total} times"
    if len(epochs) == 1:
        draw_scene(replace(scene, layers=(Layer(epochs[0][1]),)), key="guide:photo")
        return f"{facts}; what the model drew in between was not kept"
    epoch = whole_number(Option.EPOCH, numbers[-1], numbers[0], numbers[-1])
    slider = Slider("Epoch", 0, len(numbers) - 1, 1, int(np.searchsorted(numbers, epoch)), live=False)
    frames = tuple(Frame(src, f"{number} of {total}" if number else "before") for number, src in epochs)
    draw_scene(
        replace(scene, frames=frames, slider=slider),
        key="guide:photo",
        on_slide=lambda place: _keep(Option.EPOCH, numbers[round(place)], numbers[-1]),
    )
    return facts


def draw_final_model(context: StepContext) -> str:
    """First and final model on the two sides of a line."""
    labels = [context.subject.labels(stage) for stage in ("stage1", "final")]
    first, final = (drawing.png_url(overlays.class_layer(item)) for item in labels)
    share = whole_number(Option.WIPE, 50, 0, 100)
    scene = replace(
        _scene(context, "First and final model", np.stack(labels)),
        wipe=(Frame(first, "First model"), Frame(final, "Final model")),
        slider=Slider("First | final", 0, 100, 1, share, live=False, name="Line between first and final model"),
    )
    draw_scene(scene, key="guide:photo", on_slide=lambda value: _keep(Option.WIPE, round(value), 50))
    return f"The two models differ on {np.mean(labels[0] != labels[1]):.1%} of the photo"


def _scene(context: StepContext, what: str, labels: np.ndarray) -> Scene:
    return Scene(
        photo=context.photo,
        alt=f"{what} on {context.photo.id}",
        geometry=context.live.view.geometry,
        grey=True,
        keys=_keys(context.trained, labels),
    )


def _keys(trained_run: TrainedRun, labels: np.ndarray) -> tuple[tuple[str, str], ...]:
    """Colours and names of the classes that cover most of a picture."""
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    largest = [int(label) for label in np.argsort(-counts, kind="stable")[:_MOST_KEYS] if counts[label]]
    return tuple((cluster_color(label), trained_run.decided.name_of(label)) for label in largest)


def _keep(option: Option, value: int, default: int) -> None:
    selection.set_option(option, "" if value == default else str(value))
