import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from decisions_data import make_run, mark
from PIL import Image

from maskdistill.cli.main import STAGE_COMMANDS, UsageError, build_parser, call, main, parse
from maskdistill.cli.settings import read_settings
from maskdistill.config import load_preset
from maskdistill.errors import ConfigError
from maskdistill.review.decisions import Scope, decide, to_csv
from maskdistill.stages.chain import Options
from maskdistill.stages.pool import Workers
from maskdistill.stages.shards import Shard
from maskdistill.stages.stage_list import NAMES
from maskdistill.stages.time_estimates import record_speed
from maskdistill.storage.run_folder import Run


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (16, 12), (number * 80, 50, 50)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def stages(monkeypatch):
    """Stages that note their arguments, say what is in ``said``, and do nothing but leave run.json."""

    def run_stages(run, data, config, *, preset, wanted, options, on_stage):
        calls.append({"run": run, "data": data, "config": config, "preset": preset, "wanted": wanted, "how": options})
        backbone = {"name": "focus_vits14", "reason": "chosen by name", "weights": "Offline."}
        run.write_info({"data": data, "config": config.to_dict(), "preset": preset, "backbone": backbone})
        for name, sentence in calls.said.items():
            on_stage(name, sentence)

    class Calls(list):
        def __init__(self):
            self.said = {"proposals": "4 masks of 3 photos."}

    calls = Calls()
    monkeypatch.setattr("maskdistill.cli.stages.run_stages", run_stages)
    return calls


def exits(arguments):
    with pytest.raises(SystemExit) as info:
        main(arguments)
    return info.value.code


def test_success_is_0_and_the_result_goes_to_standard_output(photos, stages, tmp_path, capsys):
    assert main(["propose", "--data", str(photos), "--run", str(tmp_path / "run")]) == 0
    output = capsys.readouterr()
    assert output.out == f"4 masks of 3 photos. {tmp_path / 'run'}\n"
    expected = "proposals: 4 masks of 3 photos.\nWeights: focus_vits14, because chosen by name. Offline.\n"
    assert output.err == expected


def test_flags_reach_the_stages(photos, stages, tmp_path):
    arguments = ["run", "--data", str(photos), "--run", str(tmp_path / "run"), "--limit", "2", "--shard", "2/3"]
    arguments += ["--workers", "4", "--quiet", "--seed", "9", "--set", "proposals.tau=0.4", "--set", "seed=11"]
    arguments += ["--num-classes", "7"]
    assert main([*arguments, "--backbone", "dinov2_vits14", "--preset", "paper-voc"]) == 0
    call = stages[0]
    assert call["how"] == Options(shard=Shard(2, 3), limit=2, num_workers=4, quiet=True, on_finished=record_speed)
    assert (call["data"], call["preset"]) == (str(photos), "paper-voc")
    expected = ["features.backbone=dinov2_vits14", "features.shorter_side=0", "proposals.tau=0.4", "seed=11"]
    expected.append("clusters.num_classes=7")
    assert call["config"] == load_preset("paper-voc").with_overrides(expected)  # --set wins over --seed


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_engine_reaches_the_stages(photos, stages, tmp_path, monkeypatch, by):
    arguments = ["run", "--data", str(photos), "--run", str(tmp_path / "run"), "--address", "head:6379"]
    if by == "environment":
        monkeypatch.setenv("MASKDISTILL_ENGINE", "ray")
    assert main([*arguments, *(["--engine", "ray"] if by == "flag" else [])]) == 0
    assert stages[0]["how"].workers == Workers(0, "ray", "head:6379")


