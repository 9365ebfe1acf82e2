"""Objects on other machines: fetched with some patience, and kept in a folder of bounded size.

``https`` and ``http`` are read by Python itself, ``s3`` and ``gs`` by fsspec, an extra that nothing else here imports.
"""

import base64
import contextlib
import hashlib
import http.client
import logging
import os
import secrets
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

from maskdistill import __version__
from maskdistill.datasets.addresses import public
from maskdistill.errors import ConfigError, DatasetError
from maskdistill.files import is_disk_full, replace_atomically
from maskdistill.roots import roots

CACHE_VARIABLE = "MASKDISTILL_REMOTE_CACHE"
SIZE_VARIABLE = "MASKDISTILL_REMOTE_CACHE_GB"
ALLOW_VARIABLE = "MASKDISTILL_REMOTE"  # "off" where nothing may be fetched
DEFAULT_GIGABYTES = 20.0
Found = TypeVar("Found")
EXTRA = "pip install 'maskdistill[remote]'"

_TRIES = 4
_STORE_TRIES = 2  # the packages of stores try again by themselves, for half a minute and more
_STORE_PACKAGES = ("fsspec", "s3fs", "gcsfs", "google.auth")
_PATIENCE = 0.5  # seconds before the second try; doubled before each further one
_TIMEOUT = 30.0  # seconds that a server may be silent
_LOOK_AGAIN = 0.05  # share of the cache's size after whose coming it is looked through
_FINAL = (400, 401, 403, 404, 405, 410, 451)  # answers that a further try does not change
_MEANING = {
    401: "It may be read only with a password or a signature that was not given",
    403: "This account may not read it, or its signature is out of date",
    404: "There is no such object",
    410: "There is no such object any more",
}
_ASKED = ("Content-Range", "Content-Length", "Last-Modified", "ETag", "Date")
_SETTLED = 3.0  # seconds after a change from which on another one shows in the time
_BLOCK = 1024 * 1024
_TOUCH_AFTER = 60.0  # seconds after which the use of a kept object is noted again


class RemoteError(DatasetError):
    """An object cannot be fetched; ``reason`` is the sentence without its address."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"Cannot fetch {public(address)}. {reason}")
        self.address, self.reason = public(address), reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.address, self.reason)


class _PassingError(Exception):
    """What may go better at the next try."""


def fetch(address: str, *, fresh: bool = False) -> Path:
    """The object as a file of the cache.

    Args:
        address: Of the object.
        fresh: Whether it is fetched again though it is there.

    Raises:
        RemoteError: If it cannot be fetched.
        ConfigError: If a package is missing, or the cache cannot be used.
    """
    path = kept_path(address)
    if not fresh and _is_kept(path):
        return path
    _fill(address, path, lambda file: _download(address, file))
    return path


def open_piece(address: str, start: int, size: int) -> BinaryIO:
    """Some bytes of an object, to read and to seek in; the whole object is used where the cache has it.

    Args:
        address: Of the object.
        start: Bytes before them.
        size: Bytes.

    Raises:
        RemoteError: As ``fetch``, and if the object ends before.
    """
    from maskdistill.datasets.spliced_file import splice

    whole, path = kept_path(address), kept_path(address, f"{start}-{size}")
    with contextlib.suppress(OSError):
        if _is_kept(whole):
            return splice(whole.open("rb"), [(start, start + size)], owned=True)
    if not _is_kept(path):
        _fill(address, path, lambda file: _download(address, file, start, size))
    return path.open("rb")


def stamp(address: str) -> list[str]:
    """What tells a changed object: size, time and tag, as far as the server says.

    Raises:
        RemoteError: As ``fetch``.
    """
    _require_allowed(address)
    return _patiently(address, lambda: _ask_http(address) if _is_http(address) else _ask_store(address))


def kept_path(address: str, piece: str = "") -> Path:
    """Where the cache keeps an object, or a piece of it."""
    name = hashlib.blake2b(f"{public(address)} {piece}".encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()
    return cache_folder() / name[:2] / name[2:]


def cache_folder() -> Path:
    """``$MASKDISTILL_REMOTE_CACHE``, else a folder of the user's cache."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).absolute()
    base = os.environ.get("MASKDISTILL_CACHE") or os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base or Path.home() / ".cache", "maskdistill-remote").absolute()
    except RuntimeError:  # no home
        return Path(tempfile.gettempdir(), "maskdistill-remote")


