"""What somebody names as masks: found out of which format it is, read, matched with the photos, counted."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from maskdistill.datasets import Photo, PhotoSource, ProgressCallback, path_of
from maskdistill.datasets.coco_folders import find_jsons
from maskdistill.datasets.coco_json import load_any_json
from maskdistill.datasets.coco_masks import AnnotationError
from maskdistill.datasets.label_files import LABEL_SUFFIXES
from maskdistill.datasets.records import LeftOut
from maskdistill.datasets.scanning import natural_key
from maskdistill.errors import DatasetError, printable
from maskdistill.imports import coco_files, fiftyone_files, label_pictures, yolo_files
from maskdistill.imports.mask_codes import CodedMask, code_masks, keep_places
from maskdistill.imports.photo_names import Found, PhotoNames
from maskdistill.imports.records import GivenMask, GivenPhoto, Losses
from maskdistill.imports.scores import scale_scores
from maskdistill.roots import confine, is_inside
from maskdistill.storage.imported_masks import FORMATS, MOST_PER_PHOTO, BroughtMasks, by_photo

MAX_FILES = 2_000_000  # looked at in one folder
WANTED = (
    "Wanted: COCO json, a list of COCO results, json of Segment Anything, a folder of PNG, YOLO text or VOC, or an "
    "export of FiftyOne."
)
_REMEDY = "Give a json of masks."
_MOST_REFUSED = 1000  # photos of which run.json says why they have no mask
SHARED = "of photos that several names of the file lead to"
BEYOND = "beyond the number of masks that a photo may have"


@dataclass
class _Read:
    """What the files give, before it is matched."""

    format: str
    photos: list[GivenPhoto] = field(default_factory=list)
    notes: list[LeftOut] = field(default_factory=list)
    ids: coco_files.ImageIds | None = None  # of results


def read_given_masks(
    path: str | Path,
    source: PhotoSource,
    *,
    format: str = "auto",
    images: str | Path | None = None,
    most: int = 0,
    crowds: bool = True,
    before: pd.DataFrame | None = None,
    on_progress: ProgressCallback | None = None,
) -> BroughtMasks:
    """Masks of another tool or of people, for the photos of a source.

    Args:
        path: File or folder.
        source: The photos.
        format: A key of ``FORMATS``, or "auto" to find out.
        images: The COCO file that says which photo an ``image_id`` of results is; None takes those of the source.
        most: Masks a photo, those of the highest score; 0 for all.
        crowds: Whether masks that are marked as regions of many objects (``iscrowd``) are taken; tools mark what is in
            several pieces so, too.
        before: The masks of an earlier import into the same run: a mask that was there keeps its place, and so its id.
        on_progress: Called with the number of photos done and in total.

    Raises:
        DatasetError: If nothing can be used; the message says what was found and what is wanted.
    """
    place = confine(path_of(path), DatasetError)
    if not place.exists():
        raise DatasetError(f"There is nothing at {place}. {WANTED}")
    losses, names = Losses(leave_crowds=not crowds), PhotoNames(source)
    try:
        read = _read(place, source, names, format, images, losses)
    except OSError as error:
        raise DatasetError(f"Cannot read {place}: {error.strerror}. Check the path and its access rights.") from error
    by_number = _match(read.photos, names, losses)
    if not by_number and read.ids is not None and read.photos:
        raise coco_files.require_known(read.ids, place)
    coded, refused = _code_all(by_number, source.photos, losses, on_progress)
    masks = [mask for found in coded.values() for mask in found]
    if not masks:
        raise DatasetError(f"No mask of {place} can be used for these photos. {_why_none(read, losses)}")
    scores = scale_scores([mask.score for mask in masks])
    for mask, score in zip(masks, scores.values, strict=True):
        mask.score = score
    earlier = {} if before is None else {id: _codes(rows) for id, rows in by_photo(before)}
    rows = []
    for number in sorted(coded):
        photo = source.photos[number]
        best = _best(coded[number], min(most or MOST_PER_PHOTO, MOST_PER_PHOTO), photo, losses)
        for mask in keep_places(earlier.get(photo.id, {}), best, (photo.height, photo.width)):
            rows.append((photo.id, mask.place, mask.counts, mask.score, mask.category, mask.name))
    categories = Counter(row[4] for row in rows if row[4])
    about = {
        "from": printable(place),
        "format": read.format,
        "masks": len(rows),
        "photos": len({row[0] for row in rows}),
        "categories": [name for name, _ in categories.most_common()],
        "scores": scores.sentence,
        "left_out": losses.table(),
        "refused": refused,
        "notes": [*_note_crowds(losses), *(printable(f"{note.path}: {note.reason}") for note in read.notes)],
    }
    return BroughtMasks.of_rows(rows, about)


def _note_crowds(losses: Losses) -> list[str]:
    if not losses.num_crowds:
        return []
    return [f"{losses.num_crowds:,} masks are marked as crowds (iscrowd) and are taken; --no-crowds leaves them out."]


def _codes(rows: pd.DataFrame) -> dict[int, str]:
    return dict(zip(rows["place"].tolist(), rows["counts"].tolist(), strict=True))


def _read(
    path: Path, source: PhotoSource, names: PhotoNames, format: str, images: str | Path | None, losses: Losses
) -> _Read:
    if path.is_file():
        return _read_file(path, source, names, format, images, losses)
    if not path.is_dir():
        raise DatasetError(f"{path} is neither a file nor a folder. {WANTED}")
    return _read_folder(path, source, names, format, images, losses)


def _read_file(
    path: Path, source: PhotoSource, names: PhotoNames, format: str, images: str | Path | None, losses: Losses
) -> _Read:
    suffix = path.suffix.lower()
    if suffix in LABEL_SUFFIXES:
        return _Read("png", label_pictures.read_pictures(path.parent, [path], names))
    if suffix == ".txt":
        return _Read("yolo", yolo_files.read_yolo(path.parent, [path], losses))
    if suffix not in (".json", ".geojson", ".ndjson", "") and format == "auto":
        raise DatasetError(f"{path} is of no format that masks are read from. {WANTED}")
    content = load_any_json(path, _REMEDY)
    if format == "fiftyone" or (type(content) is dict and type(content.get("samples")) is list):
        return _Read("fiftyone", fiftyone_files.read_fiftyone(path.parent, losses))
    return _read_json(path, content, source, images, losses)


def _read_json(path: Path, content: Any, source: PhotoSource, images: str | Path | None, losses: Losses) -> _Read:
    if type(content) is dict and type(content.get("images")) is list:
        photos, notes = coco_files.read_dataset(path, content, losses)
        return _Read("coco", photos, notes)
    listed: Any = content.get("annotations") if type(content) is dict else content
    if coco_files.is_results(listed):
        jsons = source.label_paths if source.kind == "coco" else ()
        if images is not None:
            jsons = find_jsons(confine(path_of(images), DatasetError))
            if not jsons:
                raise DatasetError(f"{images} is no COCO file with a list 'images'. Give the one of the results.")
        ids = coco_files.ImageIds(jsons)
        return _Read("results", coco_files.read_results(path, listed, ids, losses), ids=ids)
    if coco_files.is_photo_file(content):
        found = coco_files.read_photo_file(path, content, losses)
        return _Read("sam", [found] if found else [])
    what = f"a list of {len(content)} entries" if type(content) is list else f"{type(content).__name__}"
    if type(content) is dict:
        what = f"an object with {', '.join(map(repr, list(content)[:6]))}" if content else "an empty object"
    raise DatasetError(f"{path} holds no masks that can be told: {what}. {WANTED}")


def _read_folder(
    path: Path, source: PhotoSource, names: PhotoNames, format: str, images: str | Path | None, losses: Losses
) -> _Read:
    if format in ("auto", "fiftyone") and fiftyone_files.is_fiftyone(path):
        return _Read("fiftyone", fiftyone_files.read_fiftyone(path, losses))
    if format in ("auto", "coco", "results") and (jsons := _jsons(path)):
        return _joined([_read_json(json, load_any_json(json, _REMEDY), source, images, losses) for json in jsons])
    if format in ("auto", "voc") and label_pictures.is_voc(path):
        return _Read("voc", label_pictures.read_voc(path))
    files = _list_files(path)
    if format in ("auto", "sam") and (jsons := _photo_files(files[".json"])):
        return _Read("sam", [_lazily(json, names, losses) for json in jsons])
    if format in ("auto", "yolo"):
        texts = [text for text in files[".txt"] if "labels" in text.relative_to(path).parts[:-1]] or files[".txt"]
        if texts and (format == "yolo" or any(map(_is_yolo, texts[:20]))):
            return _Read("yolo", yolo_files.read_yolo(path, texts, losses))
    pictures = [file for suffix in LABEL_SUFFIXES for file in files[suffix]]
    if format in ("auto", "png") and pictures:
        return _Read("png", label_pictures.read_pictures(path, pictures, names))
    if format != "auto":
        raise DatasetError(f"{path} holds no masks as {FORMATS[format]}. Leave --format away to have it found out.")
    counts = Counter({suffix: len(found) for suffix, found in files.items() if found})
    found = ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in counts.most_common(4))
    raise DatasetError(f"{path} holds no masks: it has {found or 'no file'}. {WANTED}")


def _jsons(path: Path) -> Sequence[Path]:
    """The COCO files of a folder; of one for each photo none."""
    found = find_jsons(path)
    first = load_any_json(found[0], _REMEDY) if found else None
    return () if coco_files.is_photo_file(first) and not coco_files.is_results(first) else found


def _joined(parts: Sequence[_Read]) -> _Read:
    first, *_ = parts
    photos = [photo for part in parts for photo in part.photos]
    return _Read(first.format, photos, [note for part in parts for note in part.notes], first.ids)


def _list_files(root: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    count = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        for name in sorted(names, key=natural_key):
            count += 1
            if count > MAX_FILES:
                raise DatasetError(f"{root} holds more than {MAX_FILES:,} files. Give the folder of the masks alone.")
            path = Path(folder, name)
            if not name.startswith(".") and is_inside(path) and path.is_file():
                files[path.suffix.lower()].append(path)
    return files


def _photo_files(jsons: Sequence[Path]) -> Sequence[Path]:
    for path in jsons[:20]:
        try:
            if coco_files.is_photo_file(load_any_json(path, _REMEDY)):
                return jsons
        except DatasetError:
            continue
    return ()


def _is_yolo(path: Path) -> bool:
    try:
        return yolo_files.is_label_file(path)
    except DatasetError:
        return False


def _lazily(path: Path, names: PhotoNames, losses: Losses) -> GivenPhoto:
    """A file of one photo's masks, read when they are wanted, and before only if its own name means no photo."""

    def load(photo: Photo) -> Iterable[GivenMask]:
        content = load_any_json(path, _REMEDY)
        found = coco_files.read_photo_file(path, content, losses) if coco_files.is_photo_file(content) else None
        return found.load(photo) if found else ()

    if not isinstance(names.find([path.name]), str):
        return GivenPhoto((path.name,), path, load)
    try:
        content = load_any_json(path, _REMEDY)
        found = coco_files.read_photo_file(path, content, Losses()) if coco_files.is_photo_file(content) else None
    except DatasetError:
        found = None
    return GivenPhoto(found.names if found else (path.name,), path, load, num_masks=found.num_masks if found else None)


