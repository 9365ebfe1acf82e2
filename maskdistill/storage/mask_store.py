"""Random access to the masks of a run: one of fifty thousand in a millisecond, without parsing its COCO file.

The codes are checked when the copy for quick access is made, because pycocotools paints whatever stands there.
"""

import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa

from maskdistill import __version__
from maskdistill.datasets.coco_masks import AnnotationError, check_total, decode_counts
from maskdistill.errors import RunError
from maskdistill.files import replace_atomically
from maskdistill.masks import decode_mask
from maskdistill.storage.mask_tables import as_categories, coded_table, read_about, read_annotations, read_code_columns
from maskdistill.storage.read_files import DamagedFileError, MissingFileError, read_json, read_table, reading
from maskdistill.storage.run_folder import Run
from maskdistill.storage.text_cells import read_text_cells

Which = Literal["masks", "own", "proposals", "candidates"]
_MADE_FROM = b"checked"  # key in the file's schema: size and time of the COCO file and of the table of photos
_CHECKSUM = b"crc32"
_AT_ONCE = 500  # codes that are decoded together; their arrays stay in the processor's cache


class MaskCodes:
    """Run-length codes and boxes by mask id.

    They are those of the masks' table, or of their COCO file where there is no such table; beside it lies a
    memory-mapped copy, ``<name>.arrow``, that is made when it is missing or older, and may be deleted. Where it cannot
    be written the codes stay in memory.
    """

    def __init__(self, path: Path, table: pa.Table) -> None:
        self.path = path
        self.ids: np.ndarray = table["mask_id"].to_numpy()  # (N,) int64, rising
        self.images: np.ndarray = table["image"].to_numpy()  # (N,) int32, number of the photo
        self._sizes = [table[name].to_numpy() for name in ("height", "width")]
        self._counts = table["counts"]
        self._sides = [table[name].to_numpy() for name in "xywh"]

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) int32: x, y, width, height in pixels."""
        return np.stack(self._sides, axis=1)

    @classmethod
    def open(cls, run: Run, which: Which = "masks") -> Self:
        """The masks that count, the same before people mended any, the proposals as they were cut, or the candidates as
        the first model draws them.

        Raises:
            RunError: If there are none yet, or their file is damaged.
        """
        paths = {"masks": run.codes_path, "own": run.own_codes_path, "proposals": run.proposals_path}
        paths["candidates"] = run.candidate_masks_path
        return cls.of_file(paths[which])

    @classmethod
    def of_file(cls, coco_path: Path) -> Self:
        """The masks of a COCO file, or of the table that it is a copy of; the rest as ``open``."""
        path = coco_path
        images, path = _images_path(path), coded_table(path) or path
        made_from = b" ".join(_state(file) for file in (path, images) if file is not None)
        copy = coco_path.with_suffix(".arrow")
        if (table := _read(copy, made_from)) is None:
            table = _parse(path, images) if path == coco_path else _check_codes(path, images)
            table = table.replace_schema_metadata({_MADE_FROM: made_from, _CHECKSUM: _checksum(table)})
            try:
                replace_atomically(copy, lambda temporary: _write(temporary, table))
            except OSError:  # a full disk, or a run that may only be read
                return cls(path, table)
            table = _read(copy, made_from) or table
        return cls(path, table)

    def __contains__(self, mask_id: int) -> bool:
        return self._find(mask_id) is not None

    def __len__(self) -> int:
        return len(self.ids)

    def code(self, mask_id: int) -> dict[str, Any]:
        """COCO's compressed run-length code at the photo's size, as ``encode_mask`` gives it.

        Raises:
            RunError: If there is no such mask.
        """
        row = self._row(mask_id)
        return {"size": [int(side[row]) for side in self._sizes], "counts": self._counts[row].as_py()}

    def decode(self, mask_id: int) -> np.ndarray:
        """(H, W) bool mask at the photo's size.

        Raises:
            RunError: If there is no such mask.
        """
        return decode_mask(self.code(mask_id))

    def box(self, mask_id: int) -> tuple[int, int, int, int]:
        """(x, y, width, height) in pixels.

        Raises:
            RunError: If there is no such mask.
        """
        row = self._row(mask_id)
        x, y, width, height = (int(side[row]) for side in self._sides)
        return x, y, width, height

    def _find(self, mask_id: int) -> int | None:
        row = int(np.searchsorted(self.ids, mask_id))
        return row if row < len(self.ids) and self.ids[row] == mask_id else None

    def _row(self, mask_id: int) -> int:
        row = self._find(mask_id)
        if row is None:
            raise RunError(f"No mask {mask_id} in {self.path}.")
        return row


def read_masks(path: Path) -> dict[str, Any]:
    """A run's masks as COCO, once their codes are known to be sound: from their table, or their COCO file as it is.

    Raises:
        RunError: If there are none, or a file is damaged.
    """
    MaskCodes.of_file(path)
    table = coded_table(path)
    if table is None:
        return dict(read_json(path))
    about = read_about(table)
    some = about.get("photos")
    info = {"info": {"description": f"Unsupervised object masks, by maskdistill {__version__}"}}
    return {
        **(info if some is None else {}),
        "images": _read_photos(table, some),
        "annotations": read_annotations(table),
        "categories": as_categories(about.get("classes", ())),
    }


def _read_photos(path: Path, some: Collection[int] | None) -> list[dict[str, Any]]:
    """COCO's entries of the photos, or some of them, which are named by their ids; none where no table tells them."""
    images = _images_path(path)
    if images is None:
        return []
    table = read_table(images)
    table = table[table["digest"].notna()]
    if some is not None:
        numbers = sorted(some)
        if numbers and numbers[-1] >= len(table):
            raise DamagedFileError(path, f"it is of a photo {numbers[-1]}, which {images.name} does not have")
        rows = table[["id", "height", "width"]].iloc[numbers].itertuples(index=False)
        return [
            {"id": number, "file_name": id, "height": int(height), "width": int(width)}
            for number, (id, height, width) in zip(numbers, rows, strict=True)
        ]
    with reading(images):
        named = "file_name" in table  # which runs of before did not have
        names = read_text_cells(table, "file_name") if named else [Path(path).name for path in table["path"]]
        cells = zip(names, table["height"].astype(int).tolist(), table["width"].astype(int).tolist(), strict=True)
        return [
            {"id": number, "file_name": name, "height": height, "width": width}
            for number, (name, height, width) in enumerate(cells)
        ]


