"""Photos in tar files as WebDataset has them: read where they lie, by an index of places that is made once."""

import hashlib
import json
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from maskdistill.datasets.addresses import public
from maskdistill.datasets.photo_files import UnreadablePhotoError, open_photo_file, open_regular
from maskdistill.datasets.picture_kinds import is_picture_name, suffix_of
from maskdistill.datasets.records import LeftOut, PhotoSource, Place, ProgressCallback
from maskdistill.datasets.scanning import natural_key, require_photos
from maskdistill.datasets.tar_index import UNPACK, DamagedTarError, TarMember, compression_of, list_members, member_path
from maskdistill.errors import DatasetError
from maskdistill.roots import is_inside, roots

PACKED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
MAX_SHARDS = 100_000
MAX_PHOTOS = 10_000_000

_RANGE = re.compile(r"\{([^{}]*)\}")
_NUMBERS = re.compile(r"(\d+)\.\.(\d+)")
_SPLIT = re.compile(r"(?:^|[-_.])(train|val|valid|validation|test)(?=[-_.\d]|$)", re.IGNORECASE)
_SPLITS = {"valid": "val", "validation": "val"}
_ORDER = (".jpg", ".jpeg", ".webp")  # of the pictures of one key the first kind is the photo; others come after these
_SETTLED_NS = 2_000_000_000


@dataclass
class _Index:
    """The photos of all shards, and what in them cannot be used."""

    members: list[tuple[Path, TarMember]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    num_labels: int = 0
    first_label: Path | None = None


def find_shards(path: Path) -> tuple[Path, ...]:
    """The tar files that a path stands for: one, a folder of them, a pattern (``*``, ``?``) or braces.

    Returns:
        Nothing if it stands for something else.

    Raises:
        DatasetError: If braces or a pattern name no file, or far too many.
    """
    name = path.name.lower()
    if name.endswith((".tar", *PACKED_SUFFIXES)) and path.is_file():
        return (path,)
    if path.is_dir():
        return _in_folder(path)
    if os.path.lexists(path) or not name.endswith((".tar", *PACKED_SUFFIXES)):
        return ()
    if _RANGE.search(path.name):
        names = list(islice(expand_braces(path.name), MAX_SHARDS + 1))
        if len(names) > MAX_SHARDS:
            raise DatasetError(f"{path} stands for more than {MAX_SHARDS:,} files. Give a smaller range.")
        found = tuple(path.with_name(one) for one in names)
        if not any(map(os.path.lexists, found)):
            raise DatasetError(f"None of the {len(found):,} files of {path} is there; the first would be {found[0]}.")
        return found
    if any(sign in path.name for sign in "*?["):
        found = tuple(sorted(path.parent.glob(path.name), key=lambda file: natural_key(file.name)))
        if not found:
            raise DatasetError(f"No file in {path.parent} is called like {path.name}. Check the pattern.")
        return found
    return ()


def expand_braces(text: str) -> Iterator[str]:
    """The names that ``a-{000..002}.tar`` or ``{train,val}-0.tar`` stands for, in order.

    Raises:
        DatasetError: If a pair of braces holds neither two numbers nor a list.
    """
    parts: list[Sequence[str]] = []
    for place, part in enumerate(_RANGE.split(text)):
        if place % 2 == 0:
            parts.append((part,))
        elif numbers := _NUMBERS.fullmatch(part):
            first, last = numbers.groups()
            if int(last) < int(first):
                raise DatasetError(f"{{{part}}} counts down. Write it as {{{last}..{first}}}.")
            if int(last) - int(first) >= MAX_SHARDS:
                raise DatasetError(f"{{{part}}} stands for more than {MAX_SHARDS:,} files. Give a smaller range.")
            parts.append([str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)])
        elif "," in part:
            parts.append(part.split(","))
        else:
            remedy = "Write one as {000000..000009}, or a list as {a,b}."
            raise DatasetError(f"{{{part}}} in {text} is no range. {remedy}")
    return ("".join(names) for names in product(*parts))


