import multiprocessing
import shutil
import sqlite3
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from maskdistill.errors import RunError
from maskdistill.storage import database
from maskdistill.storage.database import Burst, connect, database_path, reading, transaction, writing
from maskdistill.storage.schema import MIGRATIONS

SPAWN = multiprocessing.get_context("spawn")


def add_note(run, text):
    with writing(run) as db:
        db.execute("INSERT INTO notes VALUES (?)", (text,))


def notes(run):
    with reading(run) as db:
        return [row["text"] for row in db.execute("SELECT text FROM notes")]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose database has one table more, added as anybody would."""
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE notes (text TEXT)",)))
    add_note(tmp_path / "run", "first")
    return tmp_path / "run"


def test_reading_makes_nothing(tmp_path):
    with reading(tmp_path / "run") as db:
        assert db is None
    assert not (tmp_path / "run").exists()


def test_what_is_written_is_there(run):
    add_note(run, "second")
    assert notes(run) == ["first", "second"]


def test_all_or_nothing(run):
    def break_off():
        with writing(run) as db:
            db.execute("INSERT INTO notes VALUES ('half')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert notes(run) == ["first"]


def test_keeps_a_write_ahead_log(run):
    with reading(run) as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def log_of(run):
    return database_path(run).with_name("run.sqlite-wal")


def wait_until_closed(run):
    deadline = time.monotonic() + 60
    while log_of(run).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not log_of(run).exists()


def test_log_is_carried_over_once_a_burst_of_writes_is_over(run):
    burst = Burst(run, seconds=0.2)
    for text in ("second", "third"):
        burst.go_on()
        add_note(run, text)
        assert log_of(run).stat().st_size  # nobody carried it over
        assert notes(run)[-1] == text
    wait_until_closed(run)
    alone = run.with_name("alone")
    alone.mkdir()
    shutil.copy(database_path(run), alone)
    assert notes(alone) == ["first", "second", "third"]
    burst.go_on()
    add_note(run, "fourth")
    assert log_of(run).exists()
    wait_until_closed(run)


def test_burst_without_a_database_makes_none(tmp_path):
    Burst(tmp_path).go_on()
    assert list(tmp_path.iterdir()) == []
    database_path(tmp_path).write_text("no database at all")
    Burst(tmp_path).go_on()
    assert [path.name for path in tmp_path.iterdir()] == ["run.sqlite"]


def test_network_folder_takes_the_journal_that_needs_no_shared_memory(tmp_path, monkeypatch):
    class Mount:
        mountpoint, fstype = str(tmp_path), "nfs4"

    monkeypatch.setattr(database.psutil, "disk_partitions", lambda all: [Mount])
    with writing(tmp_path / "run") as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


def test_older_file_is_brought_up_to_date_and_keeps_what_it_holds(run, monkeypatch):
    more = (*database.MIGRATIONS, ("ALTER TABLE notes ADD COLUMN author TEXT DEFAULT 'me'",))
    monkeypatch.setattr(database, "MIGRATIONS", more)
    with reading(run) as db:
        assert [tuple(row) for row in db.execute("SELECT * FROM notes")] == [("first", "me")]


def test_migration_that_breaks_leaves_the_old_file(run, monkeypatch):
    good = database.MIGRATIONS
    monkeypatch.setattr(database, "MIGRATIONS", (*good, ("DROP TABLE notes", "CREATE NONSENSE")))
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        add_note(run, "second")
    monkeypatch.setattr(database, "MIGRATIONS", good)
    assert notes(run) == ["first"]


def test_file_of_a_newer_version_is_left_alone(run, monkeypatch):
    monkeypatch.setattr(database, "MIGRATIONS", MIGRATIONS)
    with pytest.raises(RunError, match="written by a newer version"):
        notes(run)
    with pytest.raises(RunError, match="written by a newer version"):
        add_note(run, "second")


def test_damaged_file_is_named(run):
    database_path(run).write_bytes(b"not a database, but long enough to be looked at" * 40)
    with pytest.raises(RunError, match=r"run\.sqlite cannot be used: .*It is damaged\. .*put back a copy"):
        notes(run)


def test_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"Cannot make the run folder .*file/run: Not a directory"):
        add_note(tmp_path / "file" / "run", "x")


def test_mistake_in_a_statement_is_no_matter_of_the_file(run):
    with pytest.raises(sqlite3.OperationalError, match="no such table"), reading(run) as db:
        db.execute("SELECT * FROM missing")


def test_writer_waits_for_another_and_says_if_it_takes_too_long(run, monkeypatch):
    monkeypatch.setattr(database, "BUSY", 0.1)
    with writing(run), pytest.raises(RunError, match=r"locked.*Another program has held it for 0 s: try again"):
        add_note(run, "second")
    add_note(run, "third")
    assert notes(run) == ["first", "third"]


def test_reader_does_not_wait_for_a_writer(run):
    with writing(run) as db:
        db.execute("INSERT INTO notes VALUES ('second')")
        assert notes(run) == ["first"]  # one that waited would be told that it is locked


def test_connection_that_is_kept(run):
    connection = connect(run, durable=False)
    for text in ("second", "third"):
        with transaction(connection) as db:
            db.execute("INSERT INTO notes VALUES (?)", (text,))
    connection.close()
    assert notes(run) == ["first", "second", "third"]


def test_folder_that_cannot_be_written_is_still_read(run, monkeypatch):
    """Neither the log nor the shared memory can be made; who is root can, so the first two ways are closed here."""
    opened = database._open

    def open_read_only(path, options=""):
        if "immutable" not in options:
            raise cannot_open()
        return opened(path, options)

    def cannot_open():
        with pytest.raises(sqlite3.OperationalError) as info:
            sqlite3.connect(run / "nowhere" / "x").execute("SELECT 1")
        return info.value

    monkeypatch.setattr(database, "_open", open_read_only)
    assert notes(run) == ["first"]


def add_job(run, title):
    with writing(run) as db:
        columns = "(title, arguments, folder, device, state, turn, token, created)"
        db.execute(f"INSERT INTO jobs {columns} VALUES (?, '', '', '', '', 0, '', 0)", (title,))


@pytest.mark.parametrize(
    "pool", [ThreadPoolExecutor, pytest.param(lambda count: ProcessPoolExecutor(count, SPAWN), marks=pytest.mark.slow)]
)
def test_two_make_the_same_file_at_once(tmp_path, pool):
    """Sessions of one server, or two servers: one of them makes the tables, the other finds them."""
    runs = [tmp_path / str(number) for number in range(12)]
    for run in runs[::3]:  # some are there before
        with writing(run):
            pass
    with pool(2) as workers:
        for run in runs:
            for task in [workers.submit(add_job, run, title) for title in ("one", "two")]:
                task.result(60)
    for run in runs:
        with reading(run) as db:
            assert sorted(row["title"] for row in db.execute("SELECT title FROM jobs")) == ["one", "two"]


def test_old_file_is_brought_up_to_date_once_by_two_threads(tmp_path, monkeypatch):
    """Both see the old version before one of them changes it."""
    monkeypatch.setattr(database, "MIGRATIONS", MIGRATIONS[:1])
    with writing(tmp_path):
        pass
    monkeypatch.setattr(database, "MIGRATIONS", MIGRATIONS)
    version, both = database._version, threading.Barrier(2)

    def read_together(connection):
        found = version(connection)
        if not connection.in_transaction and found == 1:
            both.wait(20)
        return found

    monkeypatch.setattr(database, "_version", read_together)
    with ThreadPoolExecutor(2) as workers:
        for task in [workers.submit(add_job, tmp_path, title) for title in ("one", "two")]:
            task.result(60)
    with reading(tmp_path) as db:
        assert version(db) == len(MIGRATIONS)
        assert sorted(row["title"] for row in db.execute("SELECT title FROM jobs")) == ["one", "two"]


OLD = (  # what two people left in a file of the version before claims were of sessions
    "INSERT INTO steps (time, reviewer, scope, kind, value, clusters, base) "
    "VALUES (5, 'Ann', 'labels', 'mark', '{}', '', 0)",
    "INSERT INTO marks VALUES (1, 7, 'cat', 1, 2, 3, 4, 'reject', NULL)",
    "INSERT INTO steps (time, reviewer, scope, kind, value, clusters, base, undoes) "
    "VALUES (6, 'Ann', 'labels', 'undo', '{}', '', 0, 1)",
    "INSERT INTO assignments VALUES (1, 7, 3)",
    "INSERT INTO claims VALUES (7, 'Ann', 1e12)",
    "INSERT INTO claims VALUES (8, 'Bob', 1)",
    "INSERT INTO views (time, kind, name, value) VALUES (7, 'selection', 'mine', '[1]')",
)
TABLES = ("jobs", "steps", "marks", "assignments", "claims", "views")


def contents(db):
    return {name: [dict(row) for row in db.execute(f"SELECT * FROM {name}")] for name in TABLES}


@pytest.fixture
def old_run(tmp_path, monkeypatch):
    """A run whose database is of an earlier version, and what it held."""
    with monkeypatch.context() as patched:
        patched.setattr(database, "MIGRATIONS", MIGRATIONS[:2])
        with writing(tmp_path) as db:
            for statement in OLD:
                db.execute(statement)
            held = contents(db)
    return tmp_path, held


def assert_holds(found, held):
    for name in TABLES:
        assert len(found[name]) == len(held[name])
        for row, old in zip(found[name], held[name], strict=True):
            assert row.items() >= old.items()


def test_older_file_loses_nothing_when_it_is_brought_up_to_date(old_run):
    run, held = old_run
    with writing(run) as db:
        found = contents(db)
    assert_holds(found, held)
    assert {row["session"] for row in found["claims"]} == {""}
    assert {row["client"] for row in found["steps"]} == {None}


def test_older_file_that_cannot_be_written_is_read_all_the_same(old_run, monkeypatch):
    run, held = old_run

    def refuse(_run):
        raise RunError("Check the rights of the folder.")

    monkeypatch.setattr(database, "connect", refuse)
    before = database_path(run).read_bytes()
    with reading(run) as db:
        assert_holds(contents(db), held)
    assert database_path(run).read_bytes() == before
