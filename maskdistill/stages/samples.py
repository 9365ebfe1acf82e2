"""Predictions of a model in training for the same few photos after each epoch: they show how it learns. No torch.

In ``<run>/<stage>/samples``: samples.json names the photos and the training, target/<number>.png is what a photo should
become, epoch-000/<number>.png what the model predicts before its training, epoch-001/<number>.png after one epoch. A
small model's own weights lie beside them, so that any other photo can be predicted too.
"""

import json
import logging
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from maskdistill.errors import CheckpointError
from maskdistill.files import replace_atomically, write_json
from maskdistill.pseudo_labels.label_maps import write_label_png
from maskdistill.stages.label import LabelsOf
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run

logger = logging.getLogger(__name__)

NUM_SAMPLES = 6  # photos
WEIGHTS = "model.safetensors"  # in the folder of an epoch
SAMPLE_SIDE = 320  # pixels, longer side of a stored label map at most

Predict = Callable[[int, tuple[int, int]], np.ndarray]  # photo, (H, W) in pixels -> (K + 1, H, W) probabilities
Keep = Callable[[Path], None]  # writes the model as it is now


@dataclass(frozen=True)
class SamplePhoto:
    """One of the sample photos."""

    number: int  # in the run
    id: str
    height: int  # pixels of its label maps, which may be smaller than the photo
    width: int  # pixels likewise


@dataclass(frozen=True)
class Samples:
    """The sample predictions of one training, as far as it has come."""

    folder: Path
    training: str  # fingerprint of all that decides the training; another training has another
    num_epochs: int  # of the whole training
    num_classes: int  # K; label maps hold 0 to K, targets 255 too
    photos: tuple[SamplePhoto, ...]

    @property
    def epochs(self) -> list[int]:
        """Epochs that every photo has a label map of, rising; 0 is before the training."""
        folders = _epoch_folders(self.folder)
        names = {f"{photo.number}.png" for photo in self.photos}
        return [epoch for epoch, path in folders.items() if all((path / name).is_file() for name in names)]

    def target(self, photo: SamplePhoto) -> Path:
        """Palette PNG of what the model learns to predict for a photo."""
        return self.folder / "target" / f"{photo.number}.png"

    def label_map(self, epoch: int, photo: SamplePhoto) -> Path:
        """Palette PNG of what the model predicts for a photo after so many epochs."""
        return _epoch_folder(self.folder, epoch) / f"{photo.number}.png"

    def weights(self, epoch: int) -> Path:
        """The model after so many epochs; not there for a large model, or one of an earlier version."""
        return _epoch_folder(self.folder, epoch) / WEIGHTS


def read_samples(run: Run, stage: str) -> Samples | None:
    """The sample predictions of ``stage1``, ``stage2`` or ``rounds/<number>``; None if it has none (yet)."""
    folder = _samples_folder(run, stage)
    index = _read_index(folder)
    if index is None:
        return None
    photos = tuple(SamplePhoto(**item) for item in index["photos"])
    return Samples(folder, index["training"], index["num_epochs"], index["num_classes"], photos)