def open_shards(
    path: Path,
    shards: Sequence[Path],
    *,
    on_progress: ProgressCallback | None = None,
    seen: Path | None = None,
    addresses: Mapping[Path, str] | None = None,
    name: str = "",
) -> PhotoSource:
    """Photos of tar files, in the order of the shards and in that of each.

    The id of a photo is its name in the tar without suffix, with the name of the shard before it where several have
    that name. Of pictures that differ in the suffix alone one is the photo, the others are labels, as are those with a
    further suffix (``a.seg.png`` beside ``a.jpg``); labels are not read. The split is ``train``, ``val`` or ``test``
    where a shard's name has the word.

    Args:
        path: What a person named.
        shards: As of ``find_shards``.
        on_progress: Called with the number of photos done and in total.
        seen: As of ``open_manifest``: shards that are the same are not indexed again, nor their photos read.
        addresses: Where shards are that lie on other machines, by how they are shown; another one once it changed.
        name: What the source is called, if that is not the path.

    Raises:
        DatasetError: If a shard is compressed, or no photo can be used.
    """
    from maskdistill.datasets.photo_table import photos_of_rows  # with pyarrow, which other sources do without
    from maskdistill.datasets.seen_files import ListState, SeenFiles, read_seen, unread_rows

    addresses = addresses or {}
    state = ListState(name or os.fspath(path), _digest(shards, addresses), tuple(map(str, roots())))
    known = read_seen(seen) if seen is not None else None
    if known is None or known.state != state or known.is_cut:
        index = _index(shards, addresses)
        unread = unread_rows(*_columns(index, addresses))
        # Of what lies elsewhere nobody asks photo by photo whether it changed.
        rows = unread if known is None or addresses else known.carried_over(unread)
        known = SeenFiles(state, _root_of(shards), rows, (*index.left_out, *_on_labels(index)))
    found = known.looked_again(on_progress)
    photos, skipped = photos_of_rows(found.photos), found.skipped
    require_photos(path, photos, tuple(item for item in skipped if item.what == "photo"))
    return PhotoSource("folder", name or str(path), found.root, photos, skipped, seen=found)


def _in_folder(folder: Path) -> tuple[Path, ...]:
    """The tars of a folder that holds nothing else that photos could be in."""
    tars = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir() or is_picture_name(Path(entry.name)):
                    return ()
                if entry.name.lower().endswith((".tar", *PACKED_SUFFIXES)):
                    tars.append(Path(entry.path))
    except OSError:  # what opens the folder says why
        return ()
    return tuple(sorted(tars, key=lambda file: natural_key(file.name)))


def _digest(shards: Sequence[Path], addresses: Mapping[Path, str]) -> str:
    """Of the state of all shards; of one that was changed just now it is never the same twice."""
    now = time.time_ns()
    state: list[list[object]] = []
    for shard in shards:
        if shard in addresses:
            state.append([str(shard), public(addresses[shard])])
            continue
        try:
            found = shard.stat()
        except OSError:
            state.append([str(shard), None])
            continue
        times = (found.st_mtime_ns, found.st_ctime_ns)
        unsettled = secrets.token_hex(8) if max(times) > now - _SETTLED_NS else ""
        state.append([str(shard), [found.st_size, *times, found.st_ino, unsettled]])
    return hashlib.blake2b(json.dumps(state).encode(), digest_size=16).hexdigest()


def _index(shards: Sequence[Path], addresses: Mapping[Path, str]) -> _Index:
    index = _Index()
    for shard in shards:
        try:
            with _open(shard, addresses) as file:
                if packed := compression_of(file):
                    raise DatasetError(
                        f"{shard} is compressed ({packed}), so that no photo in it can be found by its place. Photos "
                        f"are compressed already: {UNPACK[packed]} {shard.name}"
                    )
                _add_members(index, shard, _pictures(index, shard, list_members(file)))
        except UnreadablePhotoError as error:
            index.left_out.append(LeftOut(shard, error.reason))
        except OSError as error:
            index.left_out.append(LeftOut(shard, f"The system refuses to read it: {error.strerror}."))
        if len(index.members) > MAX_PHOTOS:
            raise DatasetError(f"These shards hold more than {MAX_PHOTOS:,} photos. Give parts of them.")
    return index


def _open(shard: Path, addresses: Mapping[Path, str]) -> BinaryIO:
    if shard in addresses:
        return open_photo_file(shard, Place(addresses[shard]))
    if not is_inside(shard):
        raise UnreadablePhotoError(shard, "It leads out of the folders that this server may use.")
    return open_regular(shard)


