"""Component: a few photos, their targets, and a model's predictions after each epoch, to be played."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from PIL import Image

from app import photo_cache
from app.components._register import register
from maskdistill.datasets import Photo, PhotoSource
from maskdistill.errors import DatasetError
from maskdistill.pictures import drawing
from maskdistill.roots import open_inside
from maskdistill.stages.samples import Samples

FRAMES = 40  # epochs sent at most; of more, some evenly between are left out
_SIDE = 320  # pixels, longer side of a photo
_HTML = """
<div class="player">
  <div class="bar">
    <button class="play" type="button">Play</button>
    <input class="epoch" type="range" min="0" step="1" aria-label="Epoch">
    <span class="when" aria-live="polite"></span>
  </div>
  <div class="photos"></div>
</div>
"""

_component = register(__file__, _HTML, shared=("styles/slider.css",))


def epoch_player(samples: Samples, source: PhotoSource | None, agreement: dict[int, float], *, key: str) -> None:
    """Draw the photos with the newest epoch on show.

    Args:
        samples: Label maps of each epoch.
        source: Where the photos come from; None if they cannot be read any more; the labels are still shown.
        agreement: Of each epoch, as far as known.
        key: Of the component.
    """
    epochs = chosen_epochs(samples.epochs)
    targets = _layers([samples.target(photo) for photo in samples.photos])
    data = {
        "total": samples.num_epochs,
        "epochs": [{"number": epoch, "agreement": agreement.get(epoch)} for epoch in epochs],
        "frames": [_layers([samples.label_map(epoch, photo) for photo in samples.photos]) for epoch in epochs],
        "photos": [
            {"name": photo.id, "src": src, "target": target}
            for photo, src, target in zip(samples.photos, _photos(samples, source), targets, strict=True)
        ],
    }
    _component(data=data, key=key)


def chosen_epochs(epochs: list[int], most: int = FRAMES) -> list[int]:
    """The first, the last, and evenly spread ones between them."""
    if len(epochs) <= most:
        return epochs
    return [epochs[round(place * (len(epochs) - 1) / (most - 1))] for place in range(most)]


def _photos(samples: Samples, source: PhotoSource | None) -> list[str]:
    """The photos as data URLs; empty for one that is damaged or no longer there."""
    found = {} if source is None else {photo.id: photo for photo in source.photos}
    return [_photo(found[photo.id]) if photo.id in found else "" for photo in samples.photos]


def _photo(photo: Photo) -> str:
    try:
        return photo_cache.photo_url(photo, _SIDE)
    except DatasetError:
        return ""


def _layers(paths: Sequence[Path]) -> tuple[str, ...]:
    """Label maps of one folder as data URLs; empty ones if another training has begun and cleared it meanwhile."""
    try:
        return _read_layers(tuple(paths), paths[0].parent.stat().st_mtime_ns)
    except OSError:
        return ("",) * len(paths)


@st.cache_resource(max_entries=200, show_spinner=False)  # st.cache_data would copy it at each read
def _read_layers(paths: tuple[Path, ...], changed: int) -> tuple[str, ...]:
    layers = []
    for path in paths:
        with open_inside(path) as file, Image.open(file) as labels:
            labels.load()
        layers.append(drawing.png_url(drawing.label_layer(labels)))
    return tuple(layers)
