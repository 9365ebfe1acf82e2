"""The form by itself, in a page of its own; ``preset`` in the link chooses what it starts from."""

import json
from pathlib import Path

import pytest
from shown_page import button
from streamlit.testing.v1 import AppTest

from app import session
from maskdistill.config import describe_setting, describe_settings, load_preset, section_names

FORM = """
import streamlit as st
from app.training import settings_form
from maskdistill.config import load_preset

preset = load_preset(st.query_params.get("preset", "quick")).with_overrides(st.query_params.get_all("set"))
start = load_preset(st.query_params["start"]) if "start" in st.query_params else None
section = st.query_params.get("section", "stage1")
with st.form(section):
    st.json(settings_form.draw(section, preset, start=start))
    st.form_submit_button("Train")
st.button("Back to the preset", on_click=settings_form.reset, args=(section, preset))
"""
MAIN = """
import streamlit as st

st.navigation([st.Page("form.py", default=True), st.Page("other.py")]).run()
"""


@pytest.fixture
def open_form(tmp_path: Path):
    """``open_form("filter", preset="paper-voc")``: a page with the form of that section."""
    for name, text in {"main": MAIN, "form": FORM, "other": "import streamlit as st\n\nst.title('Other')"}.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")

    def open_section(section: str, **link: str) -> AppTest:
        app = AppTest.from_file(tmp_path / "main.py", default_timeout=30)
        app.query_params.update({"section": section, **link})
        return app.run()

    return open_section


def fields(app):
    """Every field of the form by its setting's name."""
    widgets = [*app.number_input, *app.slider, *app.select_slider, *app.selectbox, *app.toggle, *app.text_input]
    return {item.key.removeprefix(session.field_key("")): item for item in widgets}


def shown(value):
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


def changes(app):
    """What ``draw`` gave back."""
    return None if app.json[0].value == "null" else json.loads(app.json[0].value)


def send(app):
    return app.button[0].click().run()


def reset(app):
    return button(app, "Back to the preset").click().run()


def marks(app):
    return [item.value for item in app.caption]


@pytest.mark.parametrize("preset", ["quick", "paper-voc"])
@pytest.mark.parametrize("section", section_names())
def test_fields_show_the_values_of_the_preset(open_form, section, preset):
    app = open_form(section, preset=preset)
    assert not app.exception
    values = vars(getattr(load_preset(preset), section))
    assert {name: field.value for name, field in fields(app).items()} == {
        f"{section}.{name}": shown(value) for name, value in values.items()
    }
    assert changes(app) == []
    assert not marks(app)
    assert not app.error


def test_basic_settings_come_first_and_the_rest_is_folded_away(open_form):
    app = open_form("stage1")
    folded = fields(app.expander[0])
    settings = describe_settings("stage1")
    assert app.expander[0].label == "More settings"
    assert set(folded) == {setting.full_name for setting in settings if setting.advanced}
    assert set(fields(app)) == {setting.full_name for setting in settings}


def test_help_says_what_it_is_the_presets_value_and_the_range(open_form):
    text = fields(open_form("stage1"))["stage1.learning_rate"].help.replace("\\", "")
    assert text.startswith(describe_setting("stage1.learning_rate").sentence)
    assert "Preset: 0.001." in text
    assert "in [0, 100]" in text
    assert "stage1.learning_rate" in text


@pytest.mark.parametrize(
    ("name", "value", "change", "mark"),
    [
        ("stage1.epochs", 25, "stage1.epochs=25", "10"),
        ("stage1.learning_rate", 5e-4, "stage1.learning_rate=0.0005", "0.001"),
        ("stage1.model", "deeplabv3", "stage1.model=deeplabv3", "patch_head"),
        ("stage1.class_balance", 0.1 + 0.2, "stage1.class_balance=0.3", "0.6"),
        ("stage1.whole_patches", False, "stage1.whole_patches=false", "on"),
        ("stage1.milestones", "4,6", "stage1.milestones=[4, 6]", "none"),
        ("stage1.milestones", "[4]", "stage1.milestones=[4]", "none"),
        ("stage1.weights", " /data/a=b.pth ", "stage1.weights=/data/a=b.pth", "empty"),
        ("stage1.frozen_stages", 0, "stage1.frozen_stages=0", "2"),
    ],
)
def test_a_change_is_exactly_that_change_and_is_marked(open_form, name, value, change, mark):
    app = open_form("stage1")
    fields(app)[name].set_value(value)
    send(app)
    assert not app.error
    assert changes(app) == [change]
    preset = load_preset("quick")
    assert preset.with_overrides(changes(app)) != preset
    assert [text.replace("\\", "") for text in marks(app)] == [f":orange[●] preset: {mark}"]


