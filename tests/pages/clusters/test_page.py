"""The Clusters page on a small finished run; the map and the table themselves are driven in a browser's tests."""

import gc
import os
import re
import shutil

import pytest
from jobs_data import add_row
from shown_page import button, labels, texts

from app import stage_jobs
from app.run_view import DecisionView
from app.session import Key
from maskdistill.clustering.alternatives import AlternativeKey, list_alternatives, make_alternatives
from maskdistill.errors import RunError
from maskdistill.files import write_json
from maskdistill.jobs import JobState, Submitted, list_jobs
from maskdistill.jobs.processes import ProcessId
from maskdistill.masks import decode_mask, encode_mask
from maskdistill.review import decisions
from maskdistill.review.decisions import Action, Mark, MaskChange, Scope, Tool
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run


def open_clusters(open_page, **link):
    app = open_page("clusters", run="tiny", reviewer="tess", **link)
    assert not app.exception
    return app


def number_selected(app):
    """How many masks the headline of the selection says there are."""
    found = re.match(r"\d+", app.subheader[0].value)
    return int(found[0]) if found else 0


def tick(app, *clusters):
    app.session_state[f"page:{Key.TICKED}"] = ("tiny", set(clusters))
    return app.run()


def test_asks_for_a_run(open_page):
    assert open_page("clusters").info


def test_says_what_to_do_before_there_are_clusters(open_page, editable_run):
    editable_run.clusters_path.unlink()
    app = open_page("clusters", run="tiny")
    assert not app.exception
    assert app.info
    assert not app.subheader


def test_opens_with_nothing_selected_and_says_how_to_select(open_page, finished_run):
    app = open_clusters(open_page)
    assert number_selected(app) == 0
    assert "lasso" in texts(app)
    assert button(app, "Merge").disabled


def test_offers_to_make_the_map_and_starts_it(open_page, editable_run, monkeypatch):
    asked = []

    def note(*arguments):
        asked.append(arguments)
        return Submitted(None, True)

    monkeypatch.setattr(stage_jobs, "start", note)
    app = open_clusters(open_page)
    button(app, "Make the UMAP").click().run()
    assert not app.exception
    assert [arguments[2] for arguments in asked] == ["projection"]


def test_selection_of_a_link_shows_and_survives_recolouring(open_page, finished_run):
    app = open_clusters(open_page, picked="cluster:1")
    size = int((finished_run.clusters()["cluster"] == 1).sum())
    assert number_selected(app) == size
    assert f"Reject {size}" in labels(app)
    for mode in ("score", "kept", "decision", "truth", "cluster"):
        app.selectbox(key="clusters:colour").set_value(mode).run()
        assert not app.exception
        assert app.query_params["colour"] == mode
        assert number_selected(app) == size


def test_earlier_decisions_leave_memory_as_the_page_goes_on(open_page, editable_run):
    """Streamlit keeps the functions of every widget that a session ever drew: they must not keep what they show."""
    app = open_clusters(open_page, picked="cluster:1")
    for cluster, name in ((1, "ants"), (2, "bees"), (3, "cats"), (1, "dogs"), (2, "eels")):
        decisions.rename(editable_run, "tess", cluster, name)
        app.run()
        assert not app.exception
    gc.collect()
    alive = [item.version for item in gc.get_objects() if isinstance(item, DecisionView) and item.version]
    assert alive == [5]


def test_cluster_of_another_page_is_selected(open_page, finished_run):
    app = open_clusters(open_page, cluster="2")
    size = int((finished_run.clusters()["cluster"] == 2).sum())
    assert number_selected(app) == size


@pytest.mark.parametrize("picked", ["cluster:x", "lasso:umap.123:AAAA", "ids:*AAAA", "nonsense"])
def test_damaged_selection_is_cleared_with_a_notice(open_page, finished_run, picked):
    app = open_clusters(open_page, picked=picked)
    assert app.warning
    assert number_selected(app) == 0


@pytest.mark.parametrize("order", ["centre", "border", "belief", "photo", "random"])
def test_crops_can_be_sorted(open_page, finished_run, order):
    app = open_clusters(open_page, picked="cluster:1", crops=order)
    assert app.selectbox(key="clusters:crops").value == order