def test_engine_of_the_environment_is_checked_too(monkeypatch, capsys):
    monkeypatch.setenv("MASKDISTILL_ENGINE", "slurm")
    assert exits(["run", "--run", "x"]) == 2
    assert "--engine: choose from local, ray, got 'slurm'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["run"], NAMES),
        (["run", "--until", "proposals"], ("proposals",)),
        (["run", "--until", "filter"], NAMES[: NAMES.index("filter") + 1]),
        (["propose"], ("proposals",)),
        (["embed"], ("embeddings",)),
        (["cluster"], ("clusters", "classes")),
        (["project"], ("projection",)),
        (["train-stage1"], ("stage1", "candidates")),
        (["filter"], ("filter",)),
        (["pseudo-label"], ("pseudo_labels",)),
        (["train-stage2"], ("stage2",)),
    ],
)
def test_each_command_asks_for_its_stages(arguments, wanted, stages, tmp_path):
    assert main([*arguments, "--data", "sample", "--run", str(tmp_path / "run")]) == 0
    assert tuple(stages[0]["wanted"]) == wanted


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (
            {"proposals": "Nothing to do: 4 masks.", "embeddings": "Nothing to do."},
            "Nothing to do: 2 stages of RUN are",
        ),
        ({"proposals": "4 masks.", "embeddings": "4 vectors."}, "4 vectors. RUN"),
        ({"stage2": "Trained.", "evaluation": "mIoU 0.5.", "projection": "A map."}, "mIoU 0.5. RUN"),
        ({"evaluation": "Nothing to do.", "projection": "A map."}, "A map. RUN"),
    ],
)
def test_result_is_the_report_or_what_was_made_last(said, result, stages, tmp_path, capsys):
    stages.said = said
    assert main(["run", "--data", "sample", "--run", str(tmp_path / "run"), "--quiet"]) == 0
    assert capsys.readouterr().out.startswith(result.replace("RUN", str(tmp_path / "run")))


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


class TestReports:
    """Commands that ask a run about something hand their flags on, and print what comes back."""

    @pytest.fixture
    def spy(self, monkeypatch):
        def spy(module, name, result):
            calls = []
            monkeypatch.setattr(module, name, lambda *args, **flags: calls.append((*args, flags)) or result)
            return calls

        return spy

    def test_evaluate(self, spy, capsys):
        from maskdistill.evaluation import report

        found = {"miou": 0.5, "pixel_accuracy": 0.75, "num_images": 3, "iou": {"cat": 0.25, "dog": None}}
        calls = spy(report, "evaluate", found)
        arguments = ["evaluate", "--run", "r", "--data", "d", "--split", "train", "--crf", "--stage", "stage1"]
        assert main([*arguments, "--json"]) == 0
        run, data, flags = calls[0]
        assert (run.name, data) == ("r", "d")
        assert flags == {"split": "train", "crf": True, "stage": "stage1"}
        lines = capsys.readouterr().out.splitlines()
        assert [json.loads(line) for line in lines] == [found]
        assert main(["evaluate", "--run", "r"]) == 0
        assert calls[1][1:] == (None, {"split": "auto", "crf": False, "stage": "final"})
        text = capsys.readouterr().out
        assert "mIoU 0.500, pixel accuracy 0.750, 3 photos" in text
        assert text.split()[-4:] == ["cat", "0.250", "dog", "-"]

    def test_predict(self, spy, capsys):
        from maskdistill.stages import predict_new

        calls = spy(predict_new, "predict_folder", "3 label maps.")
        assert main(["predict", "--run", "r", "--images", "i", "--out", "o", "--quiet"]) == 0
        run, images, out, flags = calls[0]
        assert (run.name, images, out) == ("r", "i", Path("o"))
        assert flags == {"crf": False, "stage": "final", "quiet": True, "workers": Workers(1), "shard": None}
        shared = ["--shard", "2/3", "--workers", "4", "--engine", "ray", "--address", "host:1"]
        assert main(["predict", "--run", "r", "--images", "i", "--out", "o", "--quiet", *shared]) == 0
        assert calls[1][3] == {**flags, "workers": Workers(4, "ray", "host:1"), "shard": Shard(2, 3)}
        assert capsys.readouterr().out == "3 label maps.\n" * 2

    @pytest.mark.parametrize("format", ["coco", "voc", "yolo", "huggingface", "atlas", "onnx"])
    def test_export(self, format, spy, capsys):
        from maskdistill.exports import run as exports

        calls = spy(exports, "export_run", "4 masks.")
        assert main(["export", "--run", "r", "--format", format, "--out", "o", "--kept-only"]) == 0
        run, *rest = calls[0]
        assert (run.name, *rest) == ("r", format, Path("o"), {"kept_only": True, "what": "masks", "stage": "final"})
        assert main(["export", "--run", "r", "--format", format, "--out", "o", "--what", "instances"]) == 0
        assert calls[1][-1] == {"kept_only": False, "what": "instances", "stage": "final"}
        assert capsys.readouterr().out == "4 masks.\n4 masks.\n"


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


