"""Sources of photos on other machines: lists, tar files and single photos, by their address."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from maskdistill.datasets.addresses import public, shown_path, suffix_of_address, versioned
from maskdistill.datasets.manifest import SUFFIXES as LIST_SUFFIXES
from maskdistill.datasets.manifest import open_manifest
from maskdistill.datasets.picture_kinds import PHOTO_SUFFIXES
from maskdistill.datasets.records import PhotoSource, ProgressCallback
from maskdistill.datasets.remote import RemoteError, fetch, stamp
from maskdistill.datasets.shards import expand_braces, open_shards
from maskdistill.errors import DatasetError
from maskdistill.roots import roots


def open_address(address: str, *, on_progress: ProgressCallback | None = None, seen: Path | None = None) -> PhotoSource:
    """Photos that a list at an address names, or those of the tar files that it stands for (with ``{000..009}``).

    A list is fetched each time, so that a changed one is noticed. Objects that were read are not asked for again.

    Args:
        address: Of the list, or of the tar files.
        on_progress: Called with the number of photos done and in total.
        seen: As of ``open_manifest``.

    Raises:
        DatasetError: If it is neither, or cannot be fetched; the sentence holds no secret part of the address.
        ConfigError: If a package is missing.
    """
    shown = public(address)
    if roots():
        raise DatasetError(f"{shown} lies on another machine, and this server opens files of its own folders only.")
    suffix = suffix_of_address(address)
    if suffix in LIST_SUFFIXES:
        return _open_list(address, suffix, on_progress, seen)
    if suffix == ".tar":
        shards = {shown_path(one): _as_it_is_now(one) for one in _expand(address)}
        path = shown_path(address)
        return open_shards(path, tuple(shards), on_progress=on_progress, seen=seen, addresses=shards, name=shown)
    if suffix in PHOTO_SUFFIXES:
        raise DatasetError(f"{shown} is one photo. Give a list of photos: a text with one address a line.")
    raise DatasetError(
        f"{shown} is no list of photos ({', '.join(LIST_SUFFIXES)}) and no .tar. A folder on another machine cannot be "
        "searched: write a list of its photos, one address a line."
    )


def _open_list(address: str, suffix: str, on_progress: ProgressCallback | None, seen: Path | None) -> PhotoSource:
    try:
        kept = fetch(address, fresh=True)
    except RemoteError as error:
        raise DatasetError(f"{error} Check the address.") from error
    path = kept.with_name(f"{kept.name}{suffix}")  # readers go by the suffix
    try:
        path.unlink(missing_ok=True)
        path.hardlink_to(kept)
    except OSError:
        path.write_bytes(kept.read_bytes())
    return open_manifest(path, on_progress=on_progress, seen=seen, address=address)


def _as_it_is_now(address: str) -> str:
    try:
        return versioned(address, repr(stamp(address)))
    except RemoteError:  # whoever reads it says why
        return address


def _expand(address: str) -> list[str]:
    """The addresses that one with braces in its path stands for."""
    parts = urlsplit(address)
    return [urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")) for path in expand_braces(parts.path)]