def test_rejecting_is_one_step_that_can_be_undone_and_done_again(open_page, editable_run):
    app = open_clusters(open_page, picked="cluster:1")
    size = int((editable_run.clusters()["cluster"] == 1).sum())
    button(app, f"Reject {size}").click().run()
    assert not app.exception
    assert number_selected(app) == 0  # rejected masks are in no cluster
    assert (decisions.read_classes(editable_run).cluster == 0).sum() == size
    app.button(key="clusters:Undo:top").click().run()
    assert number_selected(app) == size
    assert (decisions.read_classes(editable_run).cluster == 0).sum() == 0
    app.button(key="clusters:Redo:top").click().run()
    assert (decisions.read_classes(editable_run).cluster == 0).sum() == size
    assert {step.reviewer for step in decisions.steps(editable_run)} == {"tess"}


def test_only_the_marked_ones_are_acted_on(open_page, editable_run):
    ids = editable_run.clusters().query("cluster == 1")["mask_id"].tolist()
    app = open_clusters(open_page, picked="cluster:1")
    app.session_state[f"page:{Key.MARKED}"] = ("cluster:1", [*ids[:2], 999_999])
    app.run()
    button(app, "Accept 2").click().run()
    assert not app.exception
    marks = decisions.read_marks(editable_run)
    assert sorted(marks["mask_id"]) == sorted(ids[:2])
    assert set(marks["scope"]) == {Scope.CLUSTERS}


def test_masks_are_moved_to_another_cluster(open_page, editable_run):
    app = open_clusters(open_page, picked="cluster:1")
    size = int((editable_run.clusters()["cluster"] == 1).sum())
    assert button(app, f"Move {size}").disabled
    app.selectbox(key="clusters:target:0").set_value(2).run()
    button(app, f"Move {size}").click().run()
    assert not app.exception
    assert not (decisions.read_classes(editable_run).cluster == 1).any()


def test_masks_become_a_new_cluster_with_a_name(open_page, editable_run):
    table = editable_run.clusters()
    ids = [int(table.query(f"cluster == {number}")["mask_id"].iloc[0]) for number in (1, 2)]
    app = open_clusters(open_page, picked=f"ids:{ids[0]},{ids[1]}")
    app.selectbox(key="clusters:target:0").set_value(0).run()
    app.text_input(key="clusters:new name:0").input("watermarks").run()
    button(app, "Move 2").click().run()
    assert not app.exception
    classes = decisions.read_classes(editable_run)
    assert classes.name_of(classes.num_classes) == "watermarks"
    assert number_selected(app) == 2
    assert app.query_params["picked"] == f"cluster:{classes.num_classes}"


def decide_meanwhile(run, mask_id, action, cluster=None):
    """A colleague decides on a mask after the page was drawn."""
    row = run.masks().set_index("mask_id").loc[mask_id]
    box = tuple(int(row[f"bbox_{side}"]) for side in "xywh")
    mark = decisions.Mark(mask_id, row["image_id"], box, decisions.Action(action), cluster)
    decisions.decide(run, "colleague", [mark], scope=Scope.LABELS)


@pytest.mark.parametrize("label", ["Reject", "Accept", "Move", "Move to a new cluster"])
def test_what_a_colleague_decided_meanwhile_is_left_alone_and_counted(open_page, editable_run, label):
    ids = editable_run.clusters().query("cluster == 1")["mask_id"].tolist()
    app = open_clusters(open_page, picked="cluster:1")
    if label.startswith("Move"):
        app.selectbox(key="clusters:target:0").set_value(0 if "new" in label else 2).run()
    decide_meanwhile(editable_run, ids[0], "accept")
    decide_meanwhile(editable_run, ids[1], "reject")
    button(app, f"{label.split()[0]} {len(ids)}").click().run()
    assert not app.exception
    step = decisions.steps(editable_run)[0]
    assert (step.reviewer, step.num_masks) == ("tess", len(ids) - 2)
    marks = decisions.read_marks(editable_run)
    assert marks[marks["mask_id"].isin(ids[:2])]["reviewer"].tolist() == ["colleague"] * 2
    assert "2 of these masks" in texts(app)


def test_undo_button_does_not_undo_what_another_tab_did_meanwhile(open_page, editable_run):
    decisions.rename(editable_run, "tess", 1, "shown")
    app = open_clusters(open_page)
    decisions.rename(editable_run, "tess", 2, "of another tab")
    app.button(key="clusters:Undo:top").click().run()
    assert not app.exception
    assert decisions.read_classes(editable_run).names == {1: "shown", 2: "of another tab"}
    assert "of another tab" in texts(app)
    app.button(key="clusters:Undo:top").click().run()
    assert decisions.read_classes(editable_run).names == {1: "shown"}


