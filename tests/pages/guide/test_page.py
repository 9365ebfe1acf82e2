import io
import json
from dataclasses import replace

import pytest
from PIL import Image
from shown_page import button, component, plain_texts

from app import photo_cache
from app.guide import reference
from maskdistill.errors import JobError
from maskdistill.handouts.guide_texts import PUBLISHED_CUT, STEPS, WITHOUT_RUN


@pytest.fixture
def open_guide(open_page, photo_folder, tiny_weights):
    """The guide on the small photos with random weights, nothing trained; link parameters on top."""

    def open_with(*settings, **link):
        features = [f"features.{name}={value}" for name, value in tiny_weights.items()]
        side = "features.shorter_side=32"
        return open_page("guide", data=str(photo_folder), set=[*features, side, *settings], **link)

    return open_with


def view(app):
    """What lies over the photo."""
    return component(app, "guide:photo")["views"][0]


def selection(app):
    return app.session_state["selection"]


def test_first_steps_work_with_nothing_trained(open_guide):
    app = open_guide()
    assert app.title[0].value == "Guide"
    assert "64 × 48 pixels" in plain_texts(app)
    for step in (1, 2, 3, 4):
        app.query_params["step"] = str(step)
        app.run()
        assert not app.exception
        assert app.header[0].value == STEPS[step - 1].title
        assert component(app, "guide:steps")["step"] == step
        assert component(app, "guide:photo")["src"]


def test_a_head_is_chosen_and_stands_in_the_link(open_guide):
    app = open_guide(step="2")
    assert view(app)["scale"]["title"] == "Attention"
    app.pills(key="guide:head").set_value("2").run()
    assert app.query_params["head"] == "2"
    assert "Head 2" in component(app, "guide:photo")["alt"]
    app.pills(key="guide:head").set_value("none").run()
    assert view(app)["layers"] == []
    app.pills(key="guide:head").set_value("mean").run()
    assert "head" not in app.query_params


def test_the_clicked_patch_and_the_threshold_come_from_the_link(open_guide):
    app = open_guide("proposals.tau=0.5", step="3", patch="2-3")
    assert view(app)["ring"] == [2, 3]
    assert "τ = 0.5" in plain_texts(app)
    button(app, "Back to the mask").click().run()
    assert "patch" not in app.query_params
    app.query_params["step"] = "4"
    app.run()
    assert component(app, "guide:photo")["slider"]["value"] == 0.5


def test_the_two_sides_of_the_cut_can_be_seen(open_guide):
    app = open_guide(step="4")
    before = component(app, "guide:photo")
    app.pills(key="guide:layer").set_value("sides").run()
    after = component(app, "guide:photo")
    assert (before["gray"], after["gray"]) == (False, True)
    assert view(app)["layers"][0]["on_patches"]


def test_the_published_rule_has_its_own_words_and_slider(open_guide):
    app = open_guide("proposals.engine=published", step="4")
    assert not app.exception
    assert PUBLISHED_CUT in plain_texts(app)
    assert component(app, "guide:photo")["slider"]["label"] == "Candidates"


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ({"step": "99"}, "step=99"),
        ({"step": "2", "head": "77"}, "head=77"),
        ({"step": "4", "layer": "cake"}, "layer=cake"),
        ({"photo": "zebra"}, "no photo 'zebra'"),
        ({"step": "3", "patch": "90-90"}, "lies outside"),
        ({"model": "gone"}, "no run 'gone'"),
    ],
)
def test_a_broken_link_falls_back_with_a_notice(open_guide, link, words):
    app = open_guide(**link)
    assert not app.exception
    assert words in plain_texts(app)
    assert component(app, "guide:photo")


def test_a_photo_that_is_gone_is_said_and_another_can_be_chosen(open_guide, photo_folder):
    app = open_guide()
    (photo_folder / "bee.png").unlink()
    app.query_params.update(photo="bee", step="2")
    app.run()
    assert not app.exception
    assert "bee.png" in plain_texts(app)
    button(app, "Choose another photo").click().run()
    assert component(app, "guide:steps")["step"] == 1