def _match(given: Sequence[GivenPhoto], names: PhotoNames, losses: Losses) -> dict[int, list[GivenPhoto]]:
    """What is given of each photo, by its number. A photo that several names mean goes to the one that fits best."""
    claims: dict[int, list[tuple[Found, GivenPhoto]]] = defaultdict(list)
    for item in given:
        found = names.find(item.names, item.known_id)
        if isinstance(found, str):
            losses.add(found, _shown(item), item.num_masks or 1)
        else:
            claims[found.number].append((found, item))
    matched = {}
    for number, claimed in claims.items():
        best = max(one.fit for one, _ in claimed)
        first = [item for one, item in claimed if one.fit == best]
        others = [item for one, item in claimed if one.fit != best]
        if len({item.names[0] for item in first}) > 1:
            others, first = [*others, *first], []
        for item in others:
            losses.add(SHARED, _shown(item), item.num_masks or 1)
        if first:
            matched[number] = first
    return matched


def _shown(item: GivenPhoto) -> str:
    return printable(item.names[0])[-120:]


def _code_all(
    by_number: dict[int, list[GivenPhoto]],
    photos: Sequence[Photo],
    losses: Losses,
    on_progress: ProgressCallback | None,
) -> tuple[dict[int, list[CodedMask]], dict[str, str]]:
    """The masks of each photo, and why photos have none although the file has some for them."""
    coded: dict[int, list[CodedMask]] = {}
    refused: dict[str, str] = {}
    for done, number in enumerate(sorted(by_number), start=1):
        photo = photos[number]
        found: list[CodedMask] = []
        here = Losses()
        for item in by_number[number]:
            try:
                found += code_masks(photo, item.load(photo), here)
            except AnnotationError as error:
                here.add(f"refused: {error.kind}", f"{photo.id}: {error.detail}", item.num_masks or 1)
            except DatasetError as error:
                here.add("of files that cannot be read", f"{error}", item.num_masks or 1)
        losses.take(here)
        if found:
            coded[number] = found
        elif here.found and len(refused) < _MOST_REFUSED:
            first = here.table()[0]
            refused[photo.id] = f"No mask of it could be used: {first['count']} {first['reason']} ({first['first']})."
        if on_progress is not None:
            on_progress(done, len(by_number))
    return coded, refused


def _best(masks: list[CodedMask], most: int, photo: Photo, losses: Losses) -> list[CodedMask]:
    """The masks of the highest scores, best first; without scores in the order of the file."""
    ranked = sorted(masks, key=lambda mask: -1.0 if mask.score is None else -mask.score)
    if len(ranked) > most:
        losses.add(BEYOND, photo.id, len(ranked) - most)
    return ranked[:most]


def _why_none(read: _Read, losses: Losses) -> str:
    reasons = "; ".join(f"{item['count']} {item['reason']} (the first: {item['first']})" for item in losses.table()[:3])
    return f"{len(read.photos)} photos of it were looked at as {FORMATS[read.format]}. {reasons or WANTED}"
