"""Archives, or folders that somebody unpacked, laid out as the readers of photos take them.

VOC: the photos of the lists only, for a photo in no list would be cut too; the labels of trainaug beside VOC's own.
COCO-20k: the photos of the list, and a json of these.
"""

import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from maskdistill.datasets.picture_kinds import is_picture_name
from maskdistill.errors import DatasetError
from maskdistill.files import replace_atomically, write_atomically, write_json
from maskdistill.storage.progress import Reporter
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import fingerprint

DONE = "layout.json"  # in the folder: what it was made from
LISTS = "ImageSets/Segmentation"
TRAINAUG, LIST_20K = 10_582, 19_817  # photos, as published
_DEEPEST = 2  # folders below the given one: ImageSets/Segmentation; a link to a folder may lead round
_NAMES = ("classes.txt", "labelmap.txt")


@dataclass(frozen=True)
class Laid:
    """A folder that is ready."""

    folder: Path
    num_train: int
    num_val: int
    note: str  # how it differs from the published data; empty if it does not

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"folder": str(self.folder), "train": self.num_train, "val": self.num_val, "note": self.note}


class Members:
    """Files by their path inside an archive or folder, with what all of them begin with cut off."""

    def __init__(self, files: dict[str, Callable[[Path], None]], where: Path) -> None:
        self._files, self.where = files, where

    def names(self, folder: str) -> dict[str, str]:
        """Stem -> path, of the files right in a folder."""
        start = f"{folder}/"
        inside = (name for name in self._files if name.startswith(start) and "/" not in name[len(start) :])
        return {PurePosixPath(name).stem: name for name in inside}

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def place(self, name: str, target: Path) -> None:
        """Put a file there, unless it is there."""
        if target.is_file():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(target, self._files[name])

    def text(self, name: str, scratch: Path) -> str:
        """What a file says."""
        target = scratch / PurePosixPath(name).name
        self.place(name, target)
        text = target.read_text(encoding="utf-8")
        target.unlink()
        return text


def folder_members(folder: Path) -> Members:
    """Files of a folder; they are linked to, or copied where the system has no links.

    Raises:
        DatasetError: If there is no such folder.
    """
    if not folder.is_dir():
        raise DatasetError(f"No folder {folder}. Give VOC2012, or a folder with train2014 and annotations, by --data.")
    found: dict[str, Callable[[Path], None]] = {}
    for at, folders, names in os.walk(folder, followlinks=True):
        inside = Path(at).relative_to(folder)
        if len(inside.parts) >= _DEEPEST:
            folders.clear()
        found |= {(inside / name).as_posix(): _linker(Path(at, name).absolute()) for name in names}
    return Members(found, folder)


def tar_members(path: Path, within: str) -> Members:
    """Files of a .tar below a folder of it."""
    archive = _open(path, lambda: tarfile.open(path))  # noqa: SIM115 - its members are read later
    start = f"{within}/"
    infos = {item.name[len(start) :]: item for item in archive if item.isfile() and item.name.startswith(start)}
    _need(infos, path, within)
    return Members({name: _copier(partial(archive.extractfile, item)) for name, item in infos.items()}, path)


def zip_members(path: Path, within: str = "") -> Members:
    """Files of a .zip below a folder of it."""
    archive = _open(path, lambda: zipfile.ZipFile(path))
    names = {
        name.removeprefix(within): name for name in archive.namelist() if name.startswith(within) and name[-1] != "/"
    }
    _need(names, path, within)
    return Members({name: _copier(partial(archive.open, full)) for name, full in names.items()}, path)


def lay_out_voc(members: Members, folder: Path, trainaug: Path | None, *, quiet: bool = False) -> Laid:
    """A folder in VOC's layout with the lists train (or trainaug) and val.

    Args:
        members: ``JPEGImages``, ``SegmentationClass``, ``ImageSets/Segmentation``.
        folder: Where to.
        trainaug: Folder of label maps (SBD's labels in VOC's ids, one PNG a photo), perhaps with trainaug.txt; None
            takes VOC's own train list.
        quiet: No progress.

    Raises:
        DatasetError: If lists or photos are missing.
    """
    photos = {stem: name for stem, name in members.names("JPEGImages").items() if is_picture_name(Path(name))}
    val, own = (_read_list(members, f"{LISTS}/{name}.txt", folder) for name in ("val", "train"))
    extra = {} if trainaug is None else _label_files(trainaug)
    train = own if trainaug is None else _trainaug_ids(trainaug, extra, photos)
    train = [id for id in train if id not in set(val)]
    lost = [id for id in (*train, *val) if id not in photos]
    if lost or not train or not val:
        what = f"no photo '{lost[0]}' ({len(lost):,} are missing)" if lost else "no photo in its lists train and val"
        raise DatasetError(f"{members.where} has {what}. Give VOC 2012 as it is published, and trainaug of the same.")
    note = _voc_note(len(train), trainaug)
    key = fingerprint([sorted(train), sorted(val), str(members.where), str(trainaug)])
    if (read_json_if_there(folder / DONE) or {}).get("key") != key:
        official = members.names("SegmentationClass")
        with Reporter(folder / ".progress.json", "layout", len(train) + len(val), quiet=quiet) as reporter:
            for id in (*train, *val):
                members.place(photos[id], folder / photos[id])
                if id in official:
                    members.place(official[id], folder / official[id])
                elif id in extra:
                    place_link(extra[id], folder / "SegmentationClassAug" / f"{id}.png")
                reporter.advance()
        for name in _NAMES:
            if name in members:
                members.place(name, folder / name)
        lists = folder / LISTS
        lists.mkdir(parents=True, exist_ok=True)
        write_atomically(lists / "train.txt", "\n".join(train) + "\n")
        write_atomically(lists / "val.txt", "\n".join(val) + "\n")
        write_json(folder / DONE, {"key": key})
    return Laid(folder, len(train), len(val), note)


