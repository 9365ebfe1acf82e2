"""The run folder: where each artifact lies, and how it is read and written."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from maskdistill import __version__, roots
from maskdistill.config import RunConfig
from maskdistill.errors import ConfigError, RunError
from maskdistill.files import rename_aside, replace_atomically, write_json
from maskdistill.storage.label_folder import LabelFolder
from maskdistill.storage.read_files import (
    DamagedFileError,
    first_line,
    read_json,
    read_json_if_there,
)
from maskdistill.storage.stage_folders import ForegroundFolder, InstanceFolder, RepairFolder

logger = logging.getLogger(__name__)

INSTANCES_PER_PHOTO = 1000  # likewise of the objects that the stage ``instances`` finds
MASKS_PER_PHOTO = 10  # mask ids are photo number * 10 + rank, so they do not depend on the order of the work; of masks
# that were brought into a run, photo number * ``imported_masks.MASKS_PER_PHOTO`` + place: ``Run.masks_per_photo``
DRAWN = 1_000_000_000  # masks that people add are DRAWN + photo number * DRAWN_PER_PHOTO + place: ids of before stay
DRAWN_PER_PHOTO = 1000
INFO, INFO_COPY = "run.json", "run.copy.json"
MASKS = "masks.parquet"
FORMAT = 1  # of the run folder, in run.json
FINAL_KINDS = ("rounds_crf", "rounds", "stage2_crf", "stage2")  # of predictions; the first that there is, is final


class Run(LabelFolder):
    """A run folder. Making the object touches nothing on disk.

    Example:
        ```python
        import maskdistill as md

        run = md.Run("runs/sample")
        if run.exists:
            run.masks().sort_values("score").head()
        ```
    """

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.name

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return os.path.lexists(self.path / INFO)

    @property
    def images_path(self) -> Path:
        """images.parquet: one row a photo, the skipped ones too."""
        return self.path / "images.parquet"

    @property
    def seen_path(self) -> Path:
        """source.parquet: what the photos were when they were last looked at."""
        return self.path / "source.parquet"

    @property
    def token_axes_path(self) -> Path:
        """token_axes.npz: what compact tokens keep, for photos that are not in the run; none where they are not."""
        return self.path / "token_axes.npz"

    @property
    def proposals_path(self) -> Path:
        """proposals.json: COCO, masks as RLE, as they were cut; a copy of what the table holds, where these are few."""
        return self.path / "proposals.json"

    @property
    def cut_masks_path(self) -> Path:
        """masks.parquet: one row a mask as it was cut, with its run-length code."""
        return self.path / MASKS

    @property
    def foreground(self) -> ForegroundFolder:
        """What the stage ``foreground`` left."""
        return ForegroundFolder(self.path / "foreground")

    @property
    def instances(self) -> InstanceFolder:
        """What the stage ``instances`` left."""
        return InstanceFolder(self.path / "instances")

    @property
    def repairs(self) -> RepairFolder:
        """What the stage ``repairs`` left."""
        return RepairFolder(self.path / "repairs")

    @property
    def mask_stage(self) -> Literal["proposals", "foreground", "repairs"]:
        """The stage whose masks count in all that follows: the last that is done and made any."""
        done = self.stage_path("repairs").is_file() and self.repairs.masks_path.is_file()
        return "repairs" if done else self.own_mask_stage

    @property
    def own_mask_stage(self) -> Literal["proposals", "foreground"]:
        """The stage that made the run's own masks, before people mended any: the foreground's once it made any."""
        done = self.stage_path("foreground").is_file() and self.foreground.masks_path.is_file()
        return "foreground" if done else "proposals"

    @property
    def codes_path(self) -> Path:
        """COCO file of the masks that count."""
        return self.repairs.codes_path if self.mask_stage == "repairs" else self.own_codes_path

    @property
    def own_codes_path(self) -> Path:
        """COCO file of the run's own masks, before people mended any."""
        return self.foreground.codes_path if self.own_mask_stage == "foreground" else self.proposals_path

    @property
    def masks_path(self) -> Path:
        """Table of the masks that count, one row a mask."""
        return self.repairs.masks_path if self.mask_stage == "repairs" else self.own_masks_path

    @property
    def own_masks_path(self) -> Path:
        """Table of the run's own masks, before people mended any."""
        return self.foreground.masks_path if self.own_mask_stage == "foreground" else self.cut_masks_path

    @property
    def imported(self) -> dict[str, Any] | None:
        """What run.json tells of masks that were brought into the run; None if it makes its own."""
        return self.info().get("imported") if self.exists else None

    @property
    def masks_per_photo(self) -> int:
        """What a mask's id is divided by to give the number of its photo."""
        record = read_json_if_there(self.stage_path("proposals")) or {}
        return record.get("masks_per_photo", MASKS_PER_PHOTO)

    def photo_of(self, mask_ids: np.ndarray) -> np.ndarray:
        """(N,) int64 number of the photo of each mask.

        Args:
            mask_ids: (N,) whole numbers.
        """
        ids = np.asarray(mask_ids, np.int64)
        return np.where(ids >= DRAWN, (ids - DRAWN) // DRAWN_PER_PHOTO, ids // self.masks_per_photo)

    @property
    def masks_fingerprint(self) -> str:
        """Of what the masks that count were made from; empty while they are not finished."""
        return self.fingerprint_of(self.mask_stage)

    @property
    def clusters_path(self) -> Path:
        """clusters.parquet: cluster, distance and margin of each mask."""
        return self.path / "clusters.parquet"

    @property
    def classes_path(self) -> Path:
        """classes.parquet: the same after people's changes, without what they rejected or excluded."""
        return self.path / "classes.parquet"

    @property
    def rounds_path(self) -> Path:
        """rounds.json: what the rounds after stage 2 brought, and the model that they ended with."""
        return self.path / "rounds.json"

    @property
    def final_model(self) -> str:
        """Folder of the final model: ``rounds/<number>`` of the last round upon this very stage 2, else ``stage2``."""
        rounds = read_json_if_there(self.rounds_path)
        return rounds["model"] if rounds and rounds["stage2"] == self.fingerprint_of("stage2") else "stage2"

    @property
    def progress_path(self) -> Path:
        """progress.json: how far the running or last stage came."""
        return self.path / "progress.json"

    def fingerprint_of(self, stage: str) -> str:
        """Of what a finished stage was made from; empty while it is not finished."""
        record = read_json_if_there(self.stage_path(stage))
        return record["fingerprint"] if record else ""

    def parts_path(self, stage: str, fingerprint: str) -> Path:
        """Folder of a stage's finished shards, for one set of settings and photos."""
        return self.path / "parts" / f"{stage}-{fingerprint[:12]}"

    def stage_path(self, stage: str) -> Path:
        """What a finished stage was made from."""
        return self.path / "stages" / f"{stage}.json"

    def vectors_path(self, fingerprint: str) -> Path:
        """Folder of the raw vectors of the masks."""
        return self.path / "features" / f"masks-{fingerprint[:12]}"

    def mended_vectors_path(self, fingerprint: str) -> Path:
        """The same where people mended some of them."""
        return self.path / "features" / f"mended-{fingerprint[:12]}"

    @property
    def mended_vectors(self) -> list[Path]:
        """All folders of that kind."""
        return sorted((self.path / "features").glob("mended-*"))

    def thumbs_path(self, fingerprint: str) -> Path:
        """Folder of the masks' thumbnails, for one set of settings and photos."""
        return self.path / "thumbs" / fingerprint[:12]

    def pool_path(self, fingerprint: str) -> Path:
        """Folder of the photos' candidates, for one set of settings and photos."""
        return self.path / "pool" / fingerprint[:12]

    @property
    def pool(self) -> Path:
        """Folder of the photos' candidates that go with the finished proposals; runs may be without."""
        return self.pool_path(self.fingerprint_of("proposals"))

    @property
    def thumbs(self) -> Path:
        """Folder of the masks' thumbnails.

        Raises:
            RunError: If the masks are not finished.
        """
        fingerprint = self.masks_fingerprint
        if not fingerprint:
            raise RunError(f"No finished masks in {self.path}. Finish them with: maskdistill propose --run {self.path}")
        return (self.repairs if self.mask_stage == "repairs" else self).thumbs_path(fingerprint)

    def thumbnail(self, mask_id: int) -> Path:
        """96-pixel JPEG of a mask's crop.

        Raises:
            RunError: If the masks are not finished.
        """
        return thumbnail_in(self.thumbs, mask_id)

    def info(self) -> dict[str, Any]:
        """run.json.

        Raises:
            RunError: If the folder holds no run, one of a later version of the program, or run.json is damaged.
        """
        try:
            info = read_json(self.path / INFO)
        except FileNotFoundError as error:
            has_copy = (self.path / INFO_COPY).is_file()
            start = f"maskdistill run --run {self.path}"
            remedy = f"Put its copy back with: {start}" if has_copy else f"Start one with: {start} --data ..."
            raise RunError(f"No run in {self.path}: run.json is missing. {remedy}") from error
        if info.get("format", FORMAT) > FORMAT:
            made_by = info.get("versions", {}).get("maskdistill", "a later version")
            raise RunError(
                f"{self.path} was made by maskdistill {made_by}, in a format that {__version__} does not know. "
                "Use that version, or a newer one, to look at it or to go on with it; nothing in it was changed."
            )
        return info

    def config(self) -> RunConfig:
        """The settings in run.json.

        Raises:
            RunError: As ``info``, or if there are settings that this version does not know.
        """
        try:
            return RunConfig.from_dict(self.info()["config"])
        except ConfigError as error:
            raise DamagedFileError(self.path / INFO, first_line(error)) from error

    def write_info(self, info: dict[str, Any]) -> None:
        """Replace run.json, and its copy."""
        write_json(self.path / INFO, info)
        write_json(self.path / INFO_COPY, info)

    def restore_info(self, *, started_anew: bool) -> None:
        """Put the copy of run.json back where that is damaged, which is renamed, or is gone; else renew the copy.

        Args:
            started_anew: Whether a run.json that is gone was let go on purpose.

        Raises:
            RunError: If run.json is of a later version.
        """
        try:
            if self.exists:
                self.config()
                write_json(self.path / INFO_COPY, self.info())
                return
            if started_anew:
                return
        except DamagedFileError as error:
            logger.warning("%s", error)
        copy = read_json_if_there(self.path / INFO_COPY)
        if copy is not None:
            if os.path.lexists(self.path / INFO):
                rename_aside(self.path / INFO)
            write_json(self.path / INFO, copy)

    def images(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """id, path, height, width, digest, split, readable, reason, problem: one row a photo, in the source's order.

        Args:
            columns: Which of them; None for all.
        """
        return self._table(self.images_path, columns)

    def masks(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One row a mask of those that count, the photos in order, best mask first.

        Args:
            columns: Which of them; None for all.
        """
        return self._table(self.masks_path, columns)

    def own_masks(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The same of the run's own masks, before people mended any."""
        return self._table(self.own_masks_path, columns)

    def cut_masks(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The same of the masks as they were cut."""
        return self._table(self.cut_masks_path, columns)

    def clusters(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """mask_id, cluster, distance, margin, fitted: one row a mask that has a vector.

        Args:
            columns: Which of them; None for all.
        """
        return self._table(self.clusters_path, columns)

    def classes(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """What the models learn from, columns as in ``clusters``; the clusters themselves where nobody changed them."""
        return self._table(self.classes_path if self.classes_path.exists() else self.clusters_path, columns)

    def class_of_mask(self) -> dict[int, int]:
        """Mask id -> class, 1 to K."""
        table = self.classes()
        return dict(zip(table["mask_id"].tolist(), table["cluster"].tolist(), strict=True))

    @property
    def num_classes(self) -> int:
        """K, the highest number of a class: people may have left some below it empty."""
        classes = read_json_if_there(self.path / "classes.json")
        return (classes or read_json(self.path / "clusters.json"))["num_classes"]

    def prediction(self, kind: str, number: int) -> Path:
        """Label map of a photo, palette PNG, by ``stage1`` or ``stage2``, or as one of ``FINAL_KINDS``."""
        return self.path / "predictions" / kind / f"{number // 1000:05d}" / f"{number:06d}.png"


def thumbnail_in(folder: Path, mask_id: int) -> Path:
    """A mask's file in a folder of thumbnails, a thousand a subfolder."""
    return folder / f"{mask_id // 1000:05d}" / f"{mask_id}.jpg"


def final_measures(measured: Mapping[str, Any]) -> dict[str, Any] | None:
    """The part of metrics.json about the final label maps; None if no photo had ground truth."""
    return next((measured[kind] for kind in FINAL_KINDS if measured.get(kind)), None)


def list_runs(folder: Path) -> list[Run]:
    """Runs inside a folder, newest first; none if the folder is missing."""
    if not folder.is_dir():
        return []
    found: list[tuple[float, Run]] = []
    for path in folder.iterdir():
        with suppress(OSError):  # no run, or one that is deleted just now
            if not roots.leads_out(path):
                names = (path / name for name in (INFO, INFO_COPY))  # without the first it is a damaged run
                there = next((name for name in names if os.path.lexists(name)), path / INFO)
                found.append((there.lstat().st_mtime, Run(path)))
    return [run for _, run in sorted(found, key=lambda item: item[0], reverse=True)]


def runs_folder() -> Path:
    """Where the app keeps runs: ``$MASKDISTILL_RUNS``, else ``runs`` in the working folder."""
    return roots.runs_folder()


def fingerprint(value: Any) -> str:
    """Hex digest of a JSON-able value; equal values, equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a Parquet file in one step."""
    replace_atomically(path, lambda temporary: table.to_parquet(temporary, index=False))