def cache_bytes() -> int:
    """How large the cache may be.

    Raises:
        ConfigError: If ``$MASKDISTILL_REMOTE_CACHE_GB`` is no positive number.
    """
    given = os.environ.get(SIZE_VARIABLE) or str(DEFAULT_GIGABYTES)
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < float("inf"):
        raise ConfigError(f"{SIZE_VARIABLE} must be a number of gigabytes above 0, got '{given[:40]}'.")
    return int(gigabytes * 1e9)


def _is_kept(path: Path) -> bool:
    """Whether an object is there; then it counts as used just now."""
    try:
        found = path.stat()
        if time.time() - found.st_mtime > _TOUCH_AFTER:
            os.utime(path)
    except OSError:
        return False
    return True


def _require_allowed(address: str) -> None:
    """The app asks nobody by itself: a link, a list or a run that somebody hands over may name any address."""
    if roots():
        raise RemoteError(address, "This server opens files of its own folders only.")
    if os.environ.get(ALLOW_VARIABLE) == "off":
        raise RemoteError(
            address,
            "The app and its jobs fetch nothing from other machines: type the command in a terminal, or set "
            f"{ALLOW_VARIABLE}=on where the app starts.",
        )


def _fill(address: str, path: Path, download: Callable[[BinaryIO], None]) -> None:
    _require_allowed(address)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            download(file)

    try:
        _patiently(address, lambda: replace_atomically(path, write))
    except OSError as error:
        remedy = f"Free some space, or set {CACHE_VARIABLE} to another folder"
        reason = "The disk is full" if is_disk_full(error) else f"The cache cannot be written ({error.strerror})"
        raise ConfigError(f"{reason}: {cache_folder()}. {remedy}.") from error
    _shelf.came(path)


def _patiently(address: str, work: Callable[[], Found]) -> Found:
    """Several tries; errors never hold the address, whose query may be secret."""
    reason = ""
    tries = _TRIES if _is_http(address) else _STORE_TRIES
    for number in range(tries):
        if number:
            time.sleep(_PATIENCE * 2 ** (number - 1))
        try:
            return work()
        except _PassingError as error:
            reason = str(error)
    raise RemoteError(address, f"{reason}; it was tried {tries} times.")


def _is_http(address: str) -> bool:
    return address.lower().startswith(("https:", "http:"))


def _download(address: str, file: BinaryIO, start: int = 0, size: int = -1) -> None:
    """Write an object, or a piece of it, to a file; of more than the cache may hold it is refused."""
    if _is_http(address):
        _download_http(address, file, start, size)
    else:
        _download_store(address, file, start, size)
    if size >= 0 and file.tell() != size:
        raise RemoteError(address, "It is shorter than it was: open the data anew.")


def _download_http(address: str, file: BinaryIO, start: int, size: int) -> None:
    headers = {"Range": f"bytes={start}-{start + size - 1}"} if size >= 0 else {}
    with _answer(address, headers) as answer:
        skip = start if size >= 0 and answer.status == 200 else 0  # a server that knows no ranges sends all
        length = answer.headers.get("Content-Length")
        came = 0
        try:
            while some := answer.read(_BLOCK):
                came += len(some)
                _write_some(address, file, some[max(0, skip + len(some) - came) :], size)
                if 0 <= size <= file.tell():
                    break
        except (OSError, http.client.HTTPException) as error:
            if is_disk_full(error):
                raise
            raise _PassingError(f"The connection broke off ({type(error).__name__})") from error
        if size < 0 and length is not None and length.isdecimal() and came != int(length):
            raise _PassingError("The connection broke off")


def _write_some(address: str, file: BinaryIO, some: bytes, size: int) -> None:
    file.write(some if size < 0 else some[: size - file.tell()])
    if file.tell() > cache_bytes():
        raise RemoteError(address, f"It is larger than the cache: raise {SIZE_VARIABLE}.")