def _voc_note(num_train: int, trainaug: Path | None) -> str:
    if trainaug is None:
        return (
            f"Trained on VOC's own train list of {num_train:,} photos, not on trainaug of {TRAINAUG:,}: give its "
            "labels with --trainaug."
        )
    return "" if num_train == TRAINAUG else f"trainaug has {num_train:,} photos here, {TRAINAUG:,} as published."


def _label_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetError(f"No folder {folder}. Wanted the label maps of trainaug, one PNG a photo.")
    found = {path.stem: path.absolute() for path in sorted(folder.rglob("*.png"))}
    if not found:
        raise DatasetError(
            f"{folder} holds no PNG. Wanted the label maps of trainaug (SegmentationClassAug), one PNG a photo."
        )
    return found


def _trainaug_ids(folder: Path, labels: dict[str, Path], photos: dict[str, str]) -> list[str]:
    """Those of its list, if it has one; else all that have a label and a photo."""
    names = ("trainaug.txt", "train_aug.txt")
    lists = [path for name in names for path in (folder / name, folder.parent / name) if path.is_file()]
    if lists:
        # A line may name photo and label by their paths.
        lines = lists[0].read_text(encoding="utf-8").split("\n")
        return list(dict.fromkeys(PurePosixPath(line.split()[0]).stem for line in lines if line.strip()))
    return sorted(id for id in labels if id in photos)


def lay_out_coco(photos: Members, annotations: Members, names: Path, folder: Path, *, quiet: bool = False) -> Laid:
    """A folder with the photos of a list, and ``annotations/instances_train2014.json`` of these.

    Args:
        photos: ``train2014``.
        annotations: ``annotations/instances_train2014.json``.
        names: The list: a photo's file a line, its folder counts for nothing.
        folder: Where to.
        quiet: No progress.

    Raises:
        DatasetError: If the list cannot be read, or names a photo that is not there.
    """
    wanted = list(dict.fromkeys(PurePosixPath(line.strip()).name for line in _lines(names) if line.strip()))
    key = fingerprint([wanted, str(photos.where), str(annotations.where)])
    if (read_json_if_there(folder / DONE) or {}).get("key") != key:
        name = "annotations/instances_train2014.json"
        if name not in annotations:
            raise DatasetError(f"{annotations.where} has no {name}. Give COCO 2014 as it is published.")
        folder.mkdir(parents=True, exist_ok=True)
        content = json.loads(annotations.text(name, folder))
        _write_selected(content, wanted, folder / name)
        with Reporter(folder / ".progress.json", "layout", len(wanted), quiet=quiet) as reporter:
            for file_name in wanted:
                inside = f"train2014/{file_name}"
                if inside not in photos:
                    raise DatasetError(f"{photos.where} has no {inside}, which {names} lists.")
                photos.place(inside, folder / inside)
                reporter.advance()
        write_json(folder / DONE, {"key": key})
    note = "" if len(wanted) == LIST_20K else f"The list has {len(wanted):,} photos, {LIST_20K:,} as published."
    return Laid(folder, len(wanted), 0, note)


def _write_selected(content: dict[str, Any], wanted: Iterable[str], path: Path) -> None:
    """The json of the listed photos alone."""
    by_name = {PurePosixPath(image["file_name"]).name: image for image in content["images"]}
    lost = [name for name in wanted if name not in by_name]
    if lost:
        raise DatasetError(f"instances_train2014.json knows no '{lost[0]}' ({len(lost):,} of the list are missing).")
    images = [by_name[name] for name in wanted]
    ids = {image["id"] for image in images}
    kept = [item for item in content["annotations"] if item["image_id"] in ids]
    write_json(path, {**content, "images": images, "annotations": kept}, indent=None)


def _read_list(members: Members, name: str, scratch: Path) -> list[str]:
    if name not in members:
        raise DatasetError(f"{members.where} has no {name}. Give VOC 2012 as it is published.")
    scratch.mkdir(parents=True, exist_ok=True)
    return list(dict.fromkeys(line.split()[0] for line in members.text(name, scratch).splitlines() if line.strip()))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"Cannot read the list {path}: {error}. Download it again.") from error


def place_link(source: Path, target: Path) -> None:
    """A link to a file, unless something is there."""
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(target, _linker(source))


def _linker(source: Path) -> Callable[[Path], None]:
    def place(target: Path) -> None:
        try:
            os.symlink(source, target)
        except OSError:  # no links here
            shutil.copyfile(source, target)

    return place


def _copier(read: Callable[[], IO[bytes] | None]) -> Callable[[Path], None]:
    def place(target: Path) -> None:
        opened = read()
        assert opened is not None  # a file, no folder
        with opened as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)

    return place


def _open(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DatasetError(f"Cannot unpack {path}: {error}. Remove it and start again.") from error


def _need(found: dict[str, Any], path: Path, within: str) -> None:
    if not found:
        raise DatasetError(f"{path} holds nothing below {within}. Download it again.")
