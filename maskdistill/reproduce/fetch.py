"""Files from the network: resumed, checked against their digest, with a rate and the time left."""

import hashlib
import http
import http.client
import logging
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from maskdistill.errors import DatasetError
from maskdistill.files import require_writable, write_json
from maskdistill.reproduce.artifacts import Artifact
from maskdistill.storage.progress import Reporter
from maskdistill.storage.read_files import read_json_if_there

logger = logging.getLogger(__name__)

CHUNK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 3  # of a transfer that breaks off, each going on where the last one ended
SPARE = 200  # megabytes that stay free
_MEGABYTE = 1_000_000
DIGESTS = "downloads/digests.json"  # of files whose digest nobody states
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


def missing_of(artifacts: Sequence[Artifact], root: Path) -> list[Artifact]:
    """Those whose file is not there, or has not the stated size."""
    return [item for item in artifacts if not _is_there(item, root)]


def _is_there(item: Artifact, root: Path) -> bool:
    path = item.path(root)
    return path.is_file() and (item.num_bytes is None or path.stat().st_size == item.num_bytes)


def fetch_all(artifacts: Sequence[Artifact], root: Path, *, quiet: bool = False) -> list[str]:
    """Fetch what is missing, one after the other; files that are there are checked the first time.

    Returns:
        A sentence for each file.

    Raises:
        DatasetError: If there is no network, too little disk, or a file is not what it should be; the message says
            where to put every file that is missing.
    """
    missing = missing_of(artifacts, root)
    needed = sum(item.megabytes for item in missing)
    require_writable(root)
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free / _MEGABYTE
    if needed and free < needed + SPARE:
        short = f"{root} has {free:,.0f} MB free, and {needed:,.0f} MB are to be fetched"
        raise DatasetError(f"{short}. Make room, or give another --root.")
    told = []
    for item in artifacts:
        if item in missing:
            try:
                _fetch(item, root, quiet=quiet)
            except _NETWORK as error:
                raise DatasetError(_without_network(missing_of(artifacts, root), root, _reason(error))) from error
        told.append(check_artifact(item, root))
    return told


def check_artifact(item: Artifact, root: Path) -> str:
    """Compare a file with its digest; done once for each state of the file.

    Raises:
        DatasetError: If it is another file.
    """
    path, known = item.path(root), root / DIGESTS
    record = read_json_if_there(known) or {}
    status = path.stat()
    stamp = [status.st_size, status.st_mtime_ns]
    before = record.get(item.place)
    if before is not None and before["stamp"] == stamp:
        return f"{path.name}: as checked before (MD5 {before['md5']})."
    digest = _md5(path)
    wanted = item.md5 if item.md5 is not None else before and before["md5"]
    if wanted is not None and not digest.startswith(wanted):
        raise DatasetError(
            f"{path} is not the file that {item.url} should be: its MD5 is {digest}, wanted {wanted}. Remove it and "
            "start again; where it was put by hand, download it again."
        )
    write_json(known, {**record, item.place: {"md5": digest, "stamp": stamp, "url": item.url}})
    return f"{path.name}: MD5 {digest}, {'as stated' if item.md5 else 'which nobody states; it is written down'}."


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _fetch(item: Artifact, root: Path, *, quiet: bool) -> None:
    path = item.path(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    total = round(item.megabytes)
    done = part.stat().st_size if part.is_file() else 0
    with Reporter(
        root / "downloads" / ".progress.json", path.name, max(1, total), done // _MEGABYTE, unit="MB", quiet=quiet
    ) as reporter:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _transfer(item.url, part, reporter)
                break
            except _NETWORK as error:
                if attempt == ATTEMPTS or isinstance(error, urllib.error.HTTPError):
                    raise
                logger.info("%s broke off (%s); going on.", path.name, _reason(error))
    part.replace(path)


def _transfer(url: str, part: Path, reporter: Reporter) -> None:
    """Append what is missing of a file; start afresh where the server cannot go on in the middle."""
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            return  # there is no more
        raise
    with answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        length = answer.headers.get("Content-Length")
        wanted = None if length is None else int(length) + (done if goes_on else 0)
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                reporter.reach(file.tell() // _MEGABYTE)
    if wanted is not None and part.stat().st_size < wanted:
        raise http.client.IncompleteRead(b"", wanted - part.stat().st_size)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code}"
    reason = getattr(error, "reason", None)
    text = str(reason if reason is not None else error).strip()
    return text or type(error).__name__


def _without_network(missing: Sequence[Artifact], root: Path, reason: str) -> str:
    lines = [f"Cannot fetch {missing[0].url}: {reason}. Connect to the network, or put these files there:"]
    lines += [f"  {item.url} ({item.megabytes:,.0f} MB) as {item.path(root)}" for item in missing]
    return "\n".join(lines)
