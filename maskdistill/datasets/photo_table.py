"""Photos as columns: a million of them as a table of a few hundred megabytes, each made when it is asked for."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from maskdistill.datasets.addresses import is_address, public
from maskdistill.datasets.records import Photo, Place
from maskdistill.datasets.views import ViewRecipe

if TYPE_CHECKING:  # pyarrow is imported by those who have such a table
    import pyarrow as pa

PLACE_COLUMNS = ("place_file", "place_start", "place_size")  # null where the photo is a file of its own
COLUMNS = ("id", "path", "height", "width", "digest", "split", *PLACE_COLUMNS)  # those of ``Photo``, paths as bytes
FEW = 50_000  # photos up to which objects cost little, and are quicker to go through again and again
_AT_ONCE = 10_000  # photos that are taken out of the columns together


class PhotoTable(Sequence[Photo]):
    """A sequence of photos without views.

    Args:
        rows: A table that has at least ``COLUMNS``.
    """

    def __init__(self, rows: "pa.Table") -> None:
        self._rows = rows.select(list(COLUMNS)).combine_chunks()

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    @overload
    def __getitem__(self, place: int) -> Photo: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Photo, ...]: ...

    def __getitem__(self, place: int | slice) -> Photo | tuple[Photo, ...]:
        if isinstance(place, slice):
            return tuple(self._made(self._rows.take(list(range(len(self))[place]))))
        row = range(len(self))[place]  # counts from the end as others do, and raises IndexError
        return next(self._made(self._rows.slice(row, 1)))

    def __iter__(self) -> Iterator[Photo]:
        for first in range(0, len(self), _AT_ONCE):
            yield from self._made(self._rows.slice(first, _AT_ONCE))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PhotoTable):
            return bool(self._rows.equals(other._rows))
        return isinstance(other, Sequence) and len(self) == len(other) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash((len(self), self[0] if len(self) else None))

    def column(self, name: str) -> list[Any]:
        """The values of one of ``COLUMNS``, of all photos."""
        return list(self._rows[name].to_pylist())

    def number_of(self, id: str) -> int | None:
        """Place of a photo, or None."""
        from pyarrow import compute as pc

        place = pc.index(self._rows["id"], id).as_py()
        return None if place < 0 else place

    def arranged(self, order: Sequence[int]) -> "PhotoTable":
        """The photos of these places, in that order."""
        return PhotoTable(self._rows.take(list(order)))

    @property
    def has_places(self) -> bool:
        """Whether any of the photos is no file of its own."""
        return int(self._rows["place_file"].null_count) < len(self)

    @staticmethod
    def _made(rows: "pa.Table") -> Iterator[Photo]:
        cells = zip(*(rows[name].to_pylist() for name in COLUMNS), strict=True)
        for id, path, height, width, digest, split, *place in cells:
            yield Photo(id, Path(os.fsdecode(path)), height, width, digest, split, place=as_place(*place))


def photos_of_rows(rows: "pa.Table") -> Sequence[Photo]:
    """The photos of a table: a tuple where they are few, a ``PhotoTable`` where they are many."""
    table = PhotoTable(rows)
    return tuple(table) if len(table) <= FEW else table


def as_place(file: bytes | None, start: int | None, size: int | None) -> Place | None:
    """A place from the cells of ``PLACE_COLUMNS``."""
    return None if file is None or start is None or size is None else Place(os.fsdecode(file), start, size)


def values_of(photos: Sequence[Photo], name: str) -> list[Any]:
    """``id``, ``height``, ``width``, ``digest`` or ``split`` of each photo."""
    return photos.column(name) if isinstance(photos, PhotoTable) else [getattr(photo, name) for photo in photos]


def number_of(photos: Sequence[Photo], id: str) -> int | None:
    """Place of the photo with this id; None where there is none."""
    if isinstance(photos, PhotoTable):
        return photos.number_of(id)
    return next((number for number, photo in enumerate(photos) if photo.id == id), None)


def arranged(photos: Sequence[Photo], order: Sequence[int]) -> Sequence[Photo]:
    """The photos of these places, in that order; of many none is made before it is asked for."""
    if isinstance(photos, PhotoTable):
        return photos.arranged(order)
    return tuple(photos[place] for place in order)


def keys_of(photos: Sequence[Photo]) -> Iterable[tuple[str, str, ViewRecipe | None]]:
    """Id, digest and view of each photo: what the fingerprint of a source is made of."""
    if isinstance(photos, PhotoTable):
        return ((id, digest, None) for id, digest in zip(photos.column("id"), photos.column("digest"), strict=True))
    return ((photo.id, photo.digest, photo.view) for photo in photos)


def paths_of(photos: Sequence[Photo]) -> list[bytes]:
    """The path of each photo, as the system takes it."""
    return photos.column("path") if isinstance(photos, PhotoTable) else [os.fsencode(photo.path) for photo in photos]


def have_places(photos: Sequence[Photo]) -> bool:
    """Whether any of the photos is no file of its own."""
    if isinstance(photos, PhotoTable):
        return photos.has_places
    return any(photo.place is not None for photo in photos)


def written_place(place: Place | None) -> Place | None:
    """A place as it may be written: an address without what may be secret."""
    if place is None or not is_address(place.file):
        return place
    return Place(public(place.file), place.start, place.size)


def place_cells(places: Sequence[Place | None]) -> dict[str, list[Any]]:
    """The cells of ``PLACE_COLUMNS``."""
    return {
        "place_file": [None if place is None else os.fsencode(place.file) for place in places],
        "place_start": [None if place is None else place.start for place in places],
        "place_size": [None if place is None else place.size for place in places],
    }
