import dataclasses
import re

import numpy as np
import pytest
from shown_page import button

import maskdistill.proposals.views
from app import session
from app.proposals import apply_dialog, page, setting_controls
from maskdistill.pictures import derivation


def selection(app):
    return app.session_state["selection"]


def slider(app, name):
    return app.slider(key=session.control_key(name))


def test_shows_the_first_photo_and_says_how_long_the_masks_took(open_proposals):
    app = open_proposals()
    assert any("**ant** · 64 × 48 px · 1 of 3" in item.value for item in app.markdown)
    assert any(re.search(r"\d+ ms", item.value) for item in app.caption)


def test_slider_makes_a_new_mask_without_a_forward_pass(open_proposals, monkeypatch):
    calls = []
    look = maskdistill.proposals.views.extract_views
    monkeypatch.setattr(
        maskdistill.proposals.views,
        "extract_views",
        lambda *args, **options: calls.append(1) or look(*args, **options),
    )
    app = open_proposals()
    assert calls == [1]
    slider(app, "proposals.tau").set_value(0.5).run()
    app.select_slider(key=session.control_key("proposals.num_objects")).set_value(3).run()
    app.segmented_control(key=session.control_key("proposals.engine")).set_value("published").run()
    assert not app.exception
    assert calls == [1]


def test_slider_changes_the_link_and_the_link_reopens_it(open_proposals):
    app = open_proposals()
    slider(app, "proposals.tau").set_value(0.5).run()
    assert "proposals.tau=0.5" in app.query_params["set"]
    again = open_proposals("proposals.tau=0.5", photo="bee", patch="2-3")
    assert slider(again, "proposals.tau").value == 0.5
    assert selection(again).photo == "bee"
    assert selection(again).patch == (2, 3)


def test_setting_back_to_the_base_leaves_the_link(open_proposals):
    app = open_proposals("proposals.tau=0.5")
    slider(app, "proposals.tau").set_value(0.2).run()
    assert not any("tau" in item for item in selection(app).changes)


def test_reset_drops_every_change_but_the_weights(open_proposals):
    app = open_proposals("proposals.tau=0.5", "proposals.num_objects=3")
    button(app, "Reset").click().run()
    assert slider(app, "proposals.tau").value == 0.2
    assert all(item.startswith("features.") for item in selection(app).changes)


def test_only_the_engines_own_controls_are_drawn(open_proposals):
    cut = {item.key for item in open_proposals().slider}
    published = {item.key for item in open_proposals("proposals.engine=published").slider}
    assert session.control_key("proposals.tau") in cut - published
    assert {session.control_key(f"proposals.{name}") for name in ("topk", "mass", "num_heads")} == published


@pytest.mark.parametrize(
    ("link", "named"),
    [
        ({"photo": "zebra"}, "zebra"),
        ({"run": "gone"}, "gone"),
        ({"patch": "90-90"}, "90-90"),
        ({"patch": "one-two"}, "one-two"),
        ({"compare": "everything"}, "everything"),
        ({"shade": "blue"}, "shade"),
    ],
)
def test_broken_link_falls_back_with_a_notice(open_proposals, link, named):
    app = open_proposals(**link)
    assert not app.exception
    assert named in app.warning[0].value.replace("\\", "")


@pytest.mark.parametrize(
    "setting", ["proposals.tua=1", "proposals.tau=9", "proposals.tau=x", "nonsense", "crf.enabled=2"]
)
def test_broken_setting_is_left_out_with_a_notice(open_proposals, setting):
    app = open_proposals(setting)
    assert not app.exception
    assert setting.partition("=")[0] in app.warning[0].value.replace("\\", "")
    assert setting not in selection(app).changes


def test_block_that_the_backbone_lacks_is_an_error_not_a_traceback(open_proposals):
    app = open_proposals("proposals.blocks=[11]")
    assert not app.exception
    assert any("blocks 1 to 2" in item.value for item in app.error)


def test_crf_is_off_with_the_reason_where_the_package_is_missing(open_proposals, monkeypatch):
    monkeypatch.setattr(setting_controls, "crf_available", lambda: False)
    app = open_proposals()
    toggle = app.toggle(key=session.control_key("crf.enabled"))
    assert toggle.disabled
    assert "compiler" in toggle.help


def test_pinned_settings_stand_beside_what_is_tried_next(open_proposals):
    app = open_proposals()
    button(app, "Pin these settings beside").click().run()
    slider(app, "proposals.tau").set_value(0.6).run()
    assert selection(app).compare == "pinned"
    assert not any("tau" in item for item in selection(app).pinned)
    assert any(item.value.startswith("**Pinned settings**") for item in app.markdown)


