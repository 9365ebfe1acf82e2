import pytest
from decisions_data import make_run

from maskdistill.errors import ConfigError, RunError
from maskdistill.review.decisions import version
from maskdistill.storage.database import reading
from maskdistill.storage.run_folder import Run
from maskdistill.storage.saved_views import delete_view, save_view, views


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def names(run, kind="filter"):
    return [view.name for view in views(run, kind)]


def test_no_views(run):
    assert views(run, "filter") == []
    delete_view(run, "filter", "strict")
    assert not (run.path / "run.sqlite").exists()


def test_newest_of_a_name_and_kind_counts(run):
    save_view(run, "filter", "strict", {"min_score": 0.9})
    save_view(run, "filter", "  Mild\n one ", {"min_score": 0.1})
    save_view(run, "selection", "strict", "cluster:3")
    save_view(run, "filter", "strict", {"min_score": 0.8})
    assert [(view.name, view.value) for view in views(run, "filter")] == [
        ("Mild one", {"min_score": 0.1}),
        ("strict", {"min_score": 0.8}),
    ]
    assert [view.value for view in views(run, "selection")] == ["cluster:3"]
    assert views(run, "filter")[1].time >= views(run, "filter")[0].time
    assert version(run) == 0  # views are no decisions


def test_deleted_one_may_come_back(run):
    save_view(run, "filter", "strict", 1)
    save_view(run, "filter", "mild", 2)
    delete_view(run, "filter", "strict")
    assert names(run) == ["mild"]
    save_view(run, "filter", "strict", 3)
    assert [view.value for view in views(run, "filter")] == [2, 3]
    with reading(run.path) as db:
        assert db.execute("SELECT count(*) FROM views").fetchone()[0] == 4  # nothing is overwritten


def test_needs_a_name_and_a_run(run, tmp_path):
    with pytest.raises(ConfigError, match="needs a name to be kept under"):
        save_view(run, "filter", " \n", 1)
    with pytest.raises(RunError, match="No run in"):
        save_view(Run(tmp_path / "nowhere"), "filter", "x", 1)
    assert not (tmp_path / "nowhere").exists()
