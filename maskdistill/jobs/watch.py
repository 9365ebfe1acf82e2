"""What a command leaves in the run folder while it works, gathered for the job's row and events."""

import json
import queue
import time
from pathlib import Path
from typing import Any

from maskdistill.jobs.row import NewEvent
from maskdistill.storage.progress import Progress, read_progress_file

TRAININGS = ("stage1", "instances", "stage2")  # stages that keep a history of epochs
ROUNDS = "rounds"  # the stage whose trainings keep one each, in rounds/1, rounds/2 and on


class Watch:
    """Reads progress.json and the histories of one run, for one attempt of one job.

    ``stage_done`` may be called by any thread; the rest belongs to one thread at a time.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._done: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._since = time.time()
        self._stage = ""
        self._epochs: dict[tuple[str, int], str] = {}
        self.pending: list[NewEvent] = []  # not yet written down; whoever does so takes them out

    def stage_done(self, name: str, sentence: str) -> None:
        """Called by the command at the end of each stage."""
        self._done.put((name, sentence))

    def read(self) -> Progress | None:
        """Gather what is new into ``pending``; returns the stage's progress, None before the first."""
        progress = read_progress_file(self._run / "progress.json")
        while not self._done.empty():  # asked after the file was read: its stage is one of these, or a later one
            name, sentence = self._done.get()
            if progress is not None and progress.stage == name:
                self._note_begun(progress)
            self._note_done(name, sentence)
        if progress is not None:
            self._note_begun(progress)
        return progress

    def _note_begun(self, progress: Progress) -> None:
        if progress.stage != self._stage:
            self._stage = progress.stage
            self.pending.append(NewEvent("stage", {"stage": progress.stage, "what": "began", "sentence": ""}))
        if progress.stage in TRAININGS:
            # Steps that this training has not come to are of the one before, whose history is about to be replaced.
            self._note_epochs(progress.stage, progress.done)
        elif progress.stage == ROUNDS:
            self._note_rounds()

    def _note_done(self, name: str, sentence: str) -> None:
        if name in TRAININGS and not sentence.startswith("Nothing to do") and self._is_new(name):
            self._note_epochs(name, None)
        elif name == ROUNDS:
            self._note_rounds()
        self.pending.append(NewEvent("stage", {"stage": name, "what": "done", "sentence": sentence}))

    def _is_new(self, name: str) -> bool:
        """Whether a stage trained since this attempt began; single objects may be looked for by the head of before."""
        history = self._run / name / "history.jsonl"
        return name != "instances" or (history.is_file() and history.stat().st_mtime >= self._since)

    def _note_rounds(self) -> None:
        """Take in the epochs of every round that was trained on since this attempt began."""
        for history in sorted((self._run / ROUNDS).glob("*/history.jsonl")):
            if history.stat().st_mtime >= self._since:
                self._note_epochs(f"{ROUNDS}/{history.parent.name}", None)

    def _note_epochs(self, stage: str, num_steps: int | None) -> None:
        """Take in the finished epochs of a training, up to a step if one is given."""
        for line in _lines(self._run / stage / "history.jsonl"):
            report = _parse(line)
            if report is None or (num_steps is not None and report["step"] > num_steps):
                continue
            place = (stage, report["epoch"])
            if self._epochs.get(place) != line:
                self._epochs[place] = line
                key = f"{stage}:{report['epoch']}"
                self.pending.append(NewEvent("epoch", {"stage": stage, **report}, key))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _parse(line: str) -> dict[str, Any] | None:
    """One epoch; None if the line is still being written."""
    try:
        report = json.loads(line)
    except ValueError:
        return None
    return report if isinstance(report, dict) and {"epoch", "step"} <= report.keys() else None
