"""The Filter page on a small finished run: what it keeps, its galleries, presets, decisions, and what it starts."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from jobs_data import add_row
from shown_page import button, component, detail_texts, texts

from app import stage_jobs
from app.filter import histograms
from app.filter.data import read_candidates, result_of, verdict_on_show
from app.mask_detail.facts import verdict_by
from app.run_context import run_config
from app.run_view import read_run_view
from maskdistill.config import FilterConfig
from maskdistill.errors import RunError
from maskdistill.jobs import Submitted
from maskdistill.jobs.processes import ProcessId
from maskdistill.pseudo_labels.filter import REJECTED, THRESHOLDS, filter_masks
from maskdistill.pseudo_labels.filter_presets import presets
from maskdistill.pseudo_labels.signals import MaskSignals
from maskdistill.review import decisions
from maskdistill.review.decisions import Action, Mark, Scope
from maskdistill.stages.select import write_kept


def open_filter(open_page, *settings, **link):
    app = open_page("filter", run="tiny", set=[f"filter.{item}" for item in settings], **link)
    assert not app.exception
    return app


def tiles(app, side):
    return [tile["id"] for tile in component(app, f"filter:{side}")["groups"][0]["tiles"]]


def expected(run, **values):
    """What the library keeps of the run's candidates, with these settings in place of the run's own."""
    config = replace(run_config(run.info()).filter, **values)
    return filter_masks(MaskSignals.from_columns(run.candidates()), config)


def test_asks_for_a_run(open_page):
    assert open_page("filter").info


def test_histograms_are_counted_once_for_each_state_of_thresholds_and_decisions(open_page, editable_run, monkeypatch):
    counted, count = [], histograms.histogram
    monkeypatch.setattr(histograms, "histogram", lambda *given: counted.append(given[2]) or count(*given))
    app = open_filter(open_page, "min_score=0.3")
    cards = component(app, "filter:histograms")["cards"]
    assert len(counted) == len(cards)
    assert component(app.run(), "filter:histograms")["cards"] == cards
    assert component(open_filter(open_page, "min_score=0.3"), "filter:histograms")["cards"] == cards
    assert len(counted) == len(cards)
    assert component(open_filter(open_page, "min_score=0.4"), "filter:histograms")["cards"] != cards
    frame = read_run_view(editable_run).frame
    row = np.flatnonzero(frame["candidate"])[0]
    box = tuple(int(frame[name][row]) for name in "xywh")
    mark = Mark(int(frame["mask_id"][row]), frame["image_id"][row], box, Action.ACCEPT)
    decisions.decide(editable_run, "tess", [mark], scope=Scope.LABELS)
    after = component(open_filter(open_page, "min_score=0.3"), "filter:histograms")["cards"]
    assert sum(after[0]["accepted"]) == sum(cards[0]["accepted"]) + 1


def test_asks_for_candidates(open_page, editable_run):
    editable_run.candidates_path.unlink()
    app = open_filter(open_page)
    assert app.info
    assert not app.get("bidi_component")


def test_link_puts_thresholds_on_show_and_counts_what_they_keep(open_page, finished_run):
    table = finished_run.candidates()
    middle = float(table["score"].median())
    app = open_filter(open_page, f"min_score={middle}", "min_iou=0", border="min_score")
    result = expected(finished_run, min_score=middle, min_iou=0)
    shown = component(app, "filter:histograms")
    assert (shown["masks"], shown["numMasks"]) == (result.kept.sum(), len(table))
    assert (shown["photos"], shown["numPhotos"]) == result.photos()[:2]
    assert button(app, "Train stage 2").label == f"Train stage 2 on {result.kept.sum()} masks"
    rules = {item["id"]: item["count"] for item in component(app, "filter:rules")["items"]}
    assert rules == {"kept": result.kept.sum(), "low score": (~result.kept).sum()}
    clusters = {int(item["id"]): item["count"] for item in component(app, "filter:clusters")["items"]}
    assert clusters == {cluster: count.kept for cluster, count in result.clusters().items()}
    assert sorted(tiles(app, "kept")) == sorted(table["mask_id"][result.kept])
    nearest = table[~result.kept].sort_values("score", ascending=False, kind="stable")["mask_id"]
    assert tiles(app, "dropped") == nearest.tolist()


def test_curve_sent_says_what_the_filter_keeps_at_each_stop(open_page, finished_run):
    card = component(open_filter(open_page), "filter:histograms")["cards"][0]
    handle = card["handles"][0]
    assert (card["signal"], handle["field"], card["steps"]) == ("score", "min_score", [[1, 0.01]])
    for place, count in enumerate(handle["masks"]):
        assert count == expected(finished_run, min_score=place / 100).kept.sum()


def test_photos_that_keep_their_best_are_sent_as_one_number(open_page, finished_run):
    app = open_filter(open_page, "empty_photos=best")
    handle = component(app, "filter:histograms")["cards"][0]["handles"][0]
    assert handle["photos"] == [expected(finished_run).photos().total]


def test_nothing_kept_cannot_be_trained_on_and_says_what_to_do(open_page, finished_run):
    app = open_filter(open_page, "min_score=1", "empty_photos=none", border="min_score")
    assert button(app, "Train stage 2 on 0 masks").disabled
    assert tiles(app, "kept") == []
    assert component(app, "filter:kept")["empty"]
    assert all("warning" in item for item in component(app, "filter:clusters")["items"])


def test_nothing_dropped_says_how_to_drop(open_page, finished_run):
    app = open_filter(open_page, border="min_score")
    assert tiles(app, "dropped") == []
    nothing_is_left = component(open_filter(open_page, "min_score=1"), "filter:dropped")["empty"]
    assert component(app, "filter:dropped")["empty"] != nothing_is_left


def test_rule_and_cluster_restrict_the_gallery(open_page, finished_run):
    table = finished_run.candidates()
    result = expected(finished_run, min_score=1, min_iou=0)
    cluster = int(table["cluster"].mode()[0])
    rows = ~result.kept & (table["cluster"] == cluster)
    link = {"rule": "low score", "cluster": str(cluster)}
    app = open_filter(open_page, "min_score=1", "min_iou=0", **link)
    assert set(tiles(app, "dropped")) == set(table["mask_id"][rows])
    assert app.selectbox(key="filter:border").disabled
    button(app, "low score").click().run()
    assert not app.selectbox(key="filter:border").disabled
    assert "rule" not in app.query_params
    button(app, f"cluster {cluster}").click().run()
    assert set(tiles(app, "dropped")) == set(table["mask_id"][~result.kept])


def test_unknown_rule_of_a_link_is_left_out_with_a_notice(open_page, finished_run):
    app = open_filter(open_page, rule="low scor", border="min_scor")
    assert "rule=low scor" in texts(app)
    assert "border=min\\_scor" in texts(app)


def test_decisions_are_in_force_at_once_and_undone(open_page, editable_run):
    app = open_filter(open_page, "min_score=1", "min_iou=0", border="min_score")
    chosen = tiles(app, "dropped")[:2]
    assert button(app, "Accept").disabled
    app.session_state["page:filter marks"] = tuple(chosen)
    app.run()
    button(app, "Accept 2").click().run()
    assert component(app, "filter:histograms")["masks"] == 2
    assert not set(chosen) & set(tiles(app, "dropped"))
    marks = decisions.read_marks(editable_run)
    assert sorted(marks["mask_id"]) == sorted(chosen)
    assert set(marks["scope"]) == {Scope.LABELS}
    app.button(key="filter:undo").click().run()
    assert component(app, "filter:histograms")["masks"] == 0
    assert app.button(key="filter:undo").disabled


def test_what_a_colleague_decided_meanwhile_is_left_alone_and_counted(open_page, editable_run):
    app = open_filter(open_page, "min_score=1", "min_iou=0", border="min_score")
    chosen = tiles(app, "dropped")[:3]
    app.session_state["page:filter marks"] = tuple(chosen)
    app.run()
    row = editable_run.masks().set_index("mask_id").loc[chosen[0]]
    box = tuple(int(row[f"bbox_{side}"]) for side in "xywh")
    mark = decisions.Mark(chosen[0], row["image_id"], box, decisions.Action.REJECT)
    decisions.decide(editable_run, "colleague", [mark], scope=Scope.LABELS)
    button(app, "Accept 3").click().run()
    marks = decisions.read_marks(editable_run)
    assert dict(zip(marks["mask_id"], marks["action"], strict=True)) == {
        chosen[0]: "reject",
        **dict.fromkeys(chosen[1:], "accept"),
    }
    assert "1 of these masks" in texts(app)


def test_page_keeps_what_the_stage_would_keep_after_decisions(open_page, editable_run):
    app = open_filter(open_page, "min_score=0.5", border="min_score")
    rejected = tiles(app, "kept")[0]
    app.session_state["page:filter marks"] = (rejected,)
    app.run()
    button(app, "Reject 1").click().run()
    config = replace(run_config(editable_run.info()).filter, min_score=0.5)
    found = read_candidates(read_run_view(editable_run))
    written = write_kept(editable_run, editable_run, config)
    np.testing.assert_array_equal(filter_masks(found.signals, config).rule, written.rule)
    assert verdict_on_show(read_run_view(editable_run), rejected) == verdict_by(REJECTED, kept=False)
    assert verdict_on_show(read_run_view(editable_run), 999_999) is None


def test_detail_tells_what_the_thresholds_on_show_would_do(open_page, editable_run):
    kept = editable_run.kept()
    link = {"mask": str(kept.loc[kept["kept"], "mask_id"].iloc[0])}
    assert "low score" not in detail_texts(open_filter(open_page, **link))
    strict = open_filter(open_page, "min_score=1", "min_per_cluster=0", "empty_photos=none", **link)
    assert "low score" in detail_texts(strict)


def test_preset_is_saved_loaded_and_deleted(open_page, editable_run):
    app = open_filter(open_page, "min_score=0.6", "max_area=0.5")
    app.text_input(key="filter preset name").set_value("strict")
    button(app, "Save preset").click().run()
    own = run_config(editable_run.info()).filter
    assert presets(editable_run, own)["strict"] == FilterConfig(**{**vars(own), "min_score": 0.6, "max_area": 0.5})
    assert app.selectbox(key="filter:preset").value == "strict"
    app.selectbox(key="filter:preset").set_value("everything").run()
    assert component(app, "filter:histograms")["masks"] == len(editable_run.candidates())
    table = next(item.value for item in app.dataframe if "Preset" in item.value)
    assert table["Preset"].tolist() == ["as shown", "everything", "published (0.9)", "the run's own", "strict"]
    assert table["Masks"].iloc[-1] == expected(editable_run, **vars(presets(editable_run, own)["strict"])).kept.sum()


def test_preset_without_a_name_is_not_saved_and_says_so(open_page, editable_run):
    app = open_filter(open_page)
    button(app, "Save preset").click().run()
    assert app.warning
    assert presets(editable_run, run_config(editable_run.info()).filter).keys() == {
        *("everything", "published (0.9)", "the run's own")
    }


def test_plain_settings_go_into_the_link(open_page, finished_run):
    app = open_filter(open_page)
    app.slider(key="control:filter.keep_share").set_value(0.5).run()
    app.number_input(key="control:filter.min_per_cluster").set_value(5).run()
    assert set(app.query_params["set"]) == {"filter.keep_share=0.5", "filter.min_per_cluster=5"}
    assert any(item["id"] == "best of its cluster" for item in component(app, "filter:rules")["items"])


def test_thresholds_stay_when_somebody_filters_the_run_anew(open_page, editable_run):
    app = open_filter(open_page, "max_area=0.5")
    before = component(app, "filter:histograms")["masks"]
    info = editable_run.info()
    info["config"]["filter"] |= {"min_score": 0.99, "max_area": 0.3}
    editable_run.write_info(info)
    app.run()
    assert component(app, "filter:histograms")["masks"] == before
    assert app.warning
    assert "filter.max_area=0.5" in app.query_params["set"]


def test_what_is_on_disk_is_compared_with_what_is_shown(open_page, finished_run):
    total = int(finished_run.kept()["kept"].sum())
    same, other = open_filter(open_page), open_filter(open_page, "min_score=1", "empty_photos=none")
    assert f":green[●] The run itself keeps the same {total} masks" in texts(same)
    assert f"{total} masks differ" in texts(other)


def test_quality_is_shown_with_ground_truth_and_marked(open_page, editable_run):
    assert "For reporting only" in texts(open_filter(open_page))


def test_quality_is_not_there_without_ground_truth(open_page, editable_run):
    info = editable_run.info()
    editable_run.write_info({**info, "source": {**info["source"], "has_labels": False}})
    (editable_run.path / "mask_truth.parquet").unlink(missing_ok=True)
    assert "For reporting only" not in texts(open_filter(open_page))


def test_shown_thresholds_are_sent_to_stage_2(open_page, editable_run, monkeypatch):
    calls = []

    def note(run, changes):
        calls.append((run.path, changes))
        return Submitted(type("Job", (), {"id": 7})(), True)

    monkeypatch.setattr(stage_jobs, "train_on_kept", note)
    app = open_filter(open_page, "min_score=0.25")
    button(app, "Train stage 2").click().run()
    assert not calls
    button(app, "Train stage 2").click()  # the dialog is drawn in the same run, as it would be alone
    button(app, "Start").click().run()
    ((path, changes),) = calls
    assert path == editable_run.path
    assert "filter.min_score=0.25" in changes
    assert run_config(editable_run.info()).with_overrides(changes).filter.min_score == 0.25
    assert len(changes) == len(vars(FilterConfig()))
    assert "Job 7" in app.success[0].value


def test_stale_stage_and_running_job_are_shown(open_page, editable_run):
    info = editable_run.info()
    info["config"]["stage1"]["epochs"] += 1
    editable_run.write_info(info)
    add_row(editable_run.path, stage="stage1", process=ProcessId.of(os.getpid()))
    app = open_filter(open_page)
    assert "Stage 1" in app.warning[0].value
    assert "Stage 1" in app.info[0].value


@pytest.mark.parametrize("field", ["max_distance", "all"])
def test_every_border_has_a_gallery(open_page, finished_run, field):
    app = open_filter(open_page, "min_score=0.3", border=field)
    assert app.selectbox(key="filter:border").value == field
    assert tiles(app, "kept")


def test_locked_database_is_an_error_on_the_page(open_page, finished_run, monkeypatch):
    def fail(*arguments, **options):
        raise RunError("run.sqlite is locked.")

    monkeypatch.setattr(decisions, "steps", fail)
    assert "locked" in open_filter(open_page).error[0].value


def test_sessions_that_ask_for_the_same_thresholds_get_the_same_result(finished_run):
    found, config = read_candidates(read_run_view(finished_run)), run_config(finished_run.info()).filter
    configs = [replace(config, min_score=step / 50) for step in range(50)] * 2
    with ThreadPoolExecutor(4) as sessions:
        results = list(sessions.map(lambda one: result_of(found, one), configs))
    for one, result in zip(configs, results, strict=True):
        np.testing.assert_array_equal(result.kept, filter_masks(found.signals, one).kept)


def test_two_sessions_count_from_what_is_read_once(finished_run):
    run_view, axis = read_run_view(finished_run), histograms._AXES["score"]
    moved = next(item for item in THRESHOLDS if item.field == "min_score")

    def count(least):
        candidates, config = read_candidates(run_view), FilterConfig(min_agreement=least, empty_photos="none")
        return candidates, histograms._handle(candidates, config, axis, moved)["masks"]

    shares = (0.0, 0.9)
    with ThreadPoolExecutor(2) as sessions:
        (one, first), (other, second) = sessions.map(count, shares)
    assert one is other
    for share, found in zip(shares, (first, second), strict=True):
        configs = [
            FilterConfig(min_agreement=share, min_score=stop, empty_photos="none") for stop in axis.stops.tolist()
        ]
        kept = [int(filter_masks(one.signals, config).kept.sum()) for config in configs]
        assert found == (kept if len(set(kept)) > 1 else kept[:1])
    assert len(first) > 1
