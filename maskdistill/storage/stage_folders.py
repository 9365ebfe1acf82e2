"""Where the optional stages of a run keep what they make."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MaskFolder:
    """Where a stage leaves masks that count in place of those of the stages before."""

    path: Path

    @property
    def codes_path(self) -> Path:
        """masks.json: COCO, all masks of the run after the stage."""
        return self.path / "masks.json"

    @property
    def masks_path(self) -> Path:
        """masks.parquet: one row a mask of these."""
        return self.path / "masks.parquet"

    def drop_masks(self) -> None:
        """Take the masks away, so that those of the stages before count."""
        for path in (self.masks_path, self.codes_path, self.codes_path.with_suffix(".arrow")):
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class ForegroundFolder(MaskFolder):
    """Where the foreground that was learnt across photos lies, and the masks after it.

    A row of the table has ``recut`` where its shape is the foreground's, and ``cut_id`` as cut.
    """

    @property
    def record_path(self) -> Path:
        """foreground.json, in the run: whether it is used, and why not."""
        return self.path.parent / "foreground.json"

    @property
    def heads_path(self) -> Path:
        """heads.npz: a small perceptron a fold."""
        return self.path / "heads.npz"

    @property
    def maps_path(self) -> Path:
        """Folder of the probability maps, (rows, cols, 1) float16 a photo."""
        return self.path / "maps"


@dataclass(frozen=True)
class RepairFolder(MaskFolder):
    """Where the masks lie as people mended them, and what is kept so that all can be as before."""

    @property
    def record_path(self) -> Path:
        """record.json: how many masks were mended, are new, or went into others."""
        return self.path / "record.json"

    def thumbs_path(self, fingerprint: str) -> Path:
        """Folder of the masks' thumbnails, for one set of repairs."""
        return self.path / "thumbs" / fingerprint[:12]

    @property
    def vectors_path(self) -> Path:
        """Folder of the raw vectors of single mended masks, by photo and shape, so that each is made once."""
        return self.path / "vectors"

    @property
    def before_path(self) -> Path:
        """Folder of what the run had made before, under the names that it has in the run."""
        return self.path / "before"

    @property
    def clusters_path(self) -> Path:
        """Folder of the clustering that mended masks are put into."""
        return self.path / "clusters"


@dataclass(frozen=True)
class InstanceHeadFolder:
    """Where one head that finds single objects lies, and what it learns from."""

    path: Path

    @property
    def model_path(self) -> Path:
        """model.safetensors: the trained head."""
        return self.path / "model.safetensors"

    @property
    def start_path(self) -> Path:
        """start.safetensors: the head before its training, while the heads are not finished."""
        return self.path / "start.safetensors"

    @property
    def composites_path(self) -> Path:
        """Folder of its composites, while the heads are not finished."""
        return self.path / "composites"


@dataclass(frozen=True)
class InstanceFolder:
    """Where the heads that find single objects lie, and what they found."""

    path: Path

    @property
    def record_path(self) -> Path:
        """record.json: whether they are used, and why not; how their scores compare with the pool's."""
        return self.path / "record.json"

    def head(self, number: int) -> InstanceHeadFolder:
        """The folder of a head, numbered from 0 as the folds that they judge; the first one's is this folder."""
        return InstanceHeadFolder(self.path / f"head-{number}" if number else self.path)

    @property
    def codes_path(self) -> Path:
        """instances.json, in the run: COCO, the objects of every photo; a copy of the table, where these are few."""
        return self.path.parent / "instances.json"

    @property
    def masks_path(self) -> Path:
        """instances.parquet, in the run: the objects of every photo with score, class and code."""
        return self.codes_path.with_suffix(".parquet")

    def drop_masks(self) -> None:
        """Take the objects away."""
        for path in (self.masks_path, self.codes_path, self.codes_path.with_suffix(".arrow")):
            path.unlink(missing_ok=True)
