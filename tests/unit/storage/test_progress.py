import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from types import SimpleNamespace

import psutil
import pytest
from tqdm import tqdm

from maskdistill.files import replace_atomically, write_atomically
from maskdistill.storage import progress
from maskdistill.storage.progress import HEARTBEAT_LIMIT, Progress, Reporter, format_duration, read_progress_file


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (45.4, "45 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_duration_as_people_say_it(seconds, text):
    assert format_duration(seconds) == text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_atomically(path, "grün")
    assert path.read_text(encoding="utf-8") == "grün"
    write_atomically(path, "blau")
    assert path.read_text(encoding="utf-8") == "blau"
    assert names(path.parent) == ["a.json"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half of the n")
        raise error

    with pytest.raises(type(error)):
        replace_atomically(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_reader_never_sees_a_part(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    seen = []

    def write(temporary):
        temporary.write_text("new")
        seen.append(path.read_text())
        assert temporary.parent == path.parent  # a rename is one step within one file system only

    replace_atomically(path, write)
    assert seen == ["old"]
    assert path.read_text() == "new"


def ours(**changes):
    process = psutil.Process()
    base = Progress("proposals", 3, 10, 1.5, 4.7, "running", "", process.pid, process.create_time())
    return replace(base, host=socket.gethostname(), heartbeat=time.time(), **changes)


def written(path, value):
    path.write_text(json.dumps(asdict(value)))
    return read_progress_file(path)


def test_running_process_is_running(tmp_path):
    value = ours()
    assert written(tmp_path / "progress.json", value) == value


def test_process_that_has_gone_is_lost(tmp_path):
    child = subprocess.Popen([sys.executable, "-S", "-c", "pass"])
    child.wait()
    read = written(tmp_path / "progress.json", ours(pid=child.pid))
    assert read.state == "lost"
    assert "finished photos are kept" in read.message
    assert (read.done, read.total) == (3, 10)


def test_pid_that_now_belongs_to_another_process_is_lost(tmp_path):
    assert written(tmp_path / "progress.json", ours(pid_started=psutil.Process().create_time() - 60)).state == "lost"


@pytest.mark.skipif(os.name == "nt", reason="zombies are a Unix thing")
def test_zombie_is_lost(tmp_path):
    child = subprocess.Popen([sys.executable, "-S", "-c", "pass"])
    process = psutil.Process(child.pid)
    started = process.create_time()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # wait, but leave it a zombie
    try:
        assert written(tmp_path / "progress.json", ours(pid=child.pid, pid_started=started)).state == "lost"
    finally:
        child.wait()


@pytest.mark.parametrize(("age", "state"), [(HEARTBEAT_LIMIT / 2, "running"), (HEARTBEAT_LIMIT * 2, "lost")])
def test_process_on_another_machine_is_judged_by_its_heartbeat(tmp_path, age, state):
    value = replace(ours(), host="elsewhere", pid=1, heartbeat=time.time() - age)
    assert written(tmp_path / "progress.json", value).state == state


@pytest.mark.parametrize("state", ["done", "failed", "stopped"])
def test_final_state_stays(tmp_path, state):
    assert written(tmp_path / "progress.json", ours(state=state, pid=2**22 + 7, message="x")).state == state


@pytest.mark.parametrize("text", ["", "{", "3", "[]", '{"stage": "proposals"}', '{"colour": "red"}'])
def test_unreadable_file_is_none(tmp_path, text):
    (tmp_path / "progress.json").write_text(text)
    assert read_progress_file(tmp_path / "progress.json") is None


def test_missing_file_is_none(tmp_path):
    assert read_progress_file(tmp_path / "progress.json") is None


@pytest.fixture
def clock(monkeypatch):
    """Seconds of a monotonic clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


class TestReporter:
    def test_counts_and_rate(self, tmp_path, clock):
        path = tmp_path / "run" / "progress.json"
        reporter = Reporter(path, "proposals", total=20, done=5, quiet=True)
        first = read_progress_file(path)
        assert (first.state, first.done, first.total, first.rate, first.seconds_left) == ("running", 5, 20, 0, None)
        assert (first.pid, first.host) == (os.getpid(), socket.gethostname())
        clock[0] += 2
        reporter.advance()
        clock[0] += 2
        reporter.advance(3)
        reporter.finish("stopped", "Stopped by hand.")
        last = read_progress_file(path)
        assert (last.state, last.message, last.done) == ("stopped", "Stopped by hand.", 9)
        assert last.rate == pytest.approx(
            3 / 2
        )  # since the first photo: an earlier call's and the start-up do not count
        assert last.seconds_left == pytest.approx(11 / 1.5)

    def test_reaches_a_count(self, tmp_path, clock):
        """Steps of a training that goes on count from its beginning: 7 are known by the first one finished here."""
        path = tmp_path / "progress.json"
        reporter = Reporter(path, "stage1", total=20, unit="steps", quiet=True)
        for done in (8, 9, 9, 12):
            clock[0] += 2
            reporter.reach(done)
        progress = read_progress_file(path)
        assert progress.done == 12
        assert progress.rate == pytest.approx((12 - 8) / 6)

    def test_writes_the_file_twice_a_second_at_most(self, tmp_path, clock, monkeypatch):
        writes = []
        monkeypatch.setattr(progress, "write_atomically", lambda _path, text: writes.append(json.loads(text)["done"]))
        reporter = Reporter(tmp_path / "progress.json", "proposals", total=100, quiet=True)
        for _ in range(40):
            clock[0] += progress.FILE_INTERVAL / 4
            reporter.advance()
        assert writes == [0, *range(4, 41, 4)]

    def test_prints_a_line_now_and_then_where_there_is_no_terminal(self, tmp_path, clock, capsys):
        reporter = Reporter(tmp_path / "progress.json", "proposals", total=100)
        for _ in range(5):
            clock[0] += progress.LOG_INTERVAL / 2
            reporter.advance()
        lines = capsys.readouterr().err.splitlines()
        assert lines == [
            "proposals: 2/100 photos, 0.20 photos/s, 8 min 10 s left",
            "proposals: 4/100 photos, 0.20 photos/s, 8 min 00 s left",
        ]

    def test_quiet_prints_nothing(self, tmp_path, clock, capsys):
        reporter = Reporter(tmp_path / "progress.json", "proposals", total=100, quiet=True)
        clock[0] += 100
        reporter.advance()
        reporter.finish("done", "")
        assert capsys.readouterr() == ("", "")

    def test_shows_a_bar_on_a_terminal(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        reporter = Reporter(tmp_path / "progress.json", "proposals", total=4, done=1)
        reporter.advance(3)
        reporter.finish("done", "")
        error = capsys.readouterr().err
        assert "proposals" in error
        assert "4/4" in error

    @pytest.mark.parametrize("widgets", [True, False])
    def test_shows_a_bar_in_a_notebook(self, tmp_path, monkeypatch, capsys, widgets):
        """Without ipywidgets the one of a terminal, which a notebook shows as well."""
        shell = SimpleNamespace(kernel=object())
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
        monkeypatch.setattr(progress, "find_spec", lambda _: object() if widgets else None)
        if widgets:
            monkeypatch.setitem(sys.modules, "tqdm.notebook", SimpleNamespace(tqdm=partial(tqdm, ascii="-=")))
        reporter = Reporter(tmp_path / "progress.json", "proposals", total=4)
        reporter.advance(4)
        reporter.finish("done", "")
        error = capsys.readouterr().err
        assert "4/4" in error
        assert ("====" in error) == widgets

    def test_is_whole_whenever_it_is_read(self, tmp_path, monkeypatch):
        """A page reads the file twice a second while a stage writes it."""
        monkeypatch.setattr(progress, "FILE_INTERVAL", 0.0)
        path, total = tmp_path / "progress.json", 300
        reporter = Reporter(path, "proposals", total, quiet=True)

        def work():
            for _ in range(total):
                reporter.advance()

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(work)
            seen = [read_progress_file(path)]
            while not writer.done():
                seen.append(read_progress_file(path))
            writer.result()
        assert None not in seen
        assert [item.done for item in seen] == sorted(item.done for item in seen)
        assert {item.state for item in seen} == {"running"}