def test_command_line_that_a_server_checks_does_not_end_it(capsys):
    with pytest.raises(UsageError, match=r"unknown argument '--rum'\. Did you mean --run\?"):
        parse(["propose", "--rum", "x"])
    with pytest.raises(UsageError, match="invalid choice: 'propse'"):
        parse(["propse", "--run", "x"])
    assert capsys.readouterr() == ("", "")


def test_call_says_what_was_made_and_tells_of_each_stage(stages, tmp_path, capsys):
    stages.said = {"proposals": "4 masks.", "embeddings": "Nothing to do."}
    options = parse(["run", "--data", "sample", "--run", str(tmp_path / "run"), "--quiet"])
    told = []
    options.on_stage = lambda *stage: told.append(stage)
    assert call(options) == f"4 masks. {tmp_path / 'run'}"
    assert told == list(stages.said.items())
    assert capsys.readouterr().out == ""


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


class TestSettings:
    @pytest.fixture
    def read(self, tmp_path):
        def read(*arguments):
            run = tmp_path / "run"
            options = build_parser().parse_args(["propose", "--run", str(run), *arguments])
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

    def test_transformer_that_is_named_counts_beside_a_preset_too(self, read, tmp_path):
        info = {"config": load_preset("quick").to_dict(), "preset": "quick", "backbone": {"name": "dino_vits8"}}
        Run(tmp_path / "run").write_info(info)
        assert read("--backbone", "dino_vits8")[0].features.backbone == "auto"
        named = read("--preset", "quick", "--backbone", "dino_vits8")[0]
        assert named.features.backbone == "dino_vits8"

    def test_existing_run_needs_no_data(self, photos, stages, tmp_path):
        run = ["--run", str(tmp_path / "run")]
        assert main(["propose", "--data", str(photos), *run]) == 0
        assert main(["propose", *run]) == 0
        assert stages[1]["data"] == stages[0]["data"] == str(photos)

    def test_number_of_classes_changes_an_existing_run(self, read, tmp_path):
        config = load_preset("quick")
        Run(tmp_path / "run").write_info({"config": config.to_dict(), "preset": "quick"})
        assert read("--num-classes", "5")[0] == config.with_overrides(["clusters.num_classes=5"])
        assert read("--num-classes", "5", "--set", "clusters.num_classes=6")[0].clusters.num_classes == 6


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


def test_decisions_are_summed_up_or_listed(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    assert main(["decisions", "--run", str(run.path)]) == 0
    assert capsys.readouterr().out == "No decisions yet.\n"
    decide(run, "ann", [mark(0), mark(10, "accept")], scope=Scope.LABELS)
    assert main(["decisions", "--run", str(run.path)]) == 0
    assert "Masks: 1 accepted, 1 rejected, 0 relabelled." in capsys.readouterr().out
    assert main(["decisions", "--run", str(run.path), "--csv", "-"]) == 0
    assert capsys.readouterr().out == to_csv(run)
    assert main(["decisions", "--run", str(run.path), "--csv", str(tmp_path / "new" / "marks.csv")]) == 0
    assert capsys.readouterr().out == f"All marks in {tmp_path / 'new' / 'marks.csv'}.\n"
    assert (tmp_path / "new" / "marks.csv").read_text() == to_csv(run)
    assert main(["decisions", "--run", str(tmp_path)]) == 2
    assert "No run in" in capsys.readouterr().err


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
