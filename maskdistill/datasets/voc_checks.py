"""What can be known of a VOC folder's ground truth when it is opened, from a sample of its label files."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from maskdistill.datasets.label_files import (
    Color,
    LabelError,
    LabelPicture,
    LabelRule,
    colors_of,
    inspect_label,
    load_label,
    plain_values,
    to_ids,
)
from maskdistill.datasets.records import IGNORE_INDEX, MAX_LABEL, LabelValues, LeftOut, Photo, PhotoSource
from maskdistill.datasets.voc_classes import VOC_CLASSES, ClassNames, LabelMap, read_class_names
from maskdistill.datasets.voc_labels import (
    LABEL_FOLDERS,
    check_classes,
    find_label,
    fit_to_photo,
    label_map_of,
    list_labels,
    named_in,
    wrong_size,
)
from maskdistill.errors import DatasetError, printable

_NUM_SAMPLED = 200  # label files, spread over the set, whose headers are read
_MAX_DECODED = 40_000_000  # pixels of these that are decoded: all of VOC's sample, which takes less than a second
_MANY_UNUSED = 30  # numbers of classes that occur nowhere, from which the values are probably no class ids
_VOC_STEM = re.compile(r"(\d{4}_)?\d{6}")


@dataclass(frozen=True)
class LabelFacts:
    """What is known of a source's ground truth."""

    classes: tuple[str, ...] = ()
    values: LabelValues = "ids"
    has_labels: bool = False
    notes: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class _Look:
    """A label file that was looked at."""

    path: Path
    distinct: LabelPicture | None  # each value or color once; None if only the header was read


@dataclass
class _Notes:
    """What is left out, a sentence for each kind."""

    items: list[LeftOut] = field(default_factory=list)
    by_problem: dict[str, list[LabelError]] = field(default_factory=lambda: defaultdict(list))

    def say(self, path: Path, reason: str) -> None:
        self.items.append(LeftOut(path, printable(reason), "label"))

    def add(self, error: LabelError) -> None:
        self.by_problem[error.problem].append(error)

    def all(self, num_sampled: int) -> tuple[LeftOut, ...]:
        return (*self.items, *(_sum_up(errors, num_sampled) for errors in self.by_problem.values()))


def inspect_labels(source: PhotoSource, root: Path, photo_names: Iterable[str]) -> LabelFacts:
    """Find out what the label files mean, and what is wrong with them.

    Args:
        source: A VOC source without classes.
        root: The folder that holds JPEGImages.
        photo_names: What a label may be called, without suffix, for all pictures, readable or not.
    """
    notes = _Notes()
    _note_folders(source, root, photo_names, notes)
    names, label_map = read_class_names(named_in(root, "classes.txt")), label_map_of(source)
    for file, text in (("classes.txt", names.note or names.refused), ("labelmap.txt", label_map.refused)):
        if text:
            notes.say(named_in(root, file), text)
    labelled = [(photo, path) for photo in source.photos if (path := find_label(source, photo)) is not None]
    if not labelled or names.refused:
        return LabelFacts(classes=names.names, notes=notes.all(0))
    sample = _spread(labelled)
    looks = list(_look_at(sample, notes))
    return _conclude(root, names, label_map, [photo for photo, _ in labelled], looks, notes, len(sample))


