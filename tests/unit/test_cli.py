import signal
import subprocess
import sys

import pytest
from PIL import Image

from maskdistill import cli
from maskdistill.cli import main, read_settings
from maskdistill.config import load_preset
from maskdistill.errors import ConfigError
from maskdistill.stages import propose
from maskdistill.stages.propose import Shard, Summary
from maskdistill.store import Run


@pytest.fixture(autouse=True)
def handlers():
    """``main`` takes over SIGTERM; give it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (16, 12), (number * 80, 50, 50)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def stage(monkeypatch):
    """A stage that notes its arguments and does nothing but leave run.json."""
    calls = []

    def propose_photos(run, source, config, **options):
        calls.append({"run": run, "source": source, "config": config, **options})
        backbone = {"name": "focus_vits14", "reason": "chosen by name", "weights": "Offline."}
        run.write_info({"data": source.spec, "config": config.to_dict(), "preset": "quick", "backbone": backbone})
        return Summary(3, 3, 3, 4, 0, 0, True, 1.5)

    monkeypatch.setattr(propose, "propose_photos", propose_photos)
    return calls


def exits(arguments):
    with pytest.raises(SystemExit) as info:
        main(arguments)
    return info.value.code


def test_success_is_0_and_the_result_goes_to_standard_output(photos, stage, tmp_path, capsys):
    assert main(["propose", "--data", str(photos), "--run", str(tmp_path / "run")]) == 0
    output = capsys.readouterr()
    assert output.out == (f"4 masks of 3 photos; 3 new in 2 s (2.00 photos/s). {tmp_path / 'run' / 'proposals.json'}\n")
    assert output.err == "Weights: focus_vits14, because chosen by name. Offline.\n"


def test_flags_reach_the_stage(photos, stage, tmp_path):
    arguments = ["run", "--data", str(photos), "--run", str(tmp_path / "run"), "--limit", "2", "--shard", "2/3"]
    arguments += ["--workers", "4", "--quiet", "--seed", "9", "--set", "proposals.tau=0.4", "--set", "seed=11"]
    assert main([*arguments, "--backbone", "dinov2_vits14", "--preset", "paper-voc"]) == 0
    call = stage[0]
    assert (call["shard"], call["num_workers"], call["quiet"], call["preset"]) == (Shard(2, 3), 4, True, "paper-voc")
    assert len(call["source"].photos) == 2
    expected = ["features.backbone=dinov2_vits14", "features.shorter_side=0", "proposals.tau=0.4", "seed=11"]
    assert call["config"] == load_preset("paper-voc").with_overrides(expected)  # --set wins over --seed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["propose", "--rum", "x"], "unknown argument '--rum'. Did you mean --run?"),
        (["propose", "--run", "x", "--wrokers=2"], "unknown argument '--wrokers=2'. Did you mean --workers?"),
        (["propose", "--run", "x", "--zzz"], "unknown argument '--zzz'. See: maskdistill propose --help."),
        (["propose", "--data", "x"], "propose needs --run FOLDER"),
        (["status"], "status needs --run FOLDER"),
        (["propse", "--run", "x"], "invalid choice: 'propse'"),
        ([], "required: COMMAND"),
        (["run", "--run", "x", "--limit", "0"], "--limit: must be at least 1, got 0"),
        (["run", "--run", "x", "--limit", "few"], "--limit: must be a whole number, got 'few'"),
        (["run", "--run", "x", "--workers", "-1"], "--workers: "),
        (["run", "--run", "x", "--preset", "fast"], "--preset: invalid choice: 'fast'"),
        (["run", "--run", "x", "--until", "the-end"], "--until: invalid choice: 'the-end'"),
    ],
)
def test_typing_mistake_is_2_and_names_what_was_meant(arguments, message, capsys):
    assert exits(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "proposals.tua=0.3"], "No setting 'proposals.tua'. Did you mean 'proposals.tau'?"),
        (["--set", "proposals.tau"], "--set wants section.name=value"),
        (["--set", "proposals.tau=2"], "proposals.tau must be in [-1, 1], got 2"),
        (["--shard", "3"], "--shard wants i/n with 1 <= i <= n, such as 3/16, got '3'"),
    ],
)
def test_bad_setting_is_2_and_names_what_was_meant(arguments, message, photos, tmp_path, capsys):
    assert main(["propose", "--data", str(photos), "--run", str(tmp_path / "run"), *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("maskdistill: ")
    assert message in output.err
    assert not (tmp_path / "run").exists()


def test_missing_data_is_2(tmp_path, capsys):
    assert main(["propose", "--run", str(tmp_path / "run")]) == 2
    assert "--data is needed for a new run" in capsys.readouterr().err
    assert main(["propose", "--data", str(tmp_path / "nowhere"), "--run", str(tmp_path / "run")]) == 2
    assert "No file or folder" in capsys.readouterr().err


def test_status_of_no_run_is_2(tmp_path, capsys):
    assert main(["status", "--run", str(tmp_path)]) == 2
    assert "No run in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "stopped; what is finished is kept. Start the same command again"),
        (OSError(28, "No space left on device", "/data/x"), 1, "No space left on device (/data/x). Finished photos"),
        (ConfigError("No such thing."), 2, "maskdistill: No such thing.\n"),
    ],
)
def test_exit_codes(error, code, message, monkeypatch, tmp_path, capsys):
    def fail(_options):
        raise error

    monkeypatch.setattr(cli, "propose_command", fail)
    assert main(["propose", "--data", "sample", "--run", str(tmp_path)]) == code
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""


def test_request_to_end_is_taken_as_a_stop(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "propose_command", lambda _options: signal.raise_signal(signal.SIGTERM))
    assert main(["propose", "--data", "sample", "--run", str(tmp_path)]) == 130


def test_error_that_nobody_expected_is_not_hidden(monkeypatch, tmp_path):
    def fail(_options):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(cli, "propose_command", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main(["propose", "--data", "sample", "--run", str(tmp_path)])


class TestSettings:
    @pytest.fixture
    def read(self, tmp_path):
        def read(*arguments):
            run = tmp_path / "run"
            options = cli.build_parser().parse_args(["propose", "--run", str(run), *arguments])
            return read_settings(options, Run(run))

        return read

    def test_new_run_takes_the_quick_preset(self, read):
        assert read() == (load_preset("quick"), "quick")
        assert read("--preset", "paper-voc") == (load_preset("paper-voc"), "paper-voc")

    def test_existing_run_keeps_its_own(self, read, tmp_path):
        config = load_preset("paper-voc").with_overrides(["proposals.topk=0.3"])
        Run(tmp_path / "run").write_info({"config": config.to_dict(), "preset": "paper-voc"})
        assert read() == (config, "paper-voc")
        assert read("--set", "seed=4") == (config.with_overrides(["seed=4"]), "paper-voc")
        assert read("--preset", "quick") == (load_preset("quick"), "quick")

    def test_existing_run_needs_no_data(self, photos, stage, tmp_path):
        run = ["--run", str(tmp_path / "run")]
        assert main(["propose", "--data", str(photos), *run]) == 0
        assert main(["propose", *run]) == 0
        assert stage[1]["source"].spec == stage[0]["source"].spec


class TestShard:
    @pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), ("3/16", (3, 16)), ("16/16", (16, 16))])
    def test_reads(self, text, shard):
        parsed = Shard.parse(text)
        assert (parsed.index, parsed.count) == shard

    @pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "/4", "a/b", "1/2/3", "-1/4", "1.0/2", " ", "1/0"])
    def test_refuses(self, text):
        with pytest.raises(ConfigError, match=r"--shard wants i/n with 1 <= i <= n, such as 3/16, got "):
            Shard.parse(text)


LIST_MODULES = """
import sys
from maskdistill.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(code, sorted({"torch", "timm", "scipy.sparse.linalg", "onnx", "streamlit"} & set(sys.modules)))
"""


@pytest.mark.parametrize(("arguments", "code"), [(["propose", "--help"], 0), (["propose", "--rum", "x"], 2)])
def test_help_and_typos_do_not_wait_for_torch(arguments, code):
    result = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.splitlines()[-1] == f"{code} []"


def test_help_names_every_command_and_setting(capsys):
    assert exits(["--help"]) == 0
    overview = capsys.readouterr().out
    assert all(command in overview for command in ("run", "propose", "status"))
    assert exits(["run", "--help"]) == 0
    assert "proposals.tau" in capsys.readouterr().out


def test_version(capsys):
    from maskdistill import __version__

    assert exits(["--version"]) == 0
    assert capsys.readouterr().out == f"maskdistill {__version__}\n"
