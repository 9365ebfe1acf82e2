import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict

import psutil
import pytest

from maskdistill import jobs
from maskdistill.errors import JobError
from maskdistill.jobs import last_log_line, read_progress, start_stage, stop_stage
from maskdistill.progress import Progress
from maskdistill.store import Run

# Little interpreters: -S leaves the site packages out, so they start in milliseconds.
OBEDIENT = "import time\nprint('ready', flush=True)\ntime.sleep(60)"
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)"
)


@pytest.fixture
def spawn():
    """Starts a Python program in a process of its own and waits until it says so; ended after the test."""
    children = []

    def start(program, **options):
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options
        )
        children.append(child)
        child.stdout.readline()
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.fixture
def run_program(monkeypatch):
    """Lets ``start_stage`` run this program instead of the command; returns the commands and the children."""
    commands, children, popen = [], [], subprocess.Popen

    def use(program):
        def start(command, **options):
            commands.append((command, options))
            children.append(popen([sys.executable, "-S", "-c", program], **options))
            return children[-1]

        monkeypatch.setattr(jobs.subprocess, "Popen", start)
        return commands, children

    yield use
    for child in children:
        child.kill()
        child.wait()


def write_progress(run, pid, **changes):
    process = psutil.Process(pid)
    value = Progress("proposals", 3, 10, 1.0, 7.0, "running", "", pid, process.create_time())
    value = asdict(value) | {"host": socket.gethostname(), "heartbeat": time.time()} | changes
    Run(run).progress_path.parent.mkdir(parents=True, exist_ok=True)
    Run(run).progress_path.write_text(json.dumps(value))


def test_nothing_was_started(tmp_path):
    assert read_progress(tmp_path / "run") is None
    assert last_log_line(tmp_path / "run") == ""
    stop_stage(tmp_path / "run")  # and nothing has to be stopped


def test_starts_the_command_a_person_would_type(tmp_path, run_program):
    run = tmp_path / "run"
    commands, children = run_program("print('hello')")
    overrides = ["proposals.tau=0.3", "crf.enabled=true"]
    pid = start_stage(run, "/my photos", overrides=overrides, preset="quick", limit=5)
    command, options = commands[0]
    assert command[:4] == [sys.executable, "-m", "maskdistill", "run"]
    assert options["start_new_session"] is True
    assert pid == children[0].pid

    from maskdistill.cli import build_parser

    parsed = build_parser().parse_args(command[3:])
    assert (parsed.data, parsed.run, parsed.preset, parsed.limit) == ("/my photos", run, "quick", 5)
    assert (parsed.set, parsed.until) == (overrides, "proposals")


def test_is_starting_until_the_first_progress(tmp_path, run_program):
    _, children = run_program(OBEDIENT)
    start_stage(tmp_path / "run", "sample")
    progress = read_progress(tmp_path / "run")
    assert (progress.state, progress.total, progress.pid) == ("running", 0, children[0].pid)
    assert progress.message.startswith("Starting")


def test_start_that_fails_at_once_shows_the_last_line_of_the_log(tmp_path, run_program):
    _, children = run_program("print('warming up'); print('maskdistill: No file or folder /nowhere.')")
    start_stage(tmp_path / "run", "/nowhere")
    children[0].wait()
    progress = read_progress(tmp_path / "run")
    assert (progress.state, progress.message) == ("failed", "maskdistill: No file or folder /nowhere.")


def test_start_that_says_nothing(tmp_path, run_program):
    _, children = run_program("")
    start_stage(tmp_path / "run", "sample")
    children[0].wait()
    assert read_progress(tmp_path / "run").message == "The process ended at once."


def test_progress_of_an_earlier_stage_is_forgotten(tmp_path, run_program):
    _, children = run_program(OBEDIENT)
    write_progress(tmp_path / "run", os.getpid(), state="done", message="10 photos processed.")
    start_stage(tmp_path / "run", "sample")
    assert read_progress(tmp_path / "run").pid == children[0].pid