def _conclude(
    root: Path,
    names: ClassNames,
    label_map: LabelMap,
    photos: Sequence[Photo],
    looks: Sequence[_Look],
    notes: _Notes,
    num_sampled: int,
) -> LabelFacts:
    """From what was seen to classes and to what values mean."""
    named = names.names or label_map.names
    voc_names = not named and all(_VOC_STEM.fullmatch(photo.path.stem) for photo in photos)
    colors = label_map.ids(named) or None
    decoded = [look for look in looks if look.distinct is not None]
    by_color, note = _judge_palettes([look.distinct for look in decoded if look.distinct], colors, voc_names)
    if note:
        notes.say(decoded[0].path.parent, note)
    rule = LabelRule(by_color=by_color, colors=colors, one_class=len(named) == 1)
    if not by_color and _is_black_and_white([look.distinct for look in decoded if look.distinct], rule):
        only = named if len(named) == 1 else ("object",)
        notes.say(decoded[0].path.parent, _BINARY.format(only[0]))
        return LabelFacts(only, "binary", True, notes.all(num_sampled))
    found = dict(_ids_of(decoded, rule, notes))
    _note_ignored(found, notes)
    used = set().union(*found.values())
    classes = named or _numbered(max(used - {IGNORE_INDEX}, default=0), voc_names)
    usable = len(looks) - len(decoded) + sum(_has_names(path, ids, classes, notes) for path, ids in found.items())
    if not named and len(classes) > len(used) + _MANY_UNUSED:
        notes.say(root, f"The label files hold values up to {len(classes)}, which count as classes. {_NAME_THEM}")
    if len(classes) > MAX_LABEL:
        notes.say(root, f"There are {len(classes):,} classes; a label can tell {MAX_LABEL} apart.")
    elif used == {IGNORE_INDEX} and classes:
        notes.say(root, "The label files hold nothing but 255, which is ignored, so nothing is measured.")
    elif usable and not classes:
        notes.say(root, "The label files hold no class, only background and what is ignored, so nothing is measured.")
    has_labels = bool(usable and 0 < len(classes) <= MAX_LABEL)
    return LabelFacts(classes, "colors" if by_color else "ids", has_labels, notes.all(num_sampled))


_NAME_THEM = (
    "If the masks are black and white, save them without smoothed borders; else name the classes in classes.txt."
)
_BINARY = (
    "The label files hold only 0 and 255, so 255 is read as the one class, '{}', and not as ignored. If that is wrong, "
    "number the classes from 1 in the labels."
)


def _note_folders(source: PhotoSource, root: Path, photo_names: Iterable[str], notes: _Notes) -> None:
    for name in LABEL_FOLDERS:
        path = named_in(root, name)
        if os.path.lexists(path) and not os.path.isdir(path):
            what = "a link that leads nowhere" if os.path.islink(path) else "a file"
            notes.say(path, f"This is {what}; wanted the folder of the labels. Put it there, or remove this.")
    known = set(photo_names)
    for folder in source.label_paths:
        labels = list_labels(folder)
        for error in labels.refused:
            notes.say(Path(error.filename), f"The system refuses to open this folder: {error.strerror}.")
        strange = [path for key, path in labels.files.items() if key not in known]
        if strange:
            found = {find_label(source, photo) for photo in source.photos}
            _note_strange(folder, [path for path in strange if path not in found], notes)


def _note_strange(folder: Path, files: Sequence[Path], notes: _Notes) -> None:
    if files:
        what = f"{len(files):,} files here belong to no photo" if len(files) > 1 else "A file here belongs to no photo"
        reason = f"{what} by name, the first: {files[0].name}. A label has its photo's name and the suffix .png."
        notes.say(folder, f"{reason} Rename or remove what is none.")


def _spread(labelled: Sequence[tuple[Photo, Path]]) -> list[tuple[Photo, Path]]:
    places = np.linspace(0, len(labelled) - 1, min(len(labelled), _NUM_SAMPLED)).round().astype(int)
    return [labelled[place] for place in places.tolist()]


def _look_at(sample: Sequence[tuple[Photo, Path]], notes: _Notes) -> Iterator[_Look]:
    """Those of a sample that can be used as far as this can be told without knowing the classes."""
    budget = _MAX_DECODED
    for photo, path in sample:
        try:
            shape = inspect_label(path)
            if sorted(shape) != sorted((photo.height, photo.width)):
                raise wrong_size(shape, photo, path)
            turned = shape != (photo.height, photo.width)  # a few at most, and only decoding tells whether it is right
            if budget <= 0 and not turned:
                yield _Look(path, None)
                continue
            budget -= shape[0] * shape[1]
            picture = load_label(path)
            values = picture.pixels if picture.pixels.ndim == 2 else picture.pixels[..., 0]
            fit_to_photo(values, photo, path)
            yield _Look(path, picture.distinct)
        except LabelError as error:
            notes.add(error)
        except DatasetError as error:
            notes.add(LabelError(path, "file", f"cannot be compared with its photo. {error}"))


