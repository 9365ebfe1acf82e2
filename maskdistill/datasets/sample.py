"""The photographs that the wheels of scikit-image and scikit-learn carry: real photos on a machine without network.

Taken are all that a camera took of an object or a scene, also through a telescope or an ophthalmoscope. Left out are
drawings and computed pictures (chessboard, color, horse, logo, phantom), materials that fill the frame (brick, grass,
gravel), paper (page, text), microscopy (cell, ihc), the 102-pixel detail microaneurysms, and motorcycle_right, which
shows the same scene as motorcycle_left.
"""

import importlib.util
import random
from dataclasses import replace
from pathlib import Path

from maskdistill.datasets.records import Photo, PhotoSource, ProgressCallback
from maskdistill.datasets.scanning import FoundFile, scan_photos
from maskdistill.datasets.views import random_view
from maskdistill.errors import DatasetError

NUM_VIEWS = 12  # of each photo, in sample-views

_PACKAGES = {"skimage": ("scikit-image", "data"), "sklearn": ("scikit-learn", "datasets/images")}
_FILES = {
    "astronaut": ("skimage", "astronaut.png"),
    "camera": ("skimage", "camera.png"),
    "cat": ("skimage", "chelsea.png"),
    "china": ("sklearn", "china.jpg"),
    "clock": ("skimage", "clock_motion.png"),
    "coffee": ("skimage", "coffee.png"),
    "coins": ("skimage", "coins.png"),
    "flower": ("sklearn", "flower.jpg"),
    "hubble": ("skimage", "hubble_deep_field.jpg"),
    "moon": ("skimage", "moon.png"),
    "motorcycle": ("skimage", "motorcycle_left.png"),
    "retina": ("skimage", "retina.jpg"),
    "rocket": ("skimage", "rocket.jpg"),
}


def open_sample(*, on_progress: ProgressCallback | None = None) -> PhotoSource:
    """The photos under short names, sorted by name.

    Raises:
        DatasetError: If one of the two packages is not installed.
    """
    folders = {module: _find_folder(module) for module in _PACKAGES}
    candidates = [FoundFile(id, folders[module] / name) for id, (module, name) in _FILES.items()]
    photos, skipped = scan_photos(candidates, on_progress=on_progress)
    return PhotoSource("sample", "sample", None, photos, skipped)


def open_sample_views(*, seed: int = 0, on_progress: ProgressCallback | None = None) -> PhotoSource:
    """Each photo in ``NUM_VIEWS`` random views, ``cat-01`` to ``cat-12``; the same seed gives the same views.

    Raises:
        DatasetError: If one of the two packages is not installed.
    """
    sample = open_sample(on_progress=on_progress)
    views = (_view_of(photo, number, seed) for photo in sample.photos for number in range(1, NUM_VIEWS + 1))
    return PhotoSource("sample-views", "sample-views", None, tuple(views), sample.skipped)


def _find_folder(module: str) -> Path:
    """The pictures' folder of an installed package, without importing it (which would take a second)."""
    package, folder = _PACKAGES[module]
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise DatasetError(
            f"The sample photos come with the package {package}, which is not installed. "
            f"Install it with: pip install {package}"
        )
    return Path(spec.submodule_search_locations[0]) / folder


def _view_of(photo: Photo, number: int, seed: int) -> Photo:
    generator = random.Random(f"{seed}/{photo.id}/{number}")  # independent of the other photos
    view = random_view(photo.height, photo.width, generator)
    return replace(photo, id=f"{photo.id}-{number:02}", height=view.height, width=view.width, view=view)