def test_two_stages_of_one_run_at_once_are_refused(tmp_path, run_program):
    commands, _ = run_program(OBEDIENT)
    start_stage(tmp_path / "run", "sample")
    with pytest.raises(JobError, match=r"stage proposals of .* is running already"):
        start_stage(tmp_path / "run", "sample")
    assert len(commands) == 1


def test_folder_that_cannot_be_written(tmp_path, run_program):
    commands, _ = run_program(OBEDIENT)
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match=r"Cannot start the stage in .*file/run: Not a directory"):
        start_stage(tmp_path / "file" / "run", "sample")
    assert commands == []


def test_last_line_of_a_long_log(tmp_path):
    log = Run(tmp_path).logs_path / "proposals.log"
    log.parent.mkdir()
    log.write_text("line\n" * 5000 + "the last\n\n", encoding="utf-8")
    assert last_log_line(tmp_path) == "the last"
    log.write_bytes(b"\xff\xfe broken\n")
    assert last_log_line(tmp_path).endswith("broken")


def has_ended(process):
    """Within five seconds; a zombie that nobody has waited for counts as ended."""
    for _ in range(500):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(os.name == "nt", reason="Unix signals")
class TestStop:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch):
        monkeypatch.setattr(jobs, "GRACE", 0.2)

    def test_asks_the_process_to_stop(self, tmp_path, spawn):
        note = tmp_path / "note"
        wait = OBEDIENT.replace("\n", "\n    ")
        program = f"try:\n    {wait}\nexcept KeyboardInterrupt:\n    open({str(note)!r}, 'w').write('kept')"
        child = spawn(program, start_new_session=True)
        write_progress(tmp_path, child.pid)
        stop_stage(tmp_path)
        child.wait(timeout=5)
        assert note.read_text() == "kept"

    def test_ends_the_whole_group_of_one_that_does_not(self, tmp_path, spawn):
        family = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-S', '-c', {OBEDIENT!r}])\n{STUBBORN}"
        child = spawn(family, start_new_session=True)
        write_progress(tmp_path, child.pid)
        worker = None
        for _ in range(100):
            worker = next(iter(psutil.Process(child.pid).children()), None)
            if worker is not None:
                break
            time.sleep(0.01)
        stop_stage(tmp_path)
        assert child.wait(timeout=5) == -signal.SIGKILL
        assert has_ended(worker)

    @pytest.mark.parametrize("state", ["done", "failed", "stopped"])
    def test_leaves_a_process_alone_whose_stage_is_over(self, tmp_path, spawn, state):
        child = spawn(OBEDIENT)
        write_progress(tmp_path, child.pid, state=state)
        stop_stage(tmp_path)
        with pytest.raises(subprocess.TimeoutExpired, match="timed out"):
            child.wait(timeout=0.1)

    def test_leaves_a_process_alone_that_was_given_the_pid_of_ours(self, tmp_path, spawn):
        child = spawn(OBEDIENT)
        write_progress(tmp_path, child.pid, pid_started=time.time() - 3600)
        stop_stage(tmp_path)
        with pytest.raises(subprocess.TimeoutExpired, match="timed out"):
            child.wait(timeout=0.1)

    def test_leaves_a_process_alone_whose_pid_a_stage_on_another_machine_has(self, tmp_path, spawn):
        child = spawn(OBEDIENT)
        write_progress(tmp_path, child.pid, host="elsewhere")
        with pytest.raises(JobError, match="elsewhere"):
            stop_stage(tmp_path)
        with pytest.raises(subprocess.TimeoutExpired, match="timed out"):
            child.wait(timeout=0.1)

    def test_ends_one_that_was_started_in_a_terminal_and_leads_no_group(self, tmp_path, spawn):
        child = spawn(STUBBORN)
        write_progress(tmp_path, child.pid)
        stop_stage(tmp_path)
        assert child.wait(timeout=5) == -signal.SIGKILL