def test_full_screen_leaves_the_title_out_and_stands_in_the_link(open_guide):
    app = open_guide(screen="full")
    assert not app.title
    assert component(app, "guide:steps")["full"]
    assert app.query_params["screen"] == "full"


def test_without_a_run_one_button_prepares_it(open_guide, runs_folder, tiny_weights, monkeypatch):
    calls = []
    monkeypatch.setattr(reference, "submit_run", lambda *args, **options: calls.append((args, options)))
    app = open_guide(step="6")
    assert WITHOUT_RUN.replace("\\", "") in app.info[0].value
    assert component(app, "guide:photo")["alt"] == "The mask of ant"
    button(app, "Prepare the class run").click().run()
    (folder, data), options = calls[0]
    assert (folder, data) == (runs_folder / "guide", "sample-views")
    assert options["until"] == "stage2"
    assert f"features.backbone={tiny_weights['backbone']}" in options["overrides"]
    assert "clusters.num_classes=13" in options["overrides"]


def test_a_class_run_that_cannot_start_says_why(open_guide, monkeypatch):
    def refuse(*_args, **_options):
        raise JobError("Its process cannot be started.")

    monkeypatch.setattr(reference, "submit_run", refuse)
    app = open_guide()
    button(app, "Prepare").click().run()
    assert len(app.warning) == 1


def test_a_run_of_that_name_by_somebody_else_is_left_alone(finished_run, runs_folder, monkeypatch):
    monkeypatch.setenv("MASKDISTILL_RUNS", str(runs_folder))
    (runs_folder / "guide").mkdir(parents=True)
    (runs_folder / "guide" / "run.json").write_text(json.dumps({"data": "/photos"}))
    assert reference.class_folder() == runs_folder / "guide-2"
    (runs_folder / "guide" / "run.json").write_text(json.dumps({"data": "sample-views"}))
    assert reference.class_folder() == runs_folder / "guide"


def test_last_steps_show_the_run_that_is_looked_at(open_page, finished_run):
    app = open_page("guide", run="tiny", step="5")
    assert "Run tiny" in plain_texts(app)
    found = [tile["id"] for tile in component(app, "guide:board")["groups"][1]["tiles"]]
    assert len(found) == 12
    assert not any(mask_id < 10 for mask_id in found)  # the photo's own are no neighbours
    app.pills(key="guide:cluster").set_value(2).run()
    assert {tile["caption"] for tile in component(app, "guide:board")["groups"][1]["tiles"]} == {"cluster 2"}
    assert app.query_params["cluster"] == "2"
    for step in ("6", "7", "8"):
        app.query_params["step"] = step
        app.run()
        assert not app.exception
        assert not app.error
    assert len(component(app, "guide:photo")["sides"]) == 2


def test_first_model_is_seen_epoch_by_epoch_on_any_photo(open_page, finished_run, photo_folder):
    app = open_page("guide", data=str(photo_folder), photo="cow", model="tiny", step="6", epoch="1")
    assert not app.error
    image = component(app, "guide:photo")
    assert [item["name"] for item in image["views"]] == ["before", "1 of 3", "2 of 3", "3 of 3"]
    assert len({item["layers"][0]["src"] for item in image["views"]}) > 1
    assert image["slider"]["value"] == 1
    assert "not one of its own" in plain_texts(app)


def test_a_run_of_before_shows_the_trained_model_alone(open_page, editable_run):
    for path in (editable_run.path / "stage1" / "samples").rglob("model.safetensors"):
        path.unlink()
    app = open_page("guide", run="tiny", step="6", epoch="1")
    assert not app.error
    image = component(app, "guide:photo")
    assert (len(image["views"]), len(view(app)["layers"]), image["slider"]) == (1, 1, None)


def test_a_broken_run_leaves_the_first_steps_working(open_page, editable_run):
    (editable_run.path / "stage2" / "model.safetensors").write_bytes(b"torn")
    app = open_page("guide", run="tiny", step="4")
    assert component(app, "guide:photo")["slider"]
    assert app.warning


