"""Cases of ``benchmarks.fault_cases``, a few of each variety, and that a case which is not handled is told as such."""

import os
import signal

import pytest

from benchmarks.fault_cases.attempt import Attempt, Result, WrongError, try_attempt
from benchmarks.fault_cases.worker import KINDS, Case, Worker, varieties
from benchmarks.faults import draw, table
from maskdistill.errors import DatasetError

QUICK = ("pictures", "COCO", "VOC", "tool exports", "settings")  # the others load torch, or make whole runs
HANDLED = ("read", "noted", "refused")


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    with Worker(tmp_path_factory.mktemp("worker"), 0) as worker:
        yield worker


@pytest.mark.parametrize(("kind", "variety"), [(kind, variety) for kind in QUICK for variety in varieties(kind)])
def test_is_handled(kind, variety, worker):
    result = worker.attempt(Case(kind, variety, 0))
    assert result.ending in HANDLED, f"{result.what}: {result.text}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_more_of_each_kind_are_handled(kind, worker):
    cases = [Case(kind, variety, seed) for variety in varieties(kind) for seed in range(1, 13 if kind in QUICK else 5)]
    results = [(case, worker.attempt(case)) for case in cases]
    assert [(case, result) for case, result in results if result.ending not in HANDLED] == []


def test_crash_is_a_result_and_not_the_end(tmp_path):
    with Worker(tmp_path, 1) as worker:
        case = Case("settings", "on the command line", 0)
        assert worker.attempt(case).ending in HANDLED
        os.kill(worker._process.pid, signal.SIGSEGV)
        crashed = worker.attempt(case)
        assert (crashed.ending, "SIGSEGV" in crashed.text) == ("unhandled", True)
        assert worker.attempt(case).ending in HANDLED


class TestEnding:
    """How an attempt is judged."""

    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "photo.png").write_text("a photo")
        return tmp_path

    def ending(self, folder, act, **options):
        return try_attempt(Attempt(act, ("photo.png",), **options), folder).ending

    def raising(self, error):
        def act():
            raise error

        return act

    def test_what_is_read(self, folder):
        assert self.ending(folder, lambda: "read") == "read"

    def test_error_must_name_the_thing(self, folder):
        assert self.ending(folder, self.raising(DatasetError("photo.png is cut off."))) == "refused"
        assert self.ending(folder, self.raising(DatasetError("It is cut off."))) == "unhandled"

    def test_sound_thing_must_not_be_refused(self, folder):
        assert self.ending(folder, self.raising(DatasetError("photo.png?")), must_be_read=True) == "unhandled"

    def test_wrong_result(self, folder):
        assert self.ending(folder, self.raising(WrongError("nearly black"))) == "unhandled"

    def test_file_that_is_gone_or_another_is_lost(self, folder):
        def overwrite():
            (folder / "photo.png").write_text("none")
            return "read"

        assert self.ending(folder, overwrite) == "lost"
        assert self.ending(folder, lambda: (folder / "photo.png").unlink() or "read") == "lost"

    def test_file_that_may_change(self, folder):
        def overwrite():
            (folder / "photo.png").write_text("none")
            return "read"

        assert self.ending(folder, overwrite, may_change=lambda name: name == "photo.png") == "read"


def test_every_variety_is_drawn_and_counted():
    cases = list(draw(list(KINDS), 200, seed=3))
    assert {(case.kind, case.variety) for case in cases} == {(kind, name) for kind in KINDS for name in varieties(kind)}
    *rows, total = table(cases, [Result("read")] * len(cases))
    assert sum(row[2] for row in rows) == total[2] == len(cases)
    assert total[3] == len(cases)
