"""What every stage after the masks is given: the run, its photos, settled settings, and how to report progress."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, PhotoSource
from maskdistill.datasets.splits import training_numbers
from maskdistill.machine import num_gpus
from maskdistill.stages.photo_work import Share
from maskdistill.stages.pool import HERE, Workers
from maskdistill.storage.mask_store import read_masks
from maskdistill.storage.progress import Reporter
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import TokenStore

if TYPE_CHECKING:
    from maskdistill.datasets.transforms import PatchGeometry
    from maskdistill.features.patch_tokens import StoredTokens
    from maskdistill.models import Predictor


@dataclass(frozen=True)
class Context:
    """One stage at work."""

    run: Run
    source: PhotoSource
    config: RunConfig  # backbone, precision and shorter side settled
    tokens_path: Path  # folder of patch tokens
    key: str  # fingerprint of everything the stage is made from
    workers: Workers = HERE
    quiet: bool = False
    own_key: str = ""  # where people mended masks: the same without that; empty: they mended none
    reports_as: str = ""  # the stage whose progress every step is; empty: each reports under its own name
    share: Share | None = None  # this process's part of the stage's photos; None: all

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Photo id -> its number in the source."""
        return {photo.id: number for number, photo in enumerate(self.source.photos)}

    @property
    def readable(self) -> list[tuple[int, Photo]]:
        """The photos that could be read when the masks were made, with their numbers."""
        table = self.run.images()
        ids = set(table.loc[table["readable"].astype(bool), "id"])
        return [(number, photo) for number, photo in enumerate(self.source.photos) if photo.id in ids]

    @property
    def own_numbers(self) -> list[int]:
        """Numbers of those of the readable photos that are this process's."""
        return [number for number, _ in self.readable if self.share is None or self.share.shard.has(number)]

    @cached_property
    def training_numbers(self) -> list[int]:
        """Photos that training may see: the train split where there is one, else all; those with a mask only.

        Without vectors a photo's masks are in no cluster, and all of it would pass for background.
        """
        failed = read_json(self.run.path / "embeddings.json")["errors"]
        numbers = [number for number in training_numbers(self.source) if number in self.annotations]
        return [number for number in numbers if self.photo(number).id not in failed]

    @cached_property
    def annotations(self) -> dict[int, list[dict[str, Any]]]:
        """The masks that count, of each photo that has any: COCO annotations, best first."""
        return annotations_by_photo(self.run.codes_path)

    @cached_property
    def tokens(self) -> TokenStore:
        """Patch tokens of each photo."""
        return TokenStore(self.tokens_path)

    @property
    def works_here(self) -> bool:
        """Whether what takes less time than loading torch in other processes is done by this one."""
        return self.workers.engine == "local" and num_gpus() < 2

    @property
    def light_workers(self) -> Workers:
        """For such work: this process alone, but on GPUs or a cluster."""
        return replace(self.workers, count=1) if self.works_here else self.workers

    def photo(self, number: int) -> Photo:
        """A photo by its number."""
        return self.source.photos[number]

    @cached_property
    def stored_tokens(self) -> "StoredTokens":
        """Patch tokens of each photo with the grid that they lie on."""
        from maskdistill.features.patch_tokens import StoredTokens  # loads torch, which many stages do without

        return StoredTokens(self.tokens_path, self.config.features)

    def geometry(self, photo: Photo) -> "PatchGeometry":
        """The grid that a photo's stored tokens lie on, without loading the backbone."""
        return self.stored_tokens.geometry(photo)

    @cached_property
    def _predictors(self) -> dict[str, "Predictor"]:
        return {}

    def predictor(self, stage: str) -> "Predictor":
        """A trained model, as ``load_model`` takes its name, loaded once; a ``patch_head`` reads stored tokens."""
        if stage not in self._predictors:
            self._predictors[stage] = self._load_predictor(stage)
        return self._predictors[stage]

    def _load_predictor(self, stage: str) -> "Predictor":
        from maskdistill.models.predictor import load_model  # loads torch too

        return load_model(
            self.run,
            stage,
            lambda photo: self.stored_tokens.read(self.numbers[photo.id], photo),
            object_prior=False,
        )

    def reporter(self, stage: str, total: int, done: int = 0, unit: str = "photos") -> Reporter:
        """Progress of this stage."""
        name = self.reports_as or stage
        return Reporter(self.run.progress_path, name, total, done, unit=unit, quiet=self.quiet)


def annotations_by_photo(path: Path) -> dict[int, list[dict[str, Any]]]:
    """The annotations of a COCO file of masks, by photo number."""
    found: dict[int, list[dict[str, Any]]] = {}
    for annotation in read_masks(path)["annotations"]:
        found.setdefault(annotation["image_id"], []).append(annotation)
    return found
