"""Names of files that are no text, or that Markdown and HTML would take for their own: every page shows them."""

import os

import pytest
from odd_names import draw_odd_names
from tiny_run import run_chain, tiny_config

from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import photos_of


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    run_chain(folder / "runs" / "odd", draw_odd_names(folder / os.fsdecode(b"ph\xfftos")), tiny_config(folder))
    return Run(folder / "runs" / "odd")


@pytest.mark.parametrize("page", ["start", "proposals", "clusters", "filter", "training", "results", "audit", "guide"])
def test_page_of_a_run_with_odd_names(open_page, odd_run, monkeypatch, page):
    monkeypatch.setenv("MASKDISTILL_RUNS", str(odd_run.path.parent))
    ids = [photo.id for photo in photos_of(odd_run)]
    for id in (ids[0], next(id for id in ids if "udc" in id)):
        app = open_page(page, run="odd", photo=id)
        assert not app.exception
        assert not app.error


def test_start_shows_a_folder_of_odd_names(open_page, tmp_path):
    app = open_page("start")
    app.segmented_control(key="source kind").set_value("path").run()
    app.text_input(key="source path").set_value(str(draw_odd_names(tmp_path / "photos"))).run()
    assert not app.exception
    assert app.dataframe[0].value["File"].item().endswith("no\\udcff.png")