def test_masks_below_the_score_fall_away_and_the_best_comes_back(open_page, finished_run):
    strict = ["filter.min_score=1.0", "filter.min_iou=0"]
    app = open_page("guide", run="tiny", photo="00", step="7", set=strict)
    assert component(app, "guide:photo")["slider"]["value"] == 1
    assert all(tag["out"] for tag in component(app, "guide:photo")["tags"])
    app = open_page("guide", run="tiny", photo="00", step="7", set=[*strict, "filter.empty_photos=best"])
    tags = component(app, "guide:photo")["tags"]
    assert [tag["out"] for tag in tags].count(False) == 1
    assert sum("back as the best" in tag["text"] for tag in tags) == 1


def test_scores_and_counts_are_those_of_the_run(open_page, finished_run):
    app = open_page("guide", run="tiny", photo="00", step="7")
    table = finished_run.candidates().merge(finished_run.kept(), on="mask_id")
    own, others = (table[(table["image"] == 0) == is_own] for is_own in (True, False))
    tags = component(app, "guide:photo")["tags"]
    assert [(tag["text"][:4], not tag["out"]) for tag in tags] == [
        (f"{row.score:.2f}", row.kept) for row in own.itertuples()
    ]
    assert f"{own['kept'].sum()} of {len(own)}" in plain_texts(app)
    assert f"{others['kept'].sum()} of {len(others)}" in plain_texts(app)


def phone_photo():
    """A JPEG of 60 × 40 pixels that EXIF says to turn upright."""
    image, exif, buffer = Image.new("RGB", (60, 40), "grey"), Image.Exif(), io.BytesIO()
    image.paste((250, 250, 250), (20, 10, 40, 30))
    exif[0x0112] = 6
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_a_dropped_photo_is_shown_upright_and_the_runs_models_stay(open_page, finished_run, tmp_path):
    app = open_page("guide", run="tiny")
    state_before = selection(app).photo
    app.file_uploader[0].upload("phone.jpg", phone_photo(), "image/jpeg").run()
    assert not app.exception
    assert "40 × 60 pixels" in plain_texts(app)
    assert selection(app).photo == "phone" != state_before
    assert app.query_params["model"] == "tiny"
    app.query_params["step"] = "8"
    app.run()
    assert not app.error
    assert "Run tiny" in plain_texts(app)
    app.query_params["step"] = "1"
    app.run()
    button(app, "Back to the sample photos").click().run()
    assert selection(app).data == "sample"


def test_a_dropped_paper_is_refused_with_a_sentence(open_guide):
    app = open_guide()
    app.file_uploader[0].upload("paper.pdf", b"%PDF-1.7 a paper", "application/pdf").run()
    assert not app.exception
    assert "paper.pdf" in plain_texts(app)
    assert selection(app).photo == "ant"


def test_a_photo_without_a_mask_is_told_from_the_clusters_on(open_page, finished_run, monkeypatch):
    monkeypatch.setattr(photo_cache, "live", without_masks(photo_cache.live))
    for step in ("4", "5", "7"):
        app = open_page("guide", run="tiny", step=step)
        assert not app.exception
        assert view(app)["layers"] == []


def without_masks(live):
    def wrapped(*args):
        found = live(*args)
        return replace(found, proposals=replace(found.proposals, proposals=()))

    return wrapped


def test_page_for_a_class_is_that_of_the_photo_and_the_settings_on_show(open_guide, monkeypatch):
    offered = {}
    monkeypatch.setattr("streamlit.download_button", lambda label, data, name, *_, **more: offered.update({name: data}))
    app = open_guide("proposals.tau=0.3", photo="bee")
    assert not app.exception
    page = offered["bee-guide.html"]().decode()
    assert "From one photo to a segmentation model: bee" in page
    assert '<tr><th scope="row">proposals.tau</th><td class="number">0.3</td></tr>' in page
