"""``run.sqlite``: what several processes write into one run at the same time. Jobs, their events, people's decisions.

The tables stand in ``schema.py``. Every connection is short-lived or belongs to one thread. Whatever SQLite cannot do
comes out as a ``RunError``.
"""

import contextlib
import os
import re
import shlex
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

from maskdistill import __version__
from maskdistill.errors import RunError
from maskdistill.storage.read_files import first_line, read_json
from maskdistill.storage.schema import MIGRATIONS

DATABASE = "run.sqlite"
BUSY = 10.0  # seconds that a writer waits for another one
_FEW_BYTES = 1_000_000  # free space below which an input/output error is taken for a full disk
_TABLES = "|".join(re.findall(r"CREATE TABLE (\w+)", " ".join(text for version in MIGRATIONS for text in version)))
# What a statement of ours says where the tables of the file are not ours.
_STRUCTURE = re.compile(rf"no such table: ({_TABLES})$|no such column|has no column named|already exists|never was")
_CANNOT_MAKE = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
# Here SQLite's shared memory would not be shared between machines; the journal that needs none is used.
_NETWORK = frozenset(
    "9p afpfs afs beegfs ceph cifs fuse.ceph fuse.glusterfs fuse.sshfs gpfs lustre nfs nfs4 smb3 smbfs".split()  # noqa: SIM905
)


def database_path(run: Path) -> Path:
    """Where a run's database lies; it need not be there."""
    return run / DATABASE


@contextmanager
def writing(run: Path) -> Iterator[sqlite3.Connection]:
    """One transaction on a connection of its own; the run folder and the file are made if missing.

    Raises:
        RunError: If the file cannot be used.
    """
    with _rows_told(database_path(run)), closing(connect(run)) as connection, transaction(connection):
        yield connection


@contextmanager
def reading(run: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection to read with; None if the run has no database. Nothing is made, and a full disk does not matter.

    Raises:
        RunError: If the file cannot be used.
    """
    path = database_path(run)
    if not os.path.lexists(path):
        yield None
        return
    _check_is_file(path)
    with _rows_told(path), _told(path), closing(_open_to_read(path)) as connection:
        yield connection


def connect(run: Path, *, durable: bool = True) -> sqlite3.Connection:
    """A connection to write with, for ``transaction``; the file is made, or brought up to date, if need be.

    Args:
        run: Run folder; made if missing.
        durable: Whether what is written must survive a power cut a moment later.

    Raises:
        RunError: If the file cannot be used.
    """
    path = database_path(run)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot make the run folder {run}: {error.strerror or error}.") from error
    _check_is_file(path)
    with _told(path):
        connection = _open(path)
        try:
            _migrate(connection, path)
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing; other writers wait meanwhile.

    Raises:
        RunError: If the file cannot be written.
    """
    path = Path(connection.execute("PRAGMA database_list").fetchone()["file"])
    with _told(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


class Burst:
    """Keeps a run's database open from one write to the next, where many follow each other.

    Whoever closes the last connection carries the log over to the file, which takes longer than the write itself. It
    is closed, and the log carried over, once there was no write for some seconds: files that somebody puts back in
    place of these must find no log beside them.
    """

    def __init__(self, run: Path, seconds: float = 3.0) -> None:
        self._path, self._seconds = database_path(run), seconds
        self._until = 0.0
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def go_on(self) -> None:
        """To be called before each write. Without a database, or one that opens, nothing is kept."""
        with self._lock:
            self._until = time.monotonic() + self._seconds
            if self._connection is not None:
                return
            self._connection = _taking_part(self._path)
            if self._connection is not None:
                threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        while (left := self._until - time.monotonic()) > 0 or not self._close():
            time.sleep(max(left, 0.01))

    def _close(self) -> bool:
        """Whether it is closed: not if somebody has come to write meanwhile."""
        with self._lock:
            if self._connection is None or self._until > time.monotonic():
                return False
            self._connection.close()
            self._connection = None
            return True


def _taking_part(path: Path) -> sqlite3.Connection | None:
    """A connection that any thread may close; of those to a file it counts as one once it has read."""
    if not path.is_file():
        return None
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, check_same_thread=False)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return None
    return connection


def _open(path: Path, options: str = "") -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}{options}", uri=True, timeout=BUSY, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Beside its file SQLite keeps 32 kB that all connections share; on a full disk, or one that cannot be written,
    the first connection cannot make it. Alone on the file it does without; so it does if nothing ever changes.
    """
    for options, pragma in (("?mode=rw", ""), ("?mode=rw", "PRAGMA locking_mode = EXCLUSIVE"), ("?immutable=1", "")):
        connection = None
        try:
            connection = _open(path, options)
            connection.execute(pragma)
            version = _version(connection)
        except sqlite3.OperationalError as error:
            if connection is not None:
                connection.close()
            if _primary(error) not in _CANNOT_MAKE:
                raise
            problem = error
            continue
        if version == len(MIGRATIONS):
            return connection
        try:
            return connect(path.parent)
        except RunError:  # an older file that cannot be written: read in a copy
            return _migrated_copy(connection, path)
        finally:
            connection.close()
    raise problem


def _migrated_copy(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None)
    copy.row_factory = sqlite3.Row
    try:
        connection.backup(copy)
        _migrate(copy, path)
    except BaseException:
        copy.close()
        raise
    return copy


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == len(MIGRATIONS):
        return
    if not _on_network(path):
        _keep_log(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)  # another process may have been faster
        if version > len(MIGRATIONS):
            raise RunError(
                f"{path} was written by a newer version of maskdistill than {__version__}{_maker(path)}. "
                "Install that version, or a newer one; nothing in it was changed."
            )
        if version < 0:
            raise sqlite3.DatabaseError(f"version {version} never was")
        for statement in (statement for migration in MIGRATIONS[version:] for statement in migration):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _maker(path: Path) -> str:
    """The version that the run was made by, if that can be read."""
    with contextlib.suppress(RunError, OSError, AttributeError):
        return f"; its run was made by {read_json(path.with_name('run.json')).get('versions', {})['maskdistill']}"
    return ""


def _check_is_file(path: Path) -> None:
    """Refuse what is no file before SQLite makes one in its place, or waits for it."""
    if os.path.lexists(path) and not path.is_file():
        kind = "a link that leads nowhere" if path.is_symlink() else "no file"
        raise RunError(
            f"{path} is {kind}. People's decisions belong there: put the file back, or rename what stands in its place."
        )


@contextmanager
def _rows_told(path: Path) -> Iterator[None]:
    """What a row holds is written by this program: a value that cannot be understood is a matter of the file."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(f"{path} holds a row that cannot be read ({first_line(error)}). {_keep(path)}") from error


