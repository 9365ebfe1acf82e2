"""Two people at once on every writer of people's work: marks, classes, saved selections, claims, undo."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import decisions_data
import pytest
from decisions_data import IDS, make_run

from maskdistill.review.decisions import read_classes, read_marks, steps
from maskdistill.storage.database import reading
from maskdistill.storage.saved_views import views

NAMES = ("ann", "mary")
HALF = len(IDS) // 2


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def assert_all_is_there(run):
    for name in NAMES:
        own = steps(run, reviewer=name, limit=1000)
        assert len(own) == 4 * HALF
        assert sum(step.undone for step in own) == HALF  # the marks for the labels
    marks = read_marks(run)
    assert [marks["reviewer"].eq(name).sum() for name in NAMES] == [HALF] * 2
    written = [f"{name} {mask_id}" for name in NAMES for mask_id in IDS[len(name) % 2 :: 2]]
    assert sorted(view.name for view in views(run, "selection")) == sorted(written)
    with reading(run.path) as db:
        made = db.execute("SELECT count(*), count(DISTINCT cluster) FROM assignments").fetchone()
        assert tuple(made) == (len(IDS), len(IDS))  # no two clusters got the same number
        assert db.execute("SELECT count(*) FROM claims").fetchone()[0] == len(IDS)
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert sorted(read_classes(run).names.values()) == sorted(written)


def test_two_threads(run):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(decisions_data.write_all_kinds, [run] * 2, NAMES))
    assert_all_is_there(run)


@pytest.mark.slow
def test_two_processes(run):
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(decisions_data.write_all_kinds, [run] * 2, NAMES))
    assert_all_is_there(run)
