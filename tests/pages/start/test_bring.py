"""Start: masks made elsewhere are named, brought by a job, and opened."""

import json

import numpy as np
import pytest
from shown_page import button, labels

from maskdistill.cli.job_command import read_command
from maskdistill.jobs import list_jobs
from maskdistill.masks import encode_mask


def choose(app, folder):
    app.segmented_control(key="source kind").set_value("path").run()
    app.text_input(key="source path").set_value(str(folder)).run()
    return app.segmented_control(key="masks kind").set_value("bring").run()


@pytest.fixture
def masks(tmp_path):
    """COCO for two of the three photos of ``photo_folder``."""
    mask = np.zeros((48, 64), bool)
    mask[12:36, 20:44] = True
    images = [{"id": n, "file_name": f"{name}.png", "height": 48, "width": 64} for n, name in enumerate(("ant", "bee"))]
    annotations = [{"id": n + 1, "image_id": n, "category_id": 1, "segmentation": encode_mask(mask)} for n in range(2)]
    path = tmp_path / "masks.json"
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cow"}]}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def submitted(monkeypatch):
    """What is handed over to be done in the background, after the check of the command line."""
    calls = []

    def submit_command(run, arguments, *, title):
        read_command(run.absolute(), arguments)
        calls.append((run, list(arguments)))

    monkeypatch.setattr("app.start.launch_form.submit_command", submit_command)
    return calls


def test_the_masks_are_named_before_anything_can_be_started(open_page, photo_folder):
    app = choose(open_page("start"), photo_folder)
    assert button(app, "Bring masks").disabled
    assert "Find masks" not in labels(app)
    assert "Try settings first" not in labels(app)


def test_a_click_starts_the_command_that_a_person_would_type(open_page, photo_folder, masks, submitted, runs_folder):
    app = choose(open_page("start"), photo_folder)
    app.selectbox(key="backbone").set_value("focus_vits14").run()
    app.text_input(key="masks path").set_value(str(masks)).run()
    button(app, "Bring masks").click().run()
    assert not app.exception
    ((run, arguments),) = submitted
    assert run == runs_folder / "photos"
    assert arguments[0] == "import"
    wanted = {"--data": str(photo_folder), "--masks": str(masks), "--backbone": "focus_vits14"}
    assert all(arguments[arguments.index(flag) + 1] == value for flag, value in wanted.items())


def test_the_file_of_a_detectors_ids_goes_along(open_page, photo_folder, masks, submitted):
    app = choose(open_page("start"), photo_folder)
    app.text_input(key="masks path").set_value(str(masks)).run()
    app.text_input(key="masks images").set_value("/data/instances.json").run()
    button(app, "Bring masks").click().run()
    ((_, arguments),) = submitted
    assert arguments[arguments.index("--images") + 1] == "/data/instances.json"


def test_a_run_with_own_masks_of_the_same_photos_is_not_suggested(open_page, finished_run, photo_folder):
    data = finished_run.info()["data"]
    app = open_page("start")
    app.segmented_control(key="source kind").set_value("path").run()
    app.text_input(key="source path").set_value(data).run()
    own = app.text_input(key="run name").value
    app.segmented_control(key="masks kind").set_value("bring").run()
    assert app.text_input(key="run name").value
    assert (app.text_input(key="run name").value != finished_run.name) or own != finished_run.name


def test_a_path_out_of_the_roots_is_refused_in_place(
    open_page, photo_folder, masks, monkeypatch, tmp_path, runs_folder
):
    monkeypatch.setenv("MASKDISTILL_ROOTS", f"{photo_folder}:{runs_folder}")
    app = choose(open_page("start"), photo_folder)
    app.text_input(key="masks path").set_value(str(masks)).run()
    button(app, "Bring masks").click().run()
    assert any(str(masks) in item.value.replace("\\", "") for item in app.error)
    assert list_jobs(runs_folder / "photos") == []
