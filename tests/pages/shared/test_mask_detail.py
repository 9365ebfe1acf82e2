"""Shared parts: colours, what is sent to the browser, the grid, and one mask in detail."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from shown_page import detail_texts
from skimage.color import rgb2lab
from streamlit.testing.v1 import AppTest

from app.images.sent_images import SentImages
from app.mask_detail import facts
from app.run_view import read_run_view
from maskdistill.config import FilterConfig
from maskdistill.pictures import colors
from maskdistill.pictures.colors import MASK_COLORS, rgb
from maskdistill.pseudo_labels.filter import KEPT, RULE_HELP
from maskdistill.pseudo_labels.signals import MaskSignals
from maskdistill.review import decisions
from maskdistill.review.decisions import Scope
from maskdistill.review.mask_table import read_mask_table
from maskdistill.stages.select import write_kept

# What eyes see that lack one kind of cone: Machado, Oliveira and Fernandes, 2009, severity 1, in linear RGB.
EYES = {
    "all cones": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def seen(colour, eyes):
    """CIELAB of a colour."""
    parts = np.array(rgb(colour)) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ np.array(EYES[eyes]).T
    linear = linear.clip(0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("eyes", EYES)
def test_colours_of_clusters_can_be_told_apart(eyes):
    marks = [seen(colour, eyes) for colour in (*MASK_COLORS, colors.NONE)]
    assert min(np.linalg.norm(one - other) for one, other in combinations(marks, 2)) > 9.5


def test_colour_of_a_cluster_is_that_of_its_label_map_and_none_has_its_own():
    assert colors.cluster_color(1) == MASK_COLORS[0]
    assert colors.cluster_color(0) == colors.NONE
    assert colors.cluster_color(255) == colors.cluster_color(1)


def test_scores_have_the_scales_ends():
    assert colors.score_colors(np.array([0.0, 1.0, 2.0])) == ["#440154", "#FDE725", "#FDE725"]


@pytest.mark.parametrize(("colour", "ink"), [("#F0E442", "#111820"), ("#6F3CC4", "#FFFFFF")])
def test_ink_stands_out(colour, ink):
    assert colors.text_on(colour) == ink


def test_a_picture_is_sent_once_and_named_by_its_content():
    sent = SentImages()
    names, new = sent.pack(["data:a", "", "data:b", "data:a"])
    assert names[0] == names[3] != names[2]
    assert names[1] == ""
    assert new == {names[0]: "data:a", names[2]: "data:b"}
    assert sent.pack(["data:b"]) == ([names[2]], {})


def test_a_picture_that_the_browser_lacks_is_sent_again():
    sent = SentImages()
    names, _ = sent.pack(["data:a"])
    sent.forget([*names, "never heard of"])
    assert sent.pack(["data:a"])[1] == {names[0]: "data:a"}


def test_what_was_sent_is_forgotten_from_the_oldest_but_never_what_is_on_show():
    sent = SentImages(most=25)
    sent.pack(["data:first"])
    sent.pack(["data:second"])
    sent.pack(["data:first"])  # used again
    sent.pack(["data:third"])  # 31 characters in all
    assert sent.pack(["data:first"])[1] == {}
    assert list(sent.pack(["data:second"])[1].values()) == ["data:second"]
    many = ["data:first", "data:second", "data:third"]
    sent.pack(many)
    assert sent.pack(many)[1] == {}


def row_with(**columns):
    return pd.Series({"candidate": True, "kept": True, "rule": KEPT, "split": "train", **columns})


@pytest.mark.parametrize(
    ("columns", "label", "reason"),
    [
        ({}, "Kept", RULE_HELP[KEPT][1:]),
        ({"kept": False, "rule": "low score"}, "Dropped", RULE_HELP["low score"]),
        ({"kept": False, "rule": ""}, "Not filtered", ""),
        ({"candidate": False, "kept": False, "rule": "", "split": "val"}, "Not judged", " val "),
        ({"candidate": False, "kept": False, "rule": "", "split": None}, "Not judged", ""),
    ],
)
def test_verdict_has_a_reason(columns, label, reason):
    verdict = facts.verdict(row_with(**columns), any_judged=True, cluster=1)
    assert verdict.label == label
    assert reason in verdict.reason


def test_verdict_of_a_mask_in_no_cluster_and_of_a_run_without_stage_1():
    row = row_with(candidate=False, kept=False, rule="")
    known = [(True, 1), (True, 0), (False, 1)]
    verdicts = [facts.verdict(row, any_judged=any_judged, cluster=cluster) for any_judged, cluster in known]
    assert {verdict.label for verdict in verdicts} == {"Not judged"}
    assert len({verdict.reason for verdict in verdicts}) == 3


def test_signals_stand_beside_the_thresholds_that_do_something():
    signals = MaskSignals.from_columns(
        {"image": [0, 0], "cluster": [1, 1], "score": [0.5, 0.9], "area": [0.2, 0.7], "iou": [np.nan, 0.5]}
    )
    config = FilterConfig(min_score=0.6, min_area=0.1, max_area=0.6)
    found = facts.FilterRecord(np.array([30, 40]), signals, config)
    bars = {bar.name: bar for bar in facts.signal_bars(found, 30)}
    assert (bars["Score"].limit_text, bars["Score"].fails) == ("≥ 0.6", True)
    assert (bars["Area"].limit_text, bars["Area"].fails) == ("≥ 0.1, ≤ 0.6", False)
    assert (bars["IoU"].limit_text, bars["IoU"].fails) == ("", False)
    assert np.isnan(bars["IoU"].value)
    assert {bar.name for bar in facts.signal_bars(found, 40) if bar.fails} == {"Area"}
    assert facts.signal_bars(found, 50) == []


def test_signals_agree_with_the_filter_on_what_is_dropped(finished_run):
    """A mask that passes every rule fails no threshold on its bars, and every other one fails one."""
    found = facts.filter_record(read_run_view(finished_run))
    kept = finished_run.kept().set_index("mask_id")
    assert kept["rule"].eq(KEPT).any()
    assert not kept["kept"].all()
    for mask_id, rule in kept["rule"].items():
        assert any(bar.fails for bar in facts.signal_bars(found, mask_id)) == (rule != KEPT), rule


def test_a_decision_waits_until_the_filter_has_run_again(editable_run):
    frame = read_mask_table(editable_run).frame
    mask = frame[frame["candidate"]].iloc[0]
    box = tuple(int(mask[name]) for name in "xywh")
    mark = decisions.Mark(int(mask["mask_id"]), mask["image_id"], box, decisions.Action.REJECT)
    decisions.decide(editable_run, "anna", [mark], scope=Scope.LABELS)
    assert facts.filter_record(read_run_view(editable_run)).is_outdated(mark.mask_id, -1, 0)
    write_kept(editable_run, editable_run, FilterConfig())
    found = facts.filter_record(read_run_view(editable_run))
    assert not found.is_outdated(mark.mask_id, -1, 0)
    assert found.is_outdated(mark.mask_id, 0, 0)  # taken back since


def detail_page():
    """A page with nothing but the detail of the mask in the link."""
    from app import selection
    from app.mask_detail.dialog import draw_detail
    from app.run_view import read_run_view
    from maskdistill.review.decisions import Scope
    from maskdistill.storage.run_folder import Run, runs_folder

    selection.read_link()
    draw_detail(read_run_view(Run(runs_folder() / "tiny")), selection.current().mask, scope=Scope.LABELS)


def open_detail(mask_id, page=detail_page):
    app = AppTest.from_function(page, default_timeout=30)
    app.query_params["run"], app.query_params["mask"] = "tiny", str(mask_id)
    return app.run()


def first_mask(run, **columns):
    frame = read_mask_table(run).frame
    for name, value in columns.items():
        frame = frame[frame[name] == value]
    return int(frame["mask_id"].iloc[0])


def test_detail_shows_scores_reasons_neighbors_and_history(finished_run):
    app = open_detail(first_mask(finished_run, candidate=True, kept=True, rule=KEPT, origin="proposal"))
    assert not app.exception
    for text in ("Kept", RULE_HELP[KEPT][1:], "Score", "≥ 0.3", "Views", "Ground truth", "mask-history"):
        assert text in detail_texts(app)
    view, near = (json.loads(item.proto.json) for item in app.get("bidi_component")[:2])
    assert [len(item["layers"]) for item in view["views"]] == [1, 1]
    assert view["src"] in view["pictures"]
    cosines = [float(tile["badge"]) for tile in near["groups"][0]["tiles"]]
    assert len(cosines) == 12
    assert cosines == sorted(cosines, reverse=True)


def test_detail_of_a_mask_that_was_not_judged(finished_run):
    app = open_detail(first_mask(finished_run, split="val"))
    assert not app.exception
    assert "Not judged" in detail_texts(app)


def test_detail_of_a_mask_that_is_not_there(finished_run):
    app = open_detail(999_999)
    assert not app.exception
    assert "999999" in app.info[0].value
    assert not app.button


def test_detail_of_a_mask_without_a_vector(editable_run):
    clusters = editable_run.clusters()
    mask_id = int(clusters["mask_id"].iloc[0])
    clusters[1:].to_parquet(editable_run.clusters_path)
    vectors = np.load(editable_run.path / "embeddings.npy")
    np.save(editable_run.path / "embeddings.npy", vectors[1:])
    app = open_detail(mask_id)
    assert not app.exception
    assert len(app.get("bidi_component")) == 1  # the photo, no neighbors


def test_detail_of_a_mask_whose_photo_is_gone(editable_run):
    images = editable_run.images()
    images["path"] = [str(Path("/nowhere") / Path(path).name) for path in images["path"]]
    images.to_parquet(editable_run.images_path)
    app = open_detail(first_mask(editable_run))
    assert not app.exception
    assert "/nowhere" in app.warning[0].value.replace("\\", "")


def test_decisions_are_written_down_and_undone(editable_run):
    mask_id = first_mask(editable_run, candidate=True)
    app = open_detail(mask_id)
    app.button(key="detail:reject").click().run()
    (mark,) = decisions.read_marks(editable_run, Scope.LABELS).to_dict("records")
    assert (mark["mask_id"], mark["action"]) == (mask_id, "reject")
    assert mark["reviewer"] in detail_texts(app)
    assert app.button(key="detail:reject").proto.type == "primary"
    app.button(key="detail:undo").click().run()
    assert decisions.read_marks(editable_run).empty
    assert 'class="undone"' in detail_texts(app)
    assert app.button(key="detail:reject").proto.type == "secondary"
    app.button(key="detail:undo").click().run()
    assert len(app.error) == 1
    assert not app.run().error


def test_relabelling_moves_the_mask_and_leaves_the_box_empty(editable_run):
    mask_id = first_mask(editable_run, candidate=True)
    app = open_detail(mask_id)
    box = app.selectbox(key="detail:relabel")
    wanted = box.options[0]
    box.set_value(int(wanted.removeprefix("cluster "))).run()
    assert f"as {wanted} by" in detail_texts(app)
    assert app.selectbox(key="detail:relabel").value is None
    assert wanted not in app.selectbox(key="detail:relabel").options  # it is there now


def test_a_decision_that_cannot_be_written_is_reported_in_place(editable_run, monkeypatch):
    app = open_detail(first_mask(editable_run, candidate=True))
    monkeypatch.setattr("getpass.getuser", lambda: " ")
    app.button(key="detail:accept").click().run()
    assert not app.exception
    assert app.error
    assert decisions.read_marks(editable_run).empty


def dialog_page():
    import streamlit as st

    from app import selection
    from app.mask_detail.dialog import open_mask, show_detail
    from app.run_view import read_run_view
    from maskdistill.review.decisions import Scope
    from maskdistill.storage.run_folder import Run, runs_folder

    selection.read_link()
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    st.button("Open", on_click=lambda: open_mask(0))
    show_detail(read_run_view(Run(runs_folder() / "tiny")), Scope.LABELS)


def test_link_with_a_mask_opens_the_dialog_and_selects_its_photo(finished_run):
    mask_id = first_mask(finished_run, split="val")
    app = open_detail(mask_id, dialog_page)
    assert not app.exception
    assert "Not judged" in detail_texts(app)
    frame = read_mask_table(finished_run).frame.set_index("mask_id")
    assert app.query_params["photo"] == frame.loc[mask_id, "image_id"]


def test_a_page_without_a_mask_has_no_dialog(finished_run):
    app = AppTest.from_function(dialog_page, default_timeout=30)
    app.query_params["run"] = "tiny"
    assert [button.label for button in app.run().button] == ["Open"]


def test_opening_a_mask_draws_the_dialog_alone(finished_run):
    app = AppTest.from_function(dialog_page, default_timeout=30)
    app.query_params["run"] = "tiny"
    app.run().button[0].click().run()
    assert not app.exception
    assert app.session_state["runs"] == 1
    assert "Accept" in [button.label for button in app.button]
    assert app.query_params["mask"] == "0"


def test_share_of_clusterings_is_a_bar_where_there_were_several():
    assert facts.share_bars(pd.Series({"share": float("nan")})) == []
    (bar,) = facts.share_bars(pd.Series({"share": 0.75}))
    assert (bar.name, bar.value) == ("Clusterings", 0.75)
    assert bar.help.startswith("Share of the clusterings")