def _images_path(path: Path) -> Path | None:
    """The table of the photos that the masks are of: beside the file, or in the run above its folder."""
    return next((file for folder in list(path.parents)[:3] if (file := folder / "images.parquet").is_file()), None)


def _state(path: Path) -> bytes:
    try:
        with reading(path):
            return f"{path.stat().st_size} {path.stat().st_mtime_ns}".encode()
    except FileNotFoundError as error:
        raise MissingFileError(path) from error


def require_sound(
    path: Path, masks: Sequence[Mapping[str, Any]], sizes: Sequence[tuple[int, int]] | np.ndarray
) -> None:
    """Refuse a file's masks whose run-length codes do not add up, or are of another size than their photo.

    Args:
        path: The file, for the message.
        masks: As COCO writes them.
        sizes: (height, width) in pixels of the photo of each.

    Raises:
        DamagedFileError: Naming the first such mask.
    """
    codes = [mask["segmentation"] for mask in masks]
    found = np.array([code["size"] for code in codes], np.int64).reshape(-1, 2)
    _require_sound(path, [mask["id"] for mask in masks], [code["counts"] for code in codes], found, np.array(sizes))


def _require_sound(
    path: Path, ids: Sequence[int], counts: Sequence[str], sizes: np.ndarray, wanted: np.ndarray
) -> None:
    """The same of columns; sizes are (N, 2), height and width in pixels."""
    wanted = wanted.reshape(-1, 2)
    for first in range(0, len(ids), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        totals = decode_counts(counts[some])[2]
        wrong = (totals != sizes[some].prod(axis=1)) | (sizes[some] != wanted[some]).any(axis=1)
        for place in np.flatnonzero(wrong).tolist():
            (height, width), (high, wide) = sizes[first + place].tolist(), wanted[first + place].tolist()
            try:
                check_total(int(totals[place]), height, width)
            except AnnotationError as error:
                raise DamagedFileError(path, f"mask {ids[first + place]}: {error}") from error
            raise DamagedFileError(
                path, f"mask {ids[first + place]} has {height} x {width} pixels, its photo {high} x {wide}"
            )


def _sizes_of(path: Path, ids: Sequence[int], numbers: np.ndarray, own: np.ndarray, images: Path | None) -> np.ndarray:
    """(N, 2) height and width of each mask's photo; of the masks themselves where there is no table of photos."""
    if images is None:
        return own
    table = read_table(images, ("height", "width", "digest"))
    table = table[table["digest"].notna()]  # as they are numbered
    photos = np.stack([table[name].to_numpy(np.int64) for name in ("height", "width")], axis=1)
    strange = np.flatnonzero(numbers >= len(photos))
    if len(strange):
        raise DamagedFileError(path, f"mask {ids[strange[0]]} is of no photo of {images.name}")
    return photos[numbers]


def _check_codes(path: Path, images: Path | None) -> pa.Table:
    """The codes of a table of masks, once they are known to be sound."""
    table = read_code_columns(path)
    with reading(path):
        ids = table["mask_id"].to_pylist()
        own = np.stack([table[name].to_numpy().astype(np.int64) for name in ("height", "width")], axis=1)
        wanted = _sizes_of(path, ids, table["image"].to_numpy(), own, images)
        _require_sound(path, ids, table["counts"].to_pylist(), own, wanted)
    return table


def _parse(path: Path, images: Path | None) -> pa.Table:
    items = sorted(read_json(path)["annotations"], key=lambda item: item["id"])
    with reading(path):
        ids, numbers = [item["id"] for item in items], np.array([item["image_id"] for item in items], np.int64)
        own = np.array([item["segmentation"]["size"] for item in items], np.int64).reshape(-1, 2)
        require_sound(path, items, _sizes_of(path, ids, numbers, own, images))
        return _as_table(path, items)


def _as_table(path: Path, items: list[dict[str, Any]]) -> pa.Table:
    ids = [item["id"] for item in items]
    if len(set(ids)) < len(ids):
        raise DamagedFileError(path, "two masks have one id")
    boxes = [item["bbox"] for item in items]
    sizes = [item["segmentation"]["size"] for item in items]
    columns = {
        "mask_id": pa.array(ids, pa.int64()),
        "image": pa.array([item["image_id"] for item in items], pa.int32()),
        **{name: pa.array([int(box[place]) for box in boxes], pa.int32()) for place, name in enumerate("xywh")},
        "height": pa.array([size[0] for size in sizes], pa.int32()),
        "width": pa.array([size[1] for size in sizes], pa.int32()),
        "counts": pa.array([item["segmentation"]["counts"] for item in items], pa.large_string()),
    }
    return pa.table(columns)


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _read(path: Path, made_from: bytes) -> pa.Table | None:
    """The copy, mapped into memory; None if it is missing, damaged or of another file."""
    try:
        with reading(path):
            table = _map(path)
            table.validate(full=True)
            known = table.schema.metadata or {}
            is_sound = known.get(_MADE_FROM) == made_from and known.get(_CHECKSUM) == _checksum(table)
            again = _map(path)  # of which nothing is in memory yet
            return again if is_sound and again.schema.metadata == known else None
    except (FileNotFoundError, DamagedFileError):
        return None


def _map(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _checksum(table: pa.Table) -> bytes:
    """Of what the table holds, however it lies in memory."""
    checksum = 0
    for column in table.columns:
        for chunk in column.chunks:
            if not pa.types.is_large_string(chunk.type):
                checksum = zlib.crc32(np.ascontiguousarray(chunk.to_numpy()).data, checksum)
                continue
            ends = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
            texts = memoryview(chunk.buffers()[2] or b"")[ends[0] : ends[-1]]
            checksum = zlib.crc32(texts, zlib.crc32(ends - ends[0], checksum))
    return str(checksum).encode()
