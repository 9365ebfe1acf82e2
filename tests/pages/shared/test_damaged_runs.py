"""A damaged run on the pages: named in the sidebar, an error box on its own pages, nothing on those of others."""

import shutil

import pytest
from run_damage import damages

from maskdistill.storage.run_folder import Run


def damage(run, name):
    next(item for item in damages(run.path) if item.name == name).do(run.path)


def boxes(app):
    return [item.value for item in app.error]


@pytest.mark.parametrize("name", ["run.json: cut in half", "run.sqlite: noise"])
def test_damaged_run_is_named_and_leaves_the_pages_of_others_alone(editable_run, open_page, name):
    other = Run(shutil.copytree(editable_run.path, editable_run.path.with_name("broken")))
    if name.startswith("run.sqlite"):
        (other.path / "run.sqlite").write_bytes(b"no database at all" * 100)
    else:
        damage(other, name)
    app = open_page("training", run="tiny")
    assert not app.exception
    assert boxes(app) == []
    labels = app.sidebar.selectbox[0].options
    assert [label for label in labels if label.startswith("broken")] == ["broken (damaged)"]
    assert "tiny" in labels
    broken = open_page("training", run="broken")
    assert not broken.exception
    assert any(name.partition(":")[0] in text.replace("\\", "") for text in boxes(broken))


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("clusters", "clusters.parquet: cut in half"),
        ("filter", "kept.parquet: no columns"),
        ("audit", "masks.parquet: cut in half"),
        ("proposals", "masks.parquet: without score"),
    ],
)
def test_page_of_a_damaged_run_has_an_error_box_that_names_the_command(editable_run, open_page, page, name):
    damage(editable_run, name)
    app = open_page(page, run="tiny")
    assert not app.exception
    assert any("maskdistill" in text and "tiny" in text for text in boxes(app))


def test_damaged_report_does_not_stop_the_map(editable_run, open_page):
    (editable_run.path / "metrics.json").write_text("{")
    app = open_page("clusters", run="tiny")
    assert not app.exception
    assert any("metrics" in text for text in boxes(app))
    assert len(app.main.button) > 1  # the map's and those below it


def test_run_that_is_deleted_while_a_page_shows_it(editable_run, open_page):
    app = open_page("clusters", run="tiny")
    shutil.rmtree(editable_run.path)
    app.run()
    assert not app.exception
    assert any("tiny" in item.value for item in app.warning)