def test_undo_takes_back_mended_masks_and_changes_of_clusters_in_their_order_and_leaves_what_the_audit_decided(
    open_page, editable_run
):
    codes = MaskCodes.open(editable_run)
    mask_id = int(codes.ids[0])
    before, photo = codes.code(mask_id), editable_run.masks().set_index("mask_id")["image_id"].at[mask_id]
    after = encode_mask(~decode_mask(before))
    decisions.repair(editable_run, "tess", photo, [MaskChange(mask_id, before, after)], tool=Tool.CLICK)
    decisions.rename(editable_run, "tess", 1, "cup")
    accepted = Mark(mask_id, photo, tuple(codes.box(mask_id)), Action.ACCEPT)
    decisions.decide(editable_run, "tess", [accepted], scope=Scope.LABELS)
    app = open_clusters(open_page)
    for names, mended in (({}, 1), ({}, 0)):
        app.button(key="clusters:Undo:top").click().run()
        assert not app.exception
        assert decisions.read_classes(editable_run).names == names
        assert len(decisions.read_repairs(editable_run).forms) == mended
    assert not any(label.startswith("Undo") for label in labels(app))
    assert decisions.next_undo(editable_run, "tess", scope=Scope.LABELS) is not None
    for name, mended in (({}, 1), ({1: "cup"}, 1)):
        app.button(key="clusters:Redo:top").click().run()
        assert decisions.read_classes(editable_run).names == name
        assert len(decisions.read_repairs(editable_run).forms) == mended


def test_numbers_of_a_clustering_that_was_replaced_meanwhile_move_nothing(open_page, editable_run):
    app = open_clusters(open_page, picked="cluster:1")
    app.selectbox(key="clusters:target:0").set_value(2).run()
    ids = editable_run.clusters()["mask_id"].tolist()
    decisions.adopt(editable_run, "colleague", ids, [1 + place % 2 for place in range(len(ids))], 2, 0)
    before = decisions.version(editable_run)
    button(app, "Move").click().run()
    assert not app.exception
    assert decisions.version(editable_run) == before
    assert "Another clustering" in texts(app)


def test_clusters_are_merged_and_the_merge_is_undone(open_page, editable_run):
    app = tick(open_clusters(open_page), 1, 3)
    button(app, "Merge").click().run()
    assert not app.exception
    assert set(decisions.read_classes(editable_run).cluster) == {1, 2}
    app.button(key="clusters:Undo:top").click().run()
    assert set(decisions.read_classes(editable_run).cluster) == {1, 2, 3}


def test_cluster_is_excluded_and_included_again(open_page, editable_run):
    app = tick(open_clusters(open_page, picked="cluster:2"), 2)
    button(app, "Exclude").click().run()
    assert decisions.read_classes(editable_run).excluded == {2}
    size = int((editable_run.clusters()["cluster"] == 2).sum())
    assert number_selected(app) == size  # it can be looked at still
    button(app, "Include").click().run()
    assert not decisions.read_classes(editable_run).excluded


@pytest.mark.parametrize("left_out", [True, False])
def test_cluster_of_bad_masks_is_named_and_can_be_taken_back(open_page, editable_run, left_out):
    path = editable_run.path / "clusters.json"
    write_json(path, read_json(path) | {"doubtful": {"2": 0.61}, "left_out": [2] if left_out else []})
    app = tick(open_clusters(open_page), 2)
    (named,) = (item.value for item in app.caption if "bad masks" in item.value)
    assert "cluster 2 (61%)" in named
    assert ("Include" in named) == left_out
    assert decisions.read_classes(editable_run).excluded == ({2} if left_out else set())
    button(app, "Include" if left_out else "Exclude").click().run()
    assert decisions.read_classes(editable_run).excluded == (set() if left_out else {2})


def test_cluster_is_split_after_a_look_at_its_parts(open_page, editable_run):
    app = tick(open_clusters(open_page), 1)
    button(app, "Split …").click().run()
    assert not app.exception
    assert "Part 1" in texts(app)
    assert not decisions.version(editable_run)
    app.button(key="clusters:do split").click().run()
    assert set(decisions.read_classes(editable_run).cluster) == {1, 2, 3, 4}