def test_apply_to_all_starts_a_run_with_the_settings_on_show(open_proposals, runs_folder, photo_folder, monkeypatch):
    calls = []
    monkeypatch.setattr(apply_dialog, "submit_run", lambda run, data, **options: calls.append((run, data, options)))
    app = open_proposals("proposals.num_objects=2")
    button(app, "Apply to all").click().run()
    button(app, "Find masks").click().run()
    run, data, options = calls[0]
    assert run.parent == runs_folder
    assert data == str(photo_folder)
    assert "proposals.num_objects=2" in options["overrides"]


def test_next_photo_forgets_the_patch(open_proposals):
    app = open_proposals(patch="1-1")
    button(app, "Next").click().run()
    assert selection(app).photo == "bee"
    assert selection(app).patch is None


def test_missing_data_is_explained(open_page, tmp_path):
    app = open_page("proposals", data=str(tmp_path / "nowhere"))
    assert not app.exception
    assert str(tmp_path / "nowhere") in app.error[0].value.replace("\\", "")


def test_affinity_of_a_patch_is_the_cosine_of_its_tokens(photo_folder, tiny_weights, open_proposals):
    from app import photo_cache
    from maskdistill.config import FeatureConfig, RunConfig
    from maskdistill.datasets import open_source

    config = RunConfig(features=FeatureConfig(**tiny_weights, shorter_side=32))
    photo = open_source(photo_folder).photos[0]
    live = photo_cache.live(config.features, config.proposals, config.crf, photo)
    tokens = live.view.features.patch_tokens[live.recipe.blocks[0]].numpy()
    rows, cols = live.view.features.grid
    got = derivation.affinity_map(dataclasses.replace(live), (1, 2))
    chosen = tokens[cols + 2]
    for row in range(rows):
        for col in range(cols):
            other = tokens[row * cols + col]
            want = other @ chosen / np.linalg.norm(other) / np.linalg.norm(chosen)
            assert abs(got[row, col] - want) < 1e-4


def test_one_transformer_serves_all_sizes_and_what_is_stored_of_photos(tiny_weights):
    from app import photo_cache
    from maskdistill.config import FeatureConfig

    net = photo_cache.backbone(FeatureConfig(**tiny_weights))
    for change in ({"shorter_side": 64}, {"fit": "pad"}, {"batch_size": 4}, {"store": False}, {"tokens": "compact"}):
        assert photo_cache.backbone(FeatureConfig(**{**tiny_weights, **change})) is net
    assert photo_cache.backbone(FeatureConfig(**{**tiny_weights, "precision": "bfloat16"})) is not net


def test_a_link_cannot_smuggle_markdown_into_a_notice(open_proposals):
    app = open_proposals(photo="![x](http://example.org/x.png)")
    assert "![x](" not in app.warning[0].value


@pytest.fixture
def strip(monkeypatch):
    """Photos on the strip as it was drawn last."""
    shown = []

    def note(items, **options):
        shown[:] = [item.id for item in items]

    monkeypatch.setattr(page, "photo_grid", note)
    return shown


def test_strip_turns_to_the_page_of_the_photo(open_page, tiny_weights, strip):
    features = [f"features.{name}={value}" for name, value in tiny_weights.items()]
    app = open_page("proposals", data="sample-views", photo="rocket-05", set=[*features, "features.shorter_side=32"])
    assert not app.exception
    assert "rocket-05" in strip


def test_strip_follows_the_photo_into_another_order(open_page, finished_run, strip, monkeypatch):
    """It stayed on the old page, where the photo no longer was."""
    monkeypatch.setattr(page, "PAGE", 1)
    app = open_page("proposals", run=finished_run.name)
    places = set()
    for order in ("worst", "best", "order"):
        app.selectbox(key="sort").set_value(order).run()
        assert not app.exception
        assert strip == [selection(app).photo]
        places.add(next(item.value for item in app.markdown if " of 12" in item.value))
    assert len(places) > 1


def test_strip_can_be_leafed_through_without_choosing(open_page, finished_run, strip, monkeypatch):
    monkeypatch.setattr(page, "PAGE", 1)
    app = open_page("proposals", run=finished_run.name)
    chosen = selection(app).photo
    app.get("pagination")[0].set_value(3).run()
    assert selection(app).photo == chosen
    assert strip
    assert chosen not in strip


def test_every_setting_of_the_engine_has_a_control(open_proposals):
    app = open_proposals()
    known = {
        item.key
        for item in [*app.slider, *app.select_slider, *app.segmented_control, *app.get("button_group"), *app.toggle]
    }
    names = [*setting_controls.ENGINES["ncut"], *setting_controls.NCUT_MORE]
    assert {session.control_key(f"proposals.{name}") for name in ("engine", *names)} <= known
    rules = app.segmented_control(key=session.control_key("proposals.foreground")).options
    assert [rule.lower() for rule in rules] == list(derivation.FOREGROUND_RULES)
