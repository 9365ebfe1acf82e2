"""What is exported, whatever the format: photos, their masks, and what has been written."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from maskdistill.datasets import ViewRecipe
from maskdistill.datasets.records import Place
from maskdistill.errors import ConfigError, ShapeError

ExportFormat = Literal["coco", "voc", "yolo", "huggingface", "atlas", "onnx"]


@dataclass(frozen=True)
class ExportImage:
    """One photo."""

    number: int  # unique; COCO's image id
    id: str  # unique; relative path without suffix, or a name; other tools' file names come from it
    path: Path  # the file
    file_name: str  # relative to the data folder, with "/"
    height: int  # pixels, upright
    width: int  # pixels, upright
    split: str | None = None
    view: ViewRecipe | None = None  # which view of the file this is; None is the whole photo
    place: Place | None = None  # where its bytes stand; None is the file ``path``


@dataclass(frozen=True)
class ExportMask:
    """One mask of a photo."""

    id: int  # unique
    image: int  # number of its photo
    label: int  # class, 1 to the number of class names
    score: float
    code: dict[str, Any]  # COCO RLE at the photo's size, see maskdistill.masks.encode_mask
    kept: bool = True  # by the filter and by people; whoever wants only these leaves the others out
    extra: dict[str, Any] = field(default_factory=dict)  # more signals, numbers or text


@dataclass(frozen=True)
class ExportSummary:
    """What an export wrote."""

    format: ExportFormat
    path: Path
    num_images: int
    num_masks: int  # VOC: label maps
    files: tuple[str, ...]  # what to give to a reader, relative to ``path``
    notes: tuple[str, ...] = ()  # sentences on what differs from the photos and masks that came in

    @property
    def sentence(self) -> str:
        """One line for people, then the notes."""
        what = "label maps" if self.format == "voc" else "masks"
        text = f"{self.num_images} photos and {self.num_masks} {what} in {self.path}: {', '.join(self.files)}."
        return " ".join([text, *self.notes])


def check_images(images: Sequence[ExportImage]) -> None:
    """Raise ``ConfigError`` if there is no photo, or two have the same number or id."""
    if not images:
        raise ConfigError("There is no photo to export. Make the masks of some photos first.")
    for name, values in (("number", [image.number for image in images]), ("id", [image.id for image in images])):
        value, count = Counter(values).most_common(1)[0]
        if count > 1:
            raise ConfigError(f"{count} photos have the {name} {value}; it must be unique. Count the photos anew.")


def group_masks(
    images: Sequence[ExportImage], masks: Iterable[ExportMask], num_classes: int
) -> dict[int, list[ExportMask]]:
    """Masks by photo number, in the order given; a photo without masks has an empty list.

    Raises:
        ConfigError: If an id comes twice, or a mask names a photo or class that is not there.
        ShapeError: If a mask was made for another size than its photo's.
    """
    by_number = {image.number: image for image in images}
    groups: dict[int, list[ExportMask]] = {number: [] for number in by_number}
    seen = set()
    for mask in masks:
        if mask.id in seen:
            raise ConfigError(f"Two masks have the id {mask.id}; ids must be unique. Number the masks anew.")
        seen.add(mask.id)
        if mask.image not in by_number:
            raise ConfigError(f"Mask {mask.id} belongs to photo {mask.image}, which is not among the photos given.")
        if not 1 <= mask.label <= num_classes:
            raise ConfigError(
                f"Mask {mask.id} has class {mask.label}, wanted 1 to {num_classes}, the number of class names."
            )
        image = by_number[mask.image]
        if list(mask.code["size"]) != [image.height, image.width]:
            raise ShapeError(f"Mask {mask.id}", f"{(image.height, image.width)}, as its photo", mask.code["size"])
        groups[mask.image].append(mask)
    return groups
