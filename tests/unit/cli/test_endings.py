"""How a command ends: its exit code, requests to stop, and errors."""

import signal

import pytest

from maskdistill.cli.main import main
from maskdistill.errors import ConfigError


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "stopped; what is finished is kept. Start the same command again"),
        (OSError(28, "No space left on device", "/data/x"), 1, "The disk of /data is full ("),
        (ConfigError("No such thing."), 2, "maskdistill: No such thing.\n"),
    ],
)
def test_exit_codes(error, code, message, monkeypatch, tmp_path, capsys):
    def fail(_options):
        raise error

    monkeypatch.setattr("maskdistill.cli.stages.stage_command", fail)
    assert main(["propose", "--data", "sample", "--run", str(tmp_path)]) == code
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""


def test_request_to_end_is_taken_as_a_stop(monkeypatch, tmp_path):
    monkeypatch.setattr("maskdistill.cli.stages.stage_command", lambda _options: signal.raise_signal(signal.SIGTERM))
    assert main(["propose", "--data", "sample", "--run", str(tmp_path)]) == 130


def test_second_request_to_end_waits_for_what_is_being_written(monkeypatch, tmp_path):
    written = tmp_path / "written"

    def work(_options):
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            written.touch()

    monkeypatch.setattr("maskdistill.cli.stages.stage_command", work)
    assert main(["propose", "--data", "sample", "--run", str(tmp_path)]) == 130
    assert written.exists()


def test_closed_terminal_is_taken_as_a_stop(monkeypatch, tmp_path):
    monkeypatch.setattr("maskdistill.cli.stages.stage_command", lambda _options: signal.raise_signal(signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a test under nohup would ignore it, as commands do
    try:
        assert main(["propose", "--data", "sample", "--run", str(tmp_path)]) == 130
    finally:
        signal.signal(signal.SIGHUP, before)


def test_error_that_nobody_expected_is_not_hidden(monkeypatch, tmp_path):
    def fail(_options):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("maskdistill.cli.stages.stage_command", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main(["propose", "--data", "sample", "--run", str(tmp_path)])