def _pictures(index: _Index, shard: Path, members: Iterator[TarMember]) -> list[TarMember]:
    """The pictures of a shard that can be used, the last of each name; the others are written down."""
    found: dict[str, TarMember] = {}
    try:
        for member in members:
            if not is_picture_name(PurePosixPath(member.name)):
                continue
            if member.problem:
                index.left_out.append(LeftOut(member_path(shard, TarMember(_shown(member.name), 0, 0)), member.problem))
                continue
            name = _clean(member.name)
            if name in found:
                reason = "A later file of the archive has the same name and was taken."
                index.left_out.append(LeftOut(member_path(shard, member), reason))
            found[name] = replace(member, name=name)
    except DamagedTarError as error:
        kept = f"the {len(found):,} photos before that are used" if found else "nothing in it can be used"
        index.left_out.append(LeftOut(shard, f"This archive is damaged: {error}; {kept}."))
    return list(found.values())


def _shown(name: str) -> str:
    """A name that leads out of an archive, so that it leads nowhere."""
    return "/".join(part for part in name.replace("\0", "").split("/") if part not in ("", ".", "..")) or "_"


def _add_members(index: _Index, shard: Path, members: Sequence[TarMember]) -> None:
    """One photo a key; what else is of that key are labels."""
    chosen: dict[str, TarMember] = {}
    for member in members:
        stem = _stem(member.name)
        taken = chosen.get(stem)
        if taken is None or _rank(member.name) < _rank(taken.name):
            chosen[stem] = member
    photos = set(chosen)
    for member in members:
        stem = _stem(member.name)
        if chosen[stem] is not member or (_key(stem) != stem and _key(stem) in photos):
            index.num_labels += 1
            index.first_label = index.first_label or member_path(shard, member)
        else:
            index.members.append((shard, member))


def _stem(name: str) -> str:
    return name[: -len(suffix_of(name))]


def _key(stem: str) -> str:
    """What WebDataset calls a file, whatever stands behind the first dot of its name: a of a.seg."""
    folder, slash, base = stem.rpartition("/")
    return f"{folder}{slash}{base.partition('.')[0]}"


def _rank(name: str) -> int:
    suffix = suffix_of(name)
    return _ORDER.index(suffix) if suffix in _ORDER else len(_ORDER)


def _columns(
    index: _Index, addresses: Mapping[Path, str]
) -> tuple[list[str], list[bytes], list[str | None], list[Place | None]]:
    """Ids, paths, splits and places."""
    keys = [_stem(member.name) for _, member in index.members]
    counts = Counter(keys)
    splits = {shard: _split_of(shard) for shard in {shard for shard, _ in index.members}}
    names = [
        f"{shard.stem}/{key}" if counts[key] > 1 else key for key, (shard, _) in zip(keys, index.members, strict=True)
    ]
    if len(set(names)) < len(names):  # a key that looks like a shard's name before another
        names = [f"{shard.name}/{key}" for key, (shard, _) in zip(keys, index.members, strict=True)]
    ids = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    paths = [os.fsencode(member_path(shard, member)) for shard, member in index.members]
    places: list[Place | None] = [
        Place(addresses.get(shard) or os.fspath(shard), item.start, item.size) for shard, item in index.members
    ]
    return ids, paths, [splits[shard] for shard, _ in index.members], places


def _clean(key: str) -> str:
    return "/".join(part for part in key.split("/") if part not in ("", "."))


def _split_of(shard: Path) -> str | None:
    found = _SPLIT.search(shard.stem)
    return None if found is None else _SPLITS.get(found[1].lower(), found[1].lower())


def _on_labels(index: _Index) -> tuple[LeftOut, ...]:
    if index.first_label is None:
        return ()
    many = f"{index.num_labels:,} pictures have the name of a photo and another suffix, this one first: they are"
    one = "This picture has the name of a photo and another suffix: it is"
    reason = f"{many if index.num_labels > 1 else one} taken for labels, which are not read from archives."
    return (LeftOut(index.first_label, reason, "label"),)


def _root_of(shards: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([shard.parent for shard in shards]))