def _answer(address: str, headers: dict[str, str], method: str = "GET") -> Any:
    sent = {"User-Agent": f"maskdistill/{__version__}", "Accept-Encoding": "identity", **headers}
    try:
        parts = urlsplit(address)
        asked = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
        request = urllib.request.Request(asked, headers=sent, method=method)
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            code = base64.b64encode(pair.encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {code}")  # not for the host that one is sent on to
        return urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        meaning = _MEANING.get(error.code, "The server does not give it")
        if error.code in _FINAL:
            raise RemoteError(address, f"{meaning} (HTTP {error.code}).") from None
        raise _PassingError(f"{meaning} (HTTP {error.code})") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", error)
        number = getattr(cause, "errno", None)
        said = os.strerror(number) if isinstance(number, int) and number > 0 else type(cause).__name__
        if isinstance(error, (http.client.InvalidURL, ValueError)) and not isinstance(error, OSError):
            raise RemoteError(address, f"It is no address that can be asked for ({type(error).__name__}).") from None
        raise _PassingError(f"The server cannot be reached ({said})") from None


def _ask_http(address: str) -> list[str]:
    try:
        found = _answer(address, {}, "HEAD")
    except RemoteError:  # a signature may be for reading alone
        found = _answer(address, {"Range": "bytes=0-0"})
    with found as answer:
        whole, size, changed, tag, now = (answer.headers.get(name) or "" for name in _ASKED)
    try:
        age = (parsedate_to_datetime(now) - parsedate_to_datetime(changed)).total_seconds()
    except (ValueError, TypeError):
        age = _SETTLED
    unsettled = secrets.token_hex(8) if not tag and age < _SETTLED else ""  # times are whole seconds
    return [whole.rpartition("/")[2] or size, changed, tag, unsettled]


def _store(address: str) -> tuple[Any, str]:
    """The file system of fsspec that has an object, and its path there."""
    try:
        import fsspec
    except ImportError as error:
        raise ConfigError(f"Objects such as {public(address)} are read with fsspec. Install it: {EXTRA}") from error
    for package in map(logging.getLogger, _STORE_PACKAGES):  # their tracebacks and addresses may hold what is secret
        if package.level == logging.NOTSET:
            package.setLevel(logging.CRITICAL)
    try:
        system, path = fsspec.core.url_to_fs(address.partition("#")[0])
    except ImportError as error:
        raise ConfigError(
            f"Objects such as {public(address)} are read with a package that is missing ({error.name or 'see extra'}). "
            f"Install it: {EXTRA}"
        ) from error
    except ValueError as error:
        raise RemoteError(address, "It is of a kind that is not known.") from error
    return system, str(path)


def _download_store(address: str, file: BinaryIO, start: int, size: int) -> None:
    def copy() -> None:
        system, path = _store(address)
        if size >= 0:
            file.write(system.cat_file(path, start=start, end=start + size))
            return
        with system.open(path, "rb") as source:
            while some := source.read(_BLOCK):
                _write_some(address, file, some, -1)

    _asking_store(address, copy)


def _ask_store(address: str) -> list[str]:
    def ask() -> list[str]:
        system, path = _store(address)
        found = system.info(path)
        names = ("size", "mtime", "LastModified", "updated", "created", "ETag", "etag", "md5Hash", "generation")
        return [f"{name}={found[name]}" for name in names if found.get(name) is not None]

    return _asking_store(address, ask)


def _asking_store(address: str, work: Callable[[], Found]) -> Found:
    try:
        return work()
    except (RemoteError, ConfigError, _PassingError):
        raise
    except FileNotFoundError:
        raise RemoteError(address, f"{_MEANING[404]}.") from None
    except IsADirectoryError:
        raise RemoteError(address, "It is a folder; give a list of its photos.") from None
    except Exception as error:  # each store has its own, and their texts may hold credentials
        if is_disk_full(error):
            raise
        if _is_forbidden(error):
            reason = "This account may not read it: check the credentials of the store."
            raise RemoteError(address, reason) from None
        raise _PassingError(f"The store did not answer as it should ({type(error).__name__})") from None


def _is_forbidden(error: Exception) -> bool:
    """Whether a store refuses this account, or found no credentials; of gcsfs neither is a ``PermissionError``."""
    refused = isinstance(error, PermissionError) or getattr(error, "code", None) in (401, 403)
    return refused or str(error).startswith("Forbidden") or "Credentials" in type(error).__name__


class _Shelf:
    """Keeps the cache in its bounds: what was used longest ago goes first. Several processes may do so at once."""

    def __init__(self) -> None:
        self._lock, self._came = threading.Lock(), float("inf")  # bytes since it was last looked through

    def came(self, path: Path) -> None:
        """A file was added."""
        with self._lock:
            with contextlib.suppress(OSError):
                self._came += path.stat().st_size
            limit = cache_bytes()
            if self._came > _LOOK_AGAIN * limit:
                self._came = 0
                _drop_oldest(cache_folder(), limit, path)


def _drop_oldest(folder: Path, limit: int, newest: Path) -> None:
    found = []
    for entry in folder.glob("*/*"):
        with contextlib.suppress(OSError):
            status = entry.stat()
            found.append((status.st_mtime, status.st_size, entry))
    total = sum(size for _, size, _ in found)
    for _, size, entry in sorted(found):
        if total <= limit * (1 - _LOOK_AGAIN):
            return
        if entry != newest:
            with contextlib.suppress(OSError):
                entry.unlink()
                total -= size


_shelf = _Shelf()