def _keep_log(connection: sqlite3.Connection) -> None:
    """Write-ahead log: readers and a writer do not wait for each other. Where it cannot work SQLite leaves it."""
    deadline = time.monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:  # the timeout of the connection does not hold for this one
            if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _on_network(path: Path) -> bool:
    """Whether the file lies on another machine's disk."""
    folder = path.resolve().parent
    mounts = [mount for mount in psutil.disk_partitions(all=True) if folder.is_relative_to(mount.mountpoint)]
    return bool(mounts) and max(mounts, key=lambda mount: len(mount.mountpoint)).fstype in _NETWORK


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's errors as sentences. A mistake in a statement is no matter of the file and stays what it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        remedy = _keep(path) if _STRUCTURE.search(str(error)) else _remedy(_primary(error), path)
        if not remedy:
            raise
        raise RunError(f"{path} cannot be used: {error}. {remedy}") from error


def _remedy(code: int, path: Path) -> str:
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"Another program has held it for {BUSY:.0f} s: try again."
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        full = code == sqlite3.SQLITE_FULL or shutil.disk_usage(path.parent).free < _FEW_BYTES
        return "The disk is full: free some space." if full else "The disk fails: check it."
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return "Check the rights of the folder."
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"It is damaged. {_keep(path)}"
    return ""


def _keep(path: Path) -> str:
    """What to do with a damaged file. It may hold the only record of what people decided."""
    rescued = path.with_name("rescued.sqlite")
    return (
        "People's decisions are in it, so keep it: put back a copy, or take out what can be read, "
        f"sqlite3 {shlex.quote(str(path))} .recover | sqlite3 {shlex.quote(str(rescued))}, rename the damaged file and "
        "put the other in its place. Masks, models and reports are not in it."
    )


def _primary(error: sqlite3.Error) -> int:
    """SQLite's error code without its details; 0 if it is an error of Python's module."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