def _judge_palettes(
    pictures: Sequence[LabelPicture], colors: Mapping[Color, int] | None, voc_names: bool
) -> tuple[bool, str]:
    """Whether colors count rather than values, as where an editor has sorted the palette anew; and what to say of it.

    Values count wherever they can be meant: where palettes and values agree, and where a palette means nothing.
    """
    known = colors_of(LabelRule(colors=colors))
    pairs = [pair for picture in pictures for pair in _palette_pairs(picture)]
    if not pairs or all(known.get(color) == value for value, color in pairs):
        return False, ""
    one_color = all(len({color for value, color in pairs if value == at}) == 1 for at in {value for value, _ in pairs})
    distinct = all(len(set(picture)) == len(picture) for picture in map(_colors_used, pictures))
    if distinct and all(color in known for _, color in pairs):
        if colors is not None or voc_names or not one_color:
            return True, ""
        return False, "The colors of the label files are those of other classes in VOC's palette; the values count."
    return False, "" if one_color else "The palettes of the label files differ from file to file; the values count."


def _palette_pairs(picture: LabelPicture) -> list[tuple[int, Color]]:
    return list(zip(picture.pixels.ravel().tolist(), _colors_used(picture), strict=False))


def _colors_used(picture: LabelPicture) -> list[Color]:
    if picture.palette is None or picture.pixels.max() >= len(picture.palette):
        return []
    return [tuple(color) for color in picture.palette[picture.pixels.ravel()].tolist()]


def _is_black_and_white(pictures: Sequence[LabelPicture], rule: LabelRule) -> bool:
    values = [plain_values(picture, rule) for picture in pictures]
    known = [found for found in values if found is not None]
    return len(known) == len(values) > 0 and set().union(*known) == {0, IGNORE_INDEX}


def _note_ignored(found: Mapping[Path, set[int]], notes: _Notes) -> None:
    """Masks in black and white among others that have classes."""
    masks = [path for path, ids in found.items() if ids == {0, IGNORE_INDEX}]
    if masks and any(ids - {0, IGNORE_INDEX} for ids in found.values()):
        count = "This label holds" if len(masks) == 1 else f"{len(masks):,} of the labels, this one first, hold"
        notes.say(masks[0], f"{count} only 0 and 255, so 255 is read as ignored. Number its classes if it is a mask.")


def _ids_of(looks: Sequence[_Look], rule: LabelRule, notes: _Notes) -> Iterator[tuple[Path, set[int]]]:
    for look in looks:
        if look.distinct is not None:
            try:
                yield look.path, set(to_ids(look.distinct, rule).ravel().tolist())
            except LabelError as error:
                notes.add(error)


def _has_names(path: Path, ids: set[int], classes: Sequence[str], notes: _Notes) -> bool:
    try:
        check_classes(np.array(sorted(ids), np.uint8), classes, path)
    except LabelError as error:
        notes.add(error)
        return False
    return True


def _numbered(largest: int, voc_names: bool) -> tuple[str, ...]:
    if voc_names and largest <= len(VOC_CLASSES):
        return VOC_CLASSES
    return tuple(str(number) for number in range(1, largest + 1))


def _sum_up(errors: Sequence[LabelError], num_sampled: int) -> LeftOut:
    first = errors[0]
    if len(errors) == 1:
        return LeftOut(first.path, f"This label {first.reason}", "label")
    count = f"{len(errors):,} of the {num_sampled:,} labels looked at cannot be used"
    return LeftOut(first.path, f"{count}. The first, {printable(first.path.name)}, {first.reason}", "label")
