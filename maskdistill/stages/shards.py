"""The photos of a run in small parts, so that a process that is killed loses little, and several can share the work."""

import logging
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from maskdistill.errors import ConfigError
from maskdistill.files import write_json
from maskdistill.stages.tasks import PhotoResult
from maskdistill.storage.mask_store import require_sound
from maskdistill.storage.read_files import DamagedFileError, read_json_if_there, reading

logger = logging.getLogger(__name__)

PHOTOS_PER_PART = 32


@dataclass(frozen=True)
class Shard:
    """Which parts a process takes: the i-th of n shares, from 1."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``3/16``.

        Raises:
            ConfigError: If it is not two whole numbers with 1 <= i <= n.
        """
        left, slash, right = text.partition("/")
        if not (slash and left.isdecimal() and right.isdecimal() and 1 <= int(left) <= int(right)):
            raise ConfigError(f"--shard wants i/n with 1 <= i <= n, such as 3/16, got '{text}'.")
        return cls(int(left), int(right))

    def has(self, photo: int) -> bool:
        """Whether the photo of that number is in one of its parts."""
        return photo // PHOTOS_PER_PART % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


@dataclass(frozen=True)
class Parts:
    """Results of photos on disk, one file a part."""

    folder: Path
    sizes: Sequence[tuple[int, int]]  # (height, width) of each photo in pixels

    @cached_property
    def photos(self) -> list[range]:
        """Photo numbers of each part. Made once: it is asked for at every photo."""
        firsts = range(0, len(self.sizes), PHOTOS_PER_PART)
        return [range(first, min(first + PHOTOS_PER_PART, len(self.sizes))) for first in firsts]

    def of(self, shard: Shard) -> list[int]:
        """Numbers of the parts of a shard."""
        return list(range(shard.index - 1, len(self.photos), shard.count))

    def read(self, number: int) -> dict[int, dict[str, Any]]:
        """Results of a part, by photo number."""
        path = self._path(number)
        try:
            known = read_json_if_there(path) or ()
            with reading(path) if known else nullcontext():
                masks = [mask for item in known for mask in item["annotations"]]
                require_sound(path, masks, [self.sizes[mask["image_id"]] for mask in masks])
        except DamagedFileError as error:  # its photos are done again
            logger.warning("%s", error)
            return {}
        return {item["number"]: item for item in known if item["number"] in self.photos[number]}

    def read_all(self) -> list[dict[str, Any]]:
        """Results of all photos that have one, in order."""
        return [item for number in range(len(self.photos)) for _, item in sorted(self.read(number).items())]

    def drop_others(self) -> None:
        """Forget what the same stage did by other settings, where these would write the same files."""
        stage = self.folder.name.rpartition("-")[0]
        for folder in self.folder.parent.glob(f"{stage}-*/"):
            if folder != self.folder:
                shutil.rmtree(folder)

    def write(self, number: int, results: Mapping[int, dict[str, Any]]) -> None:
        """Replace the results of a part."""
        write_json(self._path(number), [results[index] for index in sorted(results)], indent=None)

    def keep(
        self,
        done: Mapping[int, dict[int, dict[str, Any]]],
        results: Generator[PhotoResult, None, None],
        on_result: Callable[[], object],
    ) -> None:
        """Add results of photos as they come: a part is written when it is whole, one cut short with what it has.

        Args:
            done: By the number of the part what there is of it, by photo; the results are added.
            results: Closed at the end, come what may.
            on_result: Called after each.
        """
        part_of = {photo: number for number in done for photo in self.photos[number]}
        changed: set[int] = set()
        try:
            for result in results:
                number = part_of[result.number]
                done[number][result.number] = asdict(result)
                changed.add(number)
                on_result()
                if len(done[number]) == len(self.photos[number]):
                    self.write(number, done[number])
                    changed.discard(number)
        finally:
            results.close()
            if self.folder.parents[1].is_dir():  # the run was not deleted meanwhile
                for number in sorted(changed):
                    self.write(number, done[number])

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"
