"""The Training page opened on the run sheep, what is read on it, and its jobs as rows."""

import json
import os

from jobs_data import add_row

from maskdistill.config import load_preset
from maskdistill.jobs.processes import ProcessId
from maskdistill.storage.database import writing

CONFIG = load_preset("quick").with_overrides(
    ["features.backbone=focus_vits14", "features.precision=float32", "features.shorter_side=336"]
)


def add_job(run, *, config=CONFIG, epochs=(), **values):
    """A row as a job leaves it; one that works has this very process."""
    row = {"title": "Stage 1", "arguments": ["run", "--data", "x", "--until", "stage1"], "state": "done", "token": "x"}
    row |= {"settings": json.dumps(config.to_dict()), **values}
    if row["state"] in ("queued", "running", "stopping"):
        row.setdefault("process", ProcessId.of(os.getpid()))
    job = add_row(run, **row)
    with writing(run) as db:
        for epoch, loss in epochs:
            value = {"stage": "stage1", "epoch": epoch, "num_epochs": 9, "losses": {"total": loss}, "metrics": {}}
            db.execute(
                "INSERT INTO events (job, time, kind, value) VALUES (?, ?, 'epoch', ?)",
                (job.id, 1.0, json.dumps(value)),
            )


def open_training(open_page, **link):
    app = open_page("training", run="sheep", **link)
    assert not app.exception
    return app
