"""What a command line is answered with before any work: help, the version, and what is wrong with it."""

import subprocess
import sys

import pytest

from maskdistill.cli.main import STAGE_COMMANDS, UsageError, main, parse
from maskdistill.errors import ConfigError
from maskdistill.stages.shards import Shard


def exits(arguments):
    with pytest.raises(SystemExit) as info:
        main(arguments)
    return info.value.code


def test_engine_of_the_environment_is_checked_too(monkeypatch, capsys):
    monkeypatch.setenv("MASKDISTILL_ENGINE", "slurm")
    assert exits(["run", "--run", "x"]) == 2
    assert "--engine: choose from local, ray, got 'slurm'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["propose", "--rum", "x"], "unknown argument '--rum'. Did you mean --run?"),
        (["propose", "--run", "x", "--wrokers=2"], "unknown argument '--wrokers=2'. Did you mean --workers?"),
        (["propose", "--run", "x", "--zzz"], "unknown argument '--zzz'. See: maskdistill propose --help."),
        (["propose", "--data", "x"], "propose needs --run FOLDER"),
        (["status"], "status needs --run FOLDER"),
        (["evaluate"], "evaluate needs --run FOLDER"),
        (["predict", "--images", "x", "--out", "y"], "predict needs --run FOLDER"),
        (["export", "--format", "coco", "--out", "y"], "export needs --run FOLDER"),
        (["predict", "--run", "x", "--out", "y"], "required: --images"),
        (["predict", "--run", "x", "--images", "y"], "required: --out"),
        (["export", "--run", "x", "--out", "y"], "required: --format"),
        (["export", "--run", "x", "--format", "voc"], "required: --out"),
        (["export", "--run", "x", "--format", "csv", "--out", "y"], "--format: invalid choice: 'csv'"),
        (["export", "--run", "x", "--format", "voc", "--out", "y", "--keptonly"], "Did you mean --kept-only?"),
        (["evaluate", "--run", "x", "--stage", "stage3"], "--stage: invalid choice: 'stage3'"),
        (["evaluate", "--run", "x", "--jsno"], "unknown argument '--jsno'. Did you mean --json?"),
        (
            ["cluster", "--run", "x", "--num-clases", "3"],
            "unknown argument '--num-clases'. Did you mean --num-classes?",
        ),
        (["cluster", "--run", "x", "--num-classes", "-1"], "--num-classes: must be a whole number, got '-1'"),
        (["filter", "--run", "x", "--until", "filter"], "unknown argument '--until'"),
        (["propse", "--run", "x"], "invalid choice: 'propse'"),
        ([], "required: COMMAND"),
        (["run", "--run", "x", "--limit", "0"], "--limit: must be at least 1, got 0"),
        (["run", "--run", "x", "--limit", "few"], "--limit: must be a whole number, got 'few'"),
        (["run", "--run", "x", "--limit", "²"], "--limit: must be a whole number, got '²'"),
        (["run", "--run", "x", "--workers", "-1"], "--workers: "),
        (["run", "--run", "x", "--preset", "fast"], "--preset: invalid choice: 'fast'"),
        (["run", "--run", "x", "--engine", "slurm"], "--engine: choose from local, ray, got 'slurm'"),
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
        (["--num-classes", "1"], "clusters.num_classes must be 0 (suggest) or in [2, 254], got 1"),
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


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["evaluate"],
        ["predict", "--images", "x", "--out", "OUT"],
        ["export", "--format", "coco", "--out", "OUT"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_run_is_2(arguments, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [argument.replace("OUT", str(out)) for argument in arguments]
    assert main([*arguments, "--run", str(tmp_path / "run")]) == 2
    assert "No run in" in capsys.readouterr().err
    assert not out.exists()


def test_command_line_that_a_server_checks_does_not_end_it(capsys):
    with pytest.raises(UsageError, match=r"unknown argument '--rum'\. Did you mean --run\?"):
        parse(["propose", "--rum", "x"])
    with pytest.raises(UsageError, match="invalid choice: 'propse'"):
        parse(["propse", "--run", "x"])
    assert capsys.readouterr() == ("", "")


class TestShard:
    @pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), ("3/16", (3, 16)), ("16/16", (16, 16))])
    def test_reads(self, text, shard):
        parsed = Shard.parse(text)
        assert (parsed.index, parsed.count) == shard

    @pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "/4", "a/b", "1/2/3", "-1/4", "1.0/2", "1/0", "²/3"])
    def test_refuses(self, text):
        with pytest.raises(ConfigError, match=r"--shard wants i/n with 1 <= i <= n, such as 3/16, got "):
            Shard.parse(text)


LIST_MODULES = """
import sys
from maskdistill.cli.main import build_parser, main, parse
for arguments in (["--help"], ["--version"], ["status", "--help"], ["evaluate", "--help"], ["propose", "--rum", "x"]):
    try:
        main(arguments)
    except SystemExit:
        pass
parse(["run", "--run", "x", "--data", "y", "--set", "seed=3"])
parsed = set(sys.modules)
main(["status", "--run", "."])
heavy = {"numpy", "pandas", "pyarrow", "scipy", "torch", "timm", "maskdistill.stages.chain"}
print(sorted(heavy & parsed), sorted({"torch", "timm"} & set(sys.modules)))
"""


def test_parsing_and_status_load_little():
    """``--help``, ``--version``, a typing mistake and a command line that is right answer at once."""
    result = subprocess.run(
        [sys.executable, "-c", LIST_MODULES], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.splitlines()[-1] == "[] []"


def test_help_names_every_command_and_setting(capsys):
    assert exits(["--help"]) == 0
    overview = capsys.readouterr().out
    commands = ("run", "evaluate", "predict", "export", "decisions", "status", "jobs", *STAGE_COMMANDS)
    assert {line.split()[0] for line in overview.splitlines() if line.startswith("    ")} >= set(commands)
    assert exits(["run", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(
        name in text for name in ("proposals.tau", "stage2.epochs", "filter.min_score", "{proposals,foreground,")
    )


def test_version(capsys):
    from maskdistill import __version__

    assert exits(["--version"]) == 0
    assert capsys.readouterr().out == f"maskdistill {__version__}\n"
