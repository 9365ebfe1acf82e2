import os

from jobs_data import add_row

from maskdistill.cli import status
from maskdistill.cli.main import main
from maskdistill.jobs.processes import ProcessId
from maskdistill.stages.status import StageState
from maskdistill.storage.run_folder import Run


def test_a_line_each_for_the_run_its_stages_and_the_jobs_that_run_or_wait(tmp_path, monkeypatch, capsys):
    Run(tmp_path).write_info({"data": "sample", "backbone": {"name": "focus_vits14", "weights": "Offline."}})
    states = [StageState("proposals", "done", summary="3 masks"), StageState("embeddings", "missing")]
    monkeypatch.setattr(status, "stage_states", lambda run: states)
    me = ProcessId.of(os.getpid())
    add_row(tmp_path, title="Masks", arguments=["run"], state="done")
    add_row(tmp_path, title="Training", arguments=["train-stage1"], state="running", process=me)
    add_row(tmp_path, title="Report", arguments=["evaluate"], state="queued", process=me, turn=2)
    assert main(["status", "--run", str(tmp_path)]) == 0
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        ["Run", str(tmp_path)],
        ["Data", "sample"],
        ["Backbone", "focus_vits14: Offline."],
        ["proposals", states[0].text],
        ["embeddings", states[1].text],
        ["Job", "job 2 running: Training"],
        ["Job", "job 3 queued: Report"],
    ]
