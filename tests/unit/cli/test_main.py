"""Commands hand their flags on to what does the work, and print what comes of it."""

import json
from pathlib import Path

import pytest
from decisions_data import make_run, mark

from maskdistill.cli.main import call, main, parse
from maskdistill.config import load_preset
from maskdistill.review.decisions import Scope, decide, to_csv
from maskdistill.stages.chain import Options
from maskdistill.stages.pool import Workers
from maskdistill.stages.shards import Shard
from maskdistill.stages.stage_list import NAMES
from maskdistill.stages.time_estimates import record_speed


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


def test_call_says_what_was_made_and_tells_of_each_stage(stages, tmp_path, capsys):
    stages.said = {"proposals": "4 masks.", "embeddings": "Nothing to do."}
    options = parse(["run", "--data", "sample", "--run", str(tmp_path / "run"), "--quiet"])
    told = []
    options.on_stage = lambda *stage: told.append(stage)
    assert call(options) == f"4 masks. {tmp_path / 'run'}"
    assert told == list(stages.said.items())
    assert capsys.readouterr().out == ""


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
