"""Two people, one of them in two tabs, review a run in Chromium while its filter is made anew again and again."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from benchmarks.generated_run import generate_run
from benchmarks.two_reviewers import Written, judged_twice, review
from maskdistill.config import RunConfig
from maskdistill.stages.select import write_kept

SECONDS = 20


def filter_anew(run, enough, states):
    """What a job does for the stage ``filter``, with other thresholds each time."""
    settings = RunConfig.from_dict(run.info()["config"]).filter
    while not enough.wait(1):
        write_kept(run, run, replace(settings, min_score=0.5 + 0.01 * (len(states) % 20)))
        states.append("done")


@pytest.mark.slow
@pytest.mark.browser
def test_every_decision_is_there_once_in_order_and_no_mask_is_served_twice(tmp_path):
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    run = generate_run(tmp_path, 400)
    with ThreadPoolExecutor(1) as thread:  # another test's playwright may have its loop in this one
        outcome = thread.submit(review, run, SECONDS, random.Random(0), filter_anew).result()
    if outcome is None:
        pytest.skip("There is no Chromium on this machine.")
    assert len(outcome.jobs) > 3
    for _tab, pressed, written, idle, lost, doubled, disorder in outcome.rows:
        assert pressed > 5
        assert written == pressed - idle
        assert (lost, doubled, disorder) == (0, 0, 0)
    assert outcome.served_twice == []


def step(id, reviewer, client, kind, mask=None, undoes=None):
    return Written(id, reviewer, client, id, kind, mask, undoes)


def test_what_counts_as_served_twice():
    ann, tab, bob = step(1, "Ann", "a", "accept", 7), ("Ann", "b"), ("Bob", "c")
    assert judged_twice([ann, step(2, *bob, "reject", 7)], set()) == [7]
    assert judged_twice([ann, step(2, *tab, "reject", 7)], set()) == [7]
    assert judged_twice([ann, step(2, "Ann", "a", "reject", 7), step(3, *bob, "skip", 7)], set()) == []
    undone = [ann, step(2, "Ann", "a", "undo", undoes=1)]
    assert judged_twice([*undone, step(3, *bob, "accept", 7)], {7}) == []
    redone = [*undone, step(3, "Ann", "a", "redo", undoes=2)]
    assert judged_twice([*redone, step(4, *bob, "accept", 7)], {7}) == [7]
    assert judged_twice([*redone, step(4, *tab, "accept", 7)], {7}) == []
