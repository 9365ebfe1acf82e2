"""Whether every decision is kept when people review one run at once while jobs filter it anew.

    python -m benchmarks.two_reviewers --runs FOLDER --run NAME [--seconds 600] [--seed 0]

FOLDER/NAME, a finished run with a first model, is written to: take a copy. Two people review it in Chromium on one
server, Ann in two tabs and Bob in one: they accept, reject, skip, undo and redo by key, at random, while one job after
the other makes filter and label maps anew with other thresholds. At the end ``run.sqlite`` is compared with what was
pressed in each tab. Exit code 1 if a decision is lost, doubled or out of order, or if a mask was served twice: judged
in two tabs without an undo in between, or on show in two at once though no undo or redo had called it back. Nobody
asked for a second opinion.
"""

import argparse
import itertools
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.report import print_table, write_report
from benchmarks.servers import browser, running_server, wait_until_healthy
from maskdistill.jobs import JobState, get_job, stop_job, submit, wait_until_ended
from maskdistill.storage.database import reading
from maskdistill.storage.run_folder import Run

KEYS = {"a": "accept", "x": "reject", "s": "skip", "u": "undo", "Shift+U": "redo"}
WEIGHTS = (4, 3, 1, 7, 1)  # of the keys: as many are undone as decide, so that the masks last
ON_MASKS = ("accept", "reject", "skip")
LOOK = 3.0  # seconds that a tab may show no mask before only an undo is pressed
PATIENCE = 60.0  # seconds until what was pressed last must be on the disk
STAGE = '.annotator .stage[data-mask]:not([data-mask=""])'


@dataclass
class Tab:
    """One page, and what was pressed in it."""

    reviewer: str
    page: Any  # of playwright
    pressed: list[tuple[str, int | None]] = field(default_factory=list)  # kind, mask on show; its number is its place

    def shown(self) -> int | None:
        """The mask on show."""
        stage = self.page.locator(STAGE)
        return int(stage.get_attribute("data-mask")) if stage.count() else None


@dataclass(frozen=True)
class Written:
    """A numbered step of ``run.sqlite``."""

    id: int
    reviewer: str
    client: str
    seq: int
    kind: str
    mask: int | None
    undoes: int | None


@dataclass(frozen=True)
class Outcome:
    """What was found."""

    rows: list[list[Any]]  # a tab each: person, pressed, written, nothing to undo or redo, lost, doubled, out of order
    served_twice: list[int]  # ids of masks
    jobs: list[str]  # the states in which they ended

    @property
    def is_clean(self) -> bool:
        """Nothing lost, doubled, out of order or served twice."""
        return not self.served_twice and not any(any(row[4:]) for row in self.rows)


def main() -> int:
    """Review, compare, print; returns the exit code."""
    options = _parse()
    run = Run(options.runs / options.run)
    outcome = review(run, options.seconds, random.Random(options.seed))
    if outcome is None:
        print("There is no Chromium here.")
        return 1
    head = ["tab", "pressed", "written", "nothing to do", "lost", "doubled", "out of order"]
    print_table(f"Two people, three tabs, {options.seconds} s", head, outcome.rows)
    done = outcome.jobs.count(JobState.DONE)
    print(f"\n  masks served twice: {len(outcome.served_twice)}; jobs beside them: {len(outcome.jobs)}, {done} done")
    write_report(options.json, {"benchmark": "two_reviewers", "seconds": options.seconds, **vars(outcome)})
    return 0 if outcome.is_clean else 1


def filter_again_and_again(run: Run, enough: threading.Event, states: list[str]) -> None:
    """One job after the other, as the app starts them."""
    for turn in range(10**6):
        if enough.is_set():
            return
        least = 0.5 + 0.01 * (turn % 20)
        arguments = ["pseudo-label", "--set", f"filter.min_score={least:.2f}"]
        job = submit(run.path, arguments, title="Label maps", device="cpu", settings={}).job
        while get_job(run.path, job.id).state.is_active:
            if enough.wait(0.5):
                stop_job(run.path, job.id)
                wait_until_ended(job, PATIENCE)
                return
        states.append(get_job(run.path, job.id).state)


FilterLoop = Callable[[Run, threading.Event, list[str]], None]


def review(
    run: Run, seconds: float, generator: random.Random, filter_loop: FilterLoop = filter_again_and_again
) -> Outcome | None:
    """Press keys in three tabs for so long, and compare; None without a browser.

    Args:
        run: Written to.
        seconds: For how long.
        generator: Of the keys.
        filter_loop: What makes the filter anew meanwhile, in a thread, until the event is set; it adds how each round
            ended.
    """
    with browser() as opened, running_server(run.path.parent) as (address, _):
        if opened is None:
            return None
        wait_until_healthy(address)
        tabs = [_open(opened, address, run, name) for name in ("Ann", "Ann", "Bob")]
        states: list[str] = []
        enough = threading.Event()
        loop = threading.Thread(target=filter_loop, args=(run, enough, states))
        loop.start()
        try:
            twice = _press_keys(tabs, seconds, generator)
            for tab in tabs:
                tab.page.wait_for_function(
                    "!sessionStorage['maskdistill audit']?.includes('seq')", timeout=1e3 * PATIENCE
                )
        finally:
            enough.set()
            loop.join()
    return _compare(run, tabs, twice, states)


