import pytest
from shown_page import button

from app import photo_cache
from app.start import launch_form, search


def metric(app, label):
    return next(item.value for item in app.metric if item.label == label)


def choose_folder(app, path):
    app.segmented_control(key="source kind").set_value("path").run()
    return app.text_input(key="source path").set_value(str(path)).run()


def test_shows_the_sample_photos(open_page):
    app = open_page("start")
    assert int(metric(app, "Photos")) >= 10
    assert metric(app, "Kind") == "Samples"


def test_says_that_the_offline_weights_are_not_purely_self_supervised(open_page):
    app = open_page("start")
    app.selectbox(key="backbone").set_value("focus_vits14").run()
    assert any(":orange-badge" in item.value for item in app.markdown)


def test_unknown_backbone_is_named_and_nothing_can_be_started(open_page, monkeypatch):
    monkeypatch.setitem(launch_form.BACKBONES, "resnet9000", "typed by hand")  # AppTest cannot type a new option
    app = open_page("start")
    app.selectbox(key="backbone").set_value("resnet9000").run()
    assert "resnet9000" in app.error[0].value
    assert all(item.label != "Find masks" for item in app.button)


def test_folder_shows_photos_and_why_a_file_is_left_out(open_page, photo_folder):
    app = choose_folder(open_page("start"), photo_folder)
    assert metric(app, "Photos") == "3"
    assert metric(app, "Sizes") == "64 × 48 px"
    assert metric(app, "Left out") == "1"
    table = app.dataframe[0].value
    assert table["File"].item().endswith("torn.jpg")
    assert table["Why"].item()


def test_missing_folder_is_explained(open_page, tmp_path):
    app = choose_folder(open_page("start"), tmp_path / "nowhere")
    assert not app.exception
    assert str(tmp_path / "nowhere") in app.error[0].value.replace("\\", "")


def test_a_search_that_was_stopped_waits_until_it_is_asked_for_again(open_page, photo_folder, monkeypatch):
    def slow_source(spec, on_progress):
        on_progress(500, 0)
        on_progress(1, 3)
        return photo_cache.open_source(spec)

    monkeypatch.setattr(search, "PATIENCE", 0.0)
    monkeypatch.setattr(search, "INTERVAL", 0.0)
    monkeypatch.setattr(photo_cache, "source", slow_source)
    app = choose_folder(open_page("start"), photo_folder)
    assert metric(app, "Photos") == "3"
    app.session_state["page:search stopped"] = str(photo_folder)
    app.run()
    assert not app.metric
    button(app, "Search on").click().run()
    assert metric(app, "Photos") == "3"


def test_a_folder_of_another_persons_phone_is_counted(open_page, photo_folder):
    for name in ("a.mov", "b.mov", "c.gif"):
        (photo_folder / name).touch()
    app = choose_folder(open_page("start"), photo_folder)
    assert metric(app, "Left out") == "4"
    assert len(app.dataframe[0].value) == 3


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "~no-such-user/x", "file:///no/such", "http://a.org/b", "/proc"])
def test_what_is_no_path_is_a_sentence(open_page, path):
    app = choose_folder(open_page("start"), path)
    assert not app.exception
    assert app.error


def test_asks_for_photos_when_there_are_none(open_page):
    app = open_page("start")
    app.segmented_control(key="source kind").set_value("path").run()
    assert app.info
    assert not app.metric


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "x" * 61])
def test_bad_run_name_is_refused(open_page, name):
    app = open_page("start")
    app.text_input(key="run name").set_value(name).run()
    assert "60" in app.error[0].value
    assert all(item.label != "Find masks" for item in app.button)


def test_button_starts_the_stage_with_what_was_chosen(open_page, photo_folder, runs_folder, monkeypatch):
    calls = []
    monkeypatch.setattr(launch_form, "submit_run", lambda run, data, **options: calls.append((run, data, options)))
    app = choose_folder(open_page("start"), photo_folder)
    app.selectbox(key="backbone").set_value("focus_vits14").run()
    app.text_input(key="run name").set_value("mine").run()
    button(app, "Find masks").click().run()
    run, data, options = calls[0]
    assert run == runs_folder / "mine"
    assert data == str(photo_folder)
    assert options["overrides"] == ["features.backbone=focus_vits14"]


def test_dropped_pictures_are_kept_and_a_pdf_is_listed_with_its_reason(open_page, photo_folder, runs_folder):
    app = open_page("start")
    app.segmented_control(key="source kind").set_value("dropped").run()
    picture = (photo_folder / "ant.png").read_bytes()
    files = [("ant.png", picture, "image/png"), ("talk.pdf", b"%PDF-1.4", "application/pdf")]
    app.file_uploader[0].set_value(files).run()
    assert not app.exception
    assert metric(app, "Photos") == "1"
    assert app.dataframe[0].value["File"].item() == "talk.pdf"
    assert "JPEG" in app.dataframe[0].value["Why"].item()
    assert [path.name for path in runs_folder.glob("*/photos/*")] == ["ant.png"]
