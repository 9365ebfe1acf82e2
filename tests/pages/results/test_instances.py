"""Single objects on the Results page: those above a score over the photo, and how they are measured."""

import re

import pytest

from maskdistill.evaluation import metric_tables
from maskdistill.evaluation.metric_tables import percent
from maskdistill.files import write_json
from maskdistill.storage.read_files import read_json

SCORES = (0.9, 0.6, 0.2)


@pytest.fixture
def with_objects(editable_run):
    """The drawn run with three objects in each photo, all of the shape of its first mask."""
    content = read_json(editable_run.proposals_path)
    first = {}
    for item in content["annotations"]:
        first.setdefault(item["image_id"], item)
    content["annotations"] = [
        {**item, "id": 1000 * number + rank, "category_id": 1, "score": score}
        for number, item in sorted(first.items())
        for rank, score in enumerate(SCORES)
    ]
    write_json(editable_run.instances.codes_path, content)
    write_json(editable_run.instances.record_path, {"used": True, "why": "", "scales": [1.0]})
    metrics = read_json(editable_run.path / "metrics.json")
    write_json(editable_run.path / "metrics.json", metrics | {"instances": metrics["masks"] | {"mask_ap50": 1.0}})
    return editable_run


def open_photo(open_page):
    app = open_page("results", run="tiny", results="photos", photos="order", photo="03")
    assert not app.exception
    return app


def counted(app):
    found = [re.match(r"(\d+) of (\d+) objects", item.value) for item in app.caption]
    return [(int(match[1]), int(match[2])) for match in found if match]


def test_the_slider_says_how_many_objects_pass(open_page, with_objects):
    app = open_photo(open_page)
    assert counted(app) == [(2, 3)]
    slider = app.slider(key="results:least score")
    for value, expected in ((0.0, 3), (0.61, 1), (1.0, 0)):
        slider.set_value(value).run()
        assert not app.exception
        assert counted(app) == [(expected, 3)]


def test_a_run_without_shows_none(open_page, finished_run):
    assert counted(open_photo(open_page)) == []


def test_a_stage_at_work_shows_none(open_page, with_objects):
    with_objects.stage_path("instances").unlink()
    assert counted(open_photo(open_page)) == []


def test_a_damaged_file_is_told(open_page, with_objects):
    with_objects.instances.codes_path.write_text("{")
    app = open_photo(open_page)
    assert any("instances.json" in item.value for item in app.error)


def test_stages_have_their_measures(open_page, with_objects):
    app = open_page("results", run="tiny")
    assert not app.exception
    assert percent(1.0) in [item.value for item in app.metric if item.label == "Mask AP50"]
    known = metric_tables.mask_measures(read_json(with_objects.path / "metrics.json"), "instances")
    assert known["mask_ap50"] == 1