def test_other_clusterings_are_tried_compared_and_adopted(open_page, editable_run):
    app = open_clusters(open_page, below="trials")
    assert app.info
    app.text_input(key="clusters:numbers").input("2, 4")
    button(app, "Try").click().run()
    assert not app.exception
    assert [item.key.num_classes for item in list_alternatives(editable_run)] == [2, 4]
    assert len([label for label in labels(app) if label == "Adopt it"]) == 2
    app.button(key="clusters:adopt:k4-s0").click().run()
    assert not app.exception
    assert decisions.read_classes(editable_run).num_classes == 4
    assert "4 clusters" in app.selectbox(key="clusters:colour").options[-1]


@pytest.mark.parametrize(("typed", "message"), [("twelve", "twelve"), ("1", "2 to 254"), ("", "12, 15")])
def test_impossible_numbers_are_an_error(open_page, finished_run, typed, message):
    app = open_clusters(open_page, below="trials")
    app.text_input(key="clusters:numbers").input(typed)
    button(app, "Try").click().run()
    assert message in app.error[0].value


def test_large_run_is_clustered_in_the_background(open_page, editable_run, monkeypatch):
    asked = []
    monkeypatch.setattr("app.clusters.alternatives_jobs.AT_ONCE", 1)
    monkeypatch.setattr("app.clusters.alternatives_jobs.submit_command", lambda *args, **options: asked.append(args[1]))
    app = open_clusters(open_page, below="trials")
    app.text_input(key="clusters:numbers").input("2 5")
    app.number_input(key="clusters:seed").set_value(3)
    button(app, "Try").click().run()
    button(app, "Draw the curve").click().run()
    assert not app.exception
    assert asked == [["try", "--num-classes", "2", "5", "--seed", "3"], ["try", "--curve"]]


def test_curve_is_drawn_on_request(open_page, editable_run):
    app = open_clusters(open_page, below="trials")
    button(app, "Draw the curve").click().run()
    assert not app.exception
    assert "clusters:make curve" not in [item.key for item in app.button]


def test_alternative_is_deleted(open_page, editable_run):
    make_alternatives(editable_run, [AlternativeKey(2, 0)])
    app = open_clusters(open_page, below="trials", colour="k2-s0")
    app.button(key="clusters:delete:k2-s0").click().run()
    assert not app.exception
    assert list_alternatives(editable_run) == []


def test_two_runs_do_not_share_ticks(open_page, editable_run, runs_folder):
    Run(shutil.copytree(editable_run.path, runs_folder / "other"))
    app = tick(open_clusters(open_page), 1, 2)
    assert not button(app, "Merge").disabled
    app.query_params.clear()
    app.query_params["run"] = "other"
    app.run()
    assert button(app, "Merge").disabled


def lock(monkeypatch, name):
    """Reading by that function fails, as while another program holds the database."""

    def fail(*arguments, **options):
        raise RunError("run.sqlite is locked.")

    monkeypatch.setattr(name, fail)


def test_locked_jobs_are_a_notice_beside_the_map(open_page, finished_run, monkeypatch):
    lock(monkeypatch, "maskdistill.jobs.table.reading")
    app = open_clusters(open_page)
    assert button(app, "Make the UMAP")
    assert "locked" in "".join(item.value for item in app.run().warning)


def test_selection_that_cannot_be_read_now_stays_in_the_link(open_page, finished_run, monkeypatch):
    lock(monkeypatch, "app.clusters.mask_selection.views")
    app = open_clusters(open_page, picked="view:0123")
    assert "locked" in app.error[0].value
    assert app.session_state["selection"].picked == "view:0123"


def test_error_in_one_part_of_the_page_leaves_the_others(open_page, finished_run, monkeypatch):
    lock(monkeypatch, "app.clusters.tabs_below_map.decision_view")
    app = open_clusters(open_page, picked="cluster:1")
    assert "locked" in app.error[0].value
    assert number_selected(app) > 0


@pytest.mark.parametrize(("command", "stop"), [("project", "stop:map:tiny"), ("try", "stop:alternatives:tiny")])
def test_running_job_is_followed_and_can_be_stopped(open_page, editable_run, command, stop):
    process = ProcessId.of(os.getpid())
    add_row(editable_run.path, arguments=[command], stage="3 of it", done=1, total=4, process=process)
    app = open_clusters(open_page, below="trials")
    assert "Make the UMAP" not in labels(app) or command == "try"
    app.button(key=stop).click().run()
    assert list_jobs(editable_run.path)[0].state is JobState.STOPPING
