"""The label maps of a run photo by photo, whichever stage made them; what is not there yet is left out."""

from collections.abc import Collection

import numpy as np

from maskdistill.config import LabelConfig
from maskdistill.pseudo_labels.label_maps import paint_labels, read_label_png
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import FINAL_KINDS, Run
from maskdistill.storage.run_photos import photo_sizes

PROPOSALS, PSEUDO_LABELS, STAGE1 = "proposals", "pseudo_labels", "stage1"
# In the order of the method.
KINDS = (PROPOSALS, STAGE1, PSEUDO_LABELS, "stage2", "stage2_crf", "rounds", "rounds_crf")
_ONLY_CLASS = 1  # of every mask, before there are clusters


class LabelMaps:
    """Label maps of the photos of a run: 0 background, 1 to K clusters, 255 unknown.

    Args:
        run: Run with masks, as far as it came.

    Raises:
        RunError: If there are no masks yet, or a file is damaged.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._sizes = photo_sizes(run)
        self._codes = MaskCodes.open(run)
        self._clusters, self._scores = _clusters_of(run, self._codes), _scores_of(run, self._codes)
        self._by_photo = np.argsort(self._codes.images, kind="stable")  # rows of the masks, photo by photo
        self._numbers = _numbers_by_kind(run, len(self._sizes))

    @property
    def num_photos(self) -> int:
        """How many photos the run has, with or without a label map."""
        return len(self._sizes)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What there is, of ``KINDS`` and in their order."""
        return tuple(self._numbers)

    @property
    def final(self) -> str:
        """The kind that counts as the result: that of the last model, with the CRF where every photo has it."""
        kinds = [kind for kind in FINAL_KINDS if kind in self._numbers]
        whole = [kind for kind in kinds if len(self._numbers[kind]) == len(self._numbers[kinds[-1]])]
        return (whole or kinds or self.kinds)[0]

    def has(self, kind: str, number: int) -> bool:
        """Whether a photo has a label map of that kind."""
        return number in self._numbers.get(kind, ())

    def read(self, kind: str, number: int) -> np.ndarray | None:
        """(H, W) uint8 label map of a photo at its own size; None if it has none of that kind.

        Raises:
            RunError: If its file is damaged or was deleted.
        """
        if not self.has(kind, number):
            return None
        if kind == PROPOSALS:
            return self._paint(number)
        path = self.run.pseudo_label(number) if kind == PSEUDO_LABELS else self.run.prediction(kind, number)
        return read_label_png(path, self._size(number))

    def _paint(self, number: int) -> np.ndarray:
        """The photo's proposals, each in its cluster, the better one above."""
        first, last = np.searchsorted(self._codes.images, (number, number + 1), sorter=self._by_photo)
        rows = self._by_photo[first:last]
        rows = rows[self._clusters[rows] > 0]
        masks = [self._codes.decode(mask_id) for mask_id in self._codes.ids[rows].tolist()]
        kept = np.ones(len(rows), bool)
        return paint_labels(self._size(number), masks, self._clusters[rows], self._scores[rows], kept, LabelConfig())

    def _size(self, number: int) -> tuple[int, int]:
        height, width = self._sizes[number].tolist()
        return height, width


def _clusters_of(run: Run, codes: MaskCodes) -> np.ndarray:
    """(N,) cluster of each mask, 0 for none; before there are clusters all masks are of one class."""
    if not run.clusters_path.is_file():
        return np.full(len(codes), _ONLY_CLASS)
    classes = run.classes(("mask_id", "cluster"))
    return classes.set_index("mask_id")["cluster"].reindex(codes.ids, fill_value=0).to_numpy()


def _scores_of(run: Run, codes: MaskCodes) -> np.ndarray:
    """(N,) float64 score of each mask."""
    return run.masks(("mask_id", "score")).set_index("mask_id")["score"].reindex(codes.ids).to_numpy()


def _numbers_by_kind(run: Run, num_photos: int) -> dict[str, Collection[int]]:
    """Numbers of the photos that have a label map, by kind, of the kinds that there are."""
    found: dict[str, Collection[int]] = {PROPOSALS: range(num_photos)}
    path = run.path / "predictions.json"
    if path.is_file():
        made = read_json(path)
        photos, last = frozenset(made["photos"]), made.get("model", "stage2").partition("/")[0]
        found |= {STAGE1: photos, "stage2": photos, last: photos, f"{last}_crf": frozenset(made["crf"])}
    if (run.path / "pseudo_labels.json").is_file():
        found[PSEUDO_LABELS] = frozenset(run.labelled())
    return {kind: found[kind] for kind in KINDS if found.get(kind)}