def test_value_of_many_digits_is_no_change(open_form):
    app = open_form("filter", set="filter.min_score=0.12345678901234")
    assert changes(app) == []
    assert not marks(app)


def test_changes_come_in_the_order_of_the_settings(open_form):
    app = open_form("filter")
    fields(app)["filter.keep_share"].set_value(0.65)
    fields(app)["filter.min_score"].set_value(0.9)
    send(app)
    assert changes(app) == ["filter.min_score=0.9", "filter.keep_share=0.65"]


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("stage1", {"epochs": 0}, "stage1.epochs must be in [1, 100000], got 0."),
        ("stage2", {"learning_rate": -1.0}, "stage2.learning_rate must be in [0, 100], got -1."),
        ("stage2", {"milestones": "9, 0"}, "stage2.milestones must be in [1, 100000], got 0."),
        ("stage2", {"milestones": "late"}, "stage2.milestones wants a list of whole numbers, got 'late'."),
        ("clusters", {"num_classes": 1}, "clusters.num_classes must be 0 (suggest) or in [2, 254], got 1."),
        ("clusters", {"num_classes": 9, "overcluster": 8}, "must be 0 or at least num_classes (9), got 8."),
    ],
)
def test_value_that_cannot_work_is_an_error_beside_the_form(open_form, section, values, message):
    app = open_form(section)
    for name, value in values.items():
        fields(app)[f"{section}.{name}"].set_value(value)
    send(app)
    assert not app.exception
    assert changes(app) is None
    assert len(app.error) == 1
    assert app.error[0].value.replace("\\", "").endswith(message)
    assert len(marks(app)) == len(values)


def test_sliders_do_not_offer_an_open_end(open_form):
    field = fields(open_form("filter"))["filter.keep_share"]
    assert (field.min, field.max) == (0.01, 1)
    field = fields(open_form("stage1"))["stage1.dropout"]
    assert (field.min, field.max) == (0, 0.99)


def test_reset_goes_back_to_the_preset(open_form):
    app = open_form("stage1", preset="paper-voc")
    before = {name: field.value for name, field in fields(app).items()}
    for name, value in {"epochs": 0, "milestones": "none", "model": "patch_head", "whole_patches": False}.items():
        fields(app)[f"stage1.{name}"].set_value(value)
    assert send(app).error
    reset(app)
    assert {name: field.value for name, field in fields(app).items()} == before
    assert (changes(app), marks(app), len(app.error)) == ([], [], 0)


def test_starts_from_other_settings_and_compares_with_the_preset(open_form):
    app = open_form("filter", preset="quick", start="paper-voc")
    assert fields(app)["filter.min_score"].value == 0.9
    assert changes(app) == ["filter.min_score=0.9"]
    assert [text.replace("\\", "") for text in marks(app)] == [":orange[●] preset: 0.4"]
    reset(app)
    assert fields(app)["filter.min_score"].value == 0.4
    assert changes(app) == []


def test_what_was_typed_survives_a_change_of_page(open_form):
    app = open_form("stage1")
    fields(app)["stage1.epochs"].set_value(25)
    fields(app)["stage1.dropout"].set_value(0.5)
    send(app)
    app.switch_page("other.py").run()
    assert app.title[0].value == "Other"
    app.switch_page("form.py").run()
    assert not app.exception
    assert changes(app) == ["stage1.epochs=25", "stage1.dropout=0.5"]


def test_what_was_typed_is_forgotten_when_other_settings_are_chosen(open_form):
    app = open_form("stage1")
    fields(app)["stage1.epochs"].set_value(25)
    send(app)
    app.query_params["preset"] = "paper-voc"
    app.run()
    assert fields(app)["stage1.epochs"].value == load_preset("paper-voc").stage1.epochs
    assert changes(app) == []


@pytest.mark.parametrize(("preset", "chosen", "change"), [("quick", 7, "7"), ("paper-voc", "auto", "auto")])
def test_number_that_may_be_found_is_chosen_from_both(open_form, preset, chosen, change):
    app = open_form("proposals", preset=preset)
    fields(app)["proposals.num_objects"].set_value(chosen)
    send(app)
    assert not app.exception
    assert changes(app) == [f"proposals.num_objects={change}"]
