import re

import pytest
from outline import Outline

from maskdistill.cli.main import main
from maskdistill.errors import RunError
from maskdistill.evaluation import metric_texts
from maskdistill.handouts import html, report_pictures
from maskdistill.handouts.report import report_page
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run


@pytest.fixture(scope="session")
def page(finished):
    return report_page(finished[0])


def test_report_says_what_each_stage_brought(page, finished):
    text = Outline(page).text
    metrics = read_json(finished[0].path / "metrics.json")
    assert metric_texts.headline(metrics) in text
    assert f"{metrics['counts']['kept']:,} of {metrics['counts']['candidates']:,}" in text
    assert "No decisions yet." in text
    for title in ("Photos, stage by stage", "Clusters", "Filter", "Settings and versions"):
        assert title in text


def test_report_has_pictures_but_never_too_many(page):
    images = Outline(page).all("img")
    cells = len(re.findall(r'<td><img src="data:image/webp', page))
    assert cells >= 3 * report_pictures.NUM_PHOTOS
    assert (
        len(images)
        <= 8 * report_pictures.NUM_PHOTOS
        + report_pictures.MAX_CLUSTERS * report_pictures.NUM_CROPS
        + 2 * report_pictures.NUM_BORDER
    )
    assert all(item["src"].startswith("data:image/") for item in images)
    assert all(item["alt"] for item in images)


def test_report_runs_no_script_and_fetches_nothing(page):
    policy = Outline(page).all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert "script-src" not in policy
    assert "<script></script>" not in page
    assert not re.search(r"https?://", page)
    assert len(page.encode()) < html.MAX_BYTES


def test_report_tells_no_folder(page, finished):
    assert str(finished[0].path.parent) not in page


def test_run_without_masks_is_refused(tmp_path):
    with pytest.raises(RunError, match="No run in"):
        report_page(Run(tmp_path))


def test_too_large_a_report_is_refused(finished, monkeypatch):
    monkeypatch.setattr(html, "MAX_BYTES", 1000)
    with pytest.raises(RunError, match="would have more than"):
        report_page(finished[0])


def test_command_writes_the_report(finished, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert main(["report", "--run", str(finished[0].path), "--html", str(out)]) == 0
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert str(out) in capsys.readouterr().out