def _open(opened: Any, address: str, run: Run, reviewer: str) -> Tab:
    page = opened.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(f"{address}/audit?run={run.name}&reviewer={reviewer}")
    page.locator(STAGE).wait_for(timeout=120_000)
    return Tab(reviewer, page)


def _press_keys(tabs: Sequence[Tab], seconds: float, generator: random.Random) -> list[int]:
    """Ids of masks that were on show in two tabs at once."""
    twice, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        for tab in tabs:
            mask = _wait_for_mask(tab)
            key = generator.choices(list(KEYS), WEIGHTS)[0] if mask is not None else "u"
            tab.page.keyboard.press(key)
            tab.pressed.append((KEYS[key], mask if KEYS[key] in ON_MASKS else None))
        shown = [mask for tab in tabs if (mask := tab.shown()) is not None]
        twice += [mask for mask in set(shown) if shown.count(mask) > 1]
    return twice


def _wait_for_mask(tab: Tab) -> int | None:
    """The mask on show, once no undo is under way, which leads to another one; None where none comes."""
    ends, moves = time.monotonic() + LOOK, bool(tab.pressed) and tab.pressed[-1][0] not in ON_MASKS
    while time.monotonic() < ends:
        is_saved = not moves or tab.page.locator(".annotator .saved").inner_text().strip() == "saved"
        if is_saved and (mask := tab.shown()) is not None:
            return mask
        tab.page.wait_for_timeout(20)
    return None


def _compare(run: Run, tabs: Sequence[Tab], twice: Sequence[int], states: list[str]) -> Outcome:
    steps = _read_steps(run)
    rows, clients = [], {step.client for step in steps}
    for number, tab in enumerate(tabs, start=1):
        client = _client_of(tab, steps, clients)
        clients -= {client}
        rows.append([f"{tab.reviewer} {number}", *_row(tab, [step for step in steps if step.client == client])])
    called_back = {_meant(step, steps).mask for step in steps if step.undoes is not None}
    return Outcome(rows, sorted({*twice} - called_back | {*judged_twice(steps, called_back)}), states)


def _read_steps(run: Run) -> list[Written]:
    select = """SELECT id, reviewer, client, seq, coalesce(action, kind), mask_id, undoes
        FROM steps LEFT JOIN marks ON marks.step = steps.id WHERE client IS NOT NULL ORDER BY id"""
    with reading(run.path) as db:
        return [Written(*row) for row in db.execute(select)] if db else []


def _client_of(tab: Tab, steps: Sequence[Written], clients: set[str]) -> str:
    """The name under which a tab numbered its keys: that with most steps as they were pressed."""

    def fitting(client: str) -> int:
        return sum(step.client == client and _fits(tab, step) for step in steps)

    return max(sorted(clients), key=fitting, default="")


def _fits(tab: Tab, step: Written) -> bool:
    if not 1 <= step.seq <= len(tab.pressed):
        return False
    return tab.pressed[step.seq - 1] == (step.kind, step.mask)


def _row(tab: Tab, steps: Sequence[Written]) -> list[int]:
    """Pressed, written, nothing to undo or redo, lost, doubled, out of order."""
    numbers = [step.seq for step in steps]
    missing = set(range(1, len(tab.pressed) + 1)) - {step.seq for step in steps if _fits(tab, step)}
    idle = sum(tab.pressed[seq - 1][0] not in ON_MASKS for seq in missing)
    disorder = sum(later <= earlier for earlier, later in itertools.pairwise(numbers))
    return [len(tab.pressed), len(steps), idle, len(missing) - idle, len(numbers) - len(set(numbers)), disorder]


def _meant(step: Written, steps: Sequence[Written]) -> Written:
    """The step that an undo or a redo was about in the end."""
    by_id = {each.id: each for each in steps}
    while step.undoes is not None:
        step = by_id[step.undoes]
    return step


def judged_twice(steps: Sequence[Written], called_back: set[int | None]) -> list[int]:
    """Masks that were judged in a tab while the judgement of another one stood; to skip is to pass on.

    A person's undo and redo are about what they did last in any tab, and show it there: that is no second serving.
    """
    standing, found = {}, []
    for step in steps:
        meant = _meant(step, steps)
        if meant.kind == "skip":
            continue
        if step.kind == "undo":
            standing.pop(meant.mask, None)
            continue
        before = standing.setdefault(meant.mask, step)
        if before.client != step.client and (before.reviewer != step.reviewer or meant.mask not in called_back):
            found.append(meant.mask)
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of runs")
    parser.add_argument("--run", required=True, help="name of a finished run, which is written to")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0, help="of the keys")
    parser.add_argument("--json", type=Path, help="write the result there too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