def choose_samples(
    numbers: Sequence[int],
    clusters: pd.DataFrame,
    count: int = NUM_SAMPLES,
    photos: np.ndarray | None = None,
) -> list[int]:
    """Photos that show as many clusters as can be: of the largest first, the one with the mask nearest to the centre.

    Clusters have their turns until there are enough photos; if all masks together do not suffice, photos spread evenly
    over the rest follow. No ground truth is read.

    Args:
        numbers: Photos that the training uses.
        clusters: clusters.parquet.
        count: Photos wanted.
        photos: (N,) number of the photo of each of its rows, ``Run.photo_of``; None: as of a run that cut its masks.

    Returns:
        Different numbers, ``count`` of them or all there are.
    """
    table = clusters.assign(number=clusters["mask_id"] // MASKS_PER_PHOTO if photos is None else photos)
    table = table[table["number"].isin(numbers)]
    sizes = table["cluster"].map(table["cluster"].value_counts())
    table = table.assign(size=sizes).sort_values(["cluster", "distance", "mask_id"])
    table["turn"] = table.groupby("cluster").cumcount()
    ordered = table.sort_values(["turn", "size", "cluster"], ascending=[True, False, True])["number"]
    chosen = list(dict.fromkeys(ordered.tolist()))[:count]
    rest = [number for number in numbers if number not in chosen]
    missing = min(count - len(chosen), len(rest))
    return chosen + [rest[place * len(rest) // missing] for place in range(missing)]


class SampleWriter:
    """Writes the label maps of an epoch. What cannot be written is named in the log, and the training goes on.

    Args:
        run: The run.
        stage: Folder of the model in the run, as ``stage1``.
        about: ``training``, ``num_epochs`` and ``num_classes`` as in ``Samples``.
        photos: Number, id, height and width of each photo, at its own size.
        label_of: Label map that the training uses.
        predict: What the model predicts by now; it must change neither the model nor the state of random numbers.
        keep: Writes the model's weights, where they are small; None keeps none.
    """

    def __init__(
        self,
        run: Run,
        stage: str,
        about: dict[str, Any],
        photos: Sequence[SamplePhoto],
        label_of: LabelsOf,
        predict: Predict,
        keep: Keep | None = None,
    ) -> None:
        self._folder = _samples_folder(run, stage)
        self._photos = [_reduce(photo) for photo in photos]
        self._index = {**about, "photos": [asdict(photo) for photo in self._photos]}
        self._label_of, self._predict, self._keep = label_of, predict, keep

    def __call__(self, epoch: int) -> None:
        """Write the predictions after ``epoch`` epochs; those of another training, and later ones, are removed."""
        try:
            if epoch == 0 or _read_index(self._folder) != self._index:
                self._begin()
            for later, folder in _epoch_folders(self._folder).items():
                if later > epoch:  # the checkpoint behind them was lost
                    shutil.rmtree(folder)
            folder = _epoch_folder(self._folder, epoch)
            if self._keep is not None:  # first: an epoch counts as there once every photo has its label map
                replace_atomically(folder / WEIGHTS, self._keep)
            for photo in self._photos:
                probabilities = self._predict(photo.number, (photo.height, photo.width))
                write_label_png(folder / f"{photo.number}.png", probabilities.argmax(axis=0).astype(np.uint8))
        except (OSError, CheckpointError) as error:
            logger.warning("The sample predictions of epoch %d cannot be kept in %s: %s", epoch, self._folder, error)

    def _begin(self) -> None:
        if self._folder.exists():
            shutil.rmtree(self._folder)
        for photo in self._photos:
            labels = Image.fromarray(self._label_of(photo.number))
            reduced = labels.resize((photo.width, photo.height), Image.Resampling.NEAREST)
            write_label_png(self._folder / "target" / f"{photo.number}.png", np.asarray(reduced))
        write_json(self._folder / "samples.json", self._index)


def _reduce(photo: SamplePhoto) -> SamplePhoto:
    scale = min(1.0, SAMPLE_SIDE / max(photo.height, photo.width))
    height, width = (max(1, round(side * scale)) for side in (photo.height, photo.width))
    return SamplePhoto(photo.number, photo.id, height, width)


def _samples_folder(run: Run, stage: str) -> Path:
    return run.path / stage / "samples"


def _epoch_folder(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:03d}"


def _epoch_folders(folder: Path) -> dict[int, Path]:
    """Folders of label maps by epoch, rising."""
    found = ((re.fullmatch(r"epoch-(\d{3,})", path.name), path) for path in folder.glob("epoch-*"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def _read_index(folder: Path) -> dict[str, Any] | None:
    """samples.json, the last file that is written when samples begin; None if it is missing or damaged."""
    try:
        return json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
