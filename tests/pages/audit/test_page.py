"""The Audit page as it opens: settings in the link, panels below the annotator, and the page without a run."""

import pytest

from app import stage_jobs
from app.audit.queue import label_store, like_mended
from app.run_view import read_run_view
from maskdistill.config import RunConfig
from maskdistill.masks import decode_mask, encode_mask
from maskdistill.review import decisions
from maskdistill.review.decisions import Action
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.select import write_kept


def judged(run, name, action, rows):
    """One person's decision on rows of the table, mask by mask."""
    store = label_store(read_run_view(run))
    for row in rows:
        store.decide(name, [row], action)


def candidates(run):
    frame = read_run_view(run).frame
    return frame.index[frame["candidate"]].tolist()


def opened(app, label):
    """The page with an expander of it opened, as a click does it."""
    key = {"Agreement": "audit agreement", "Export": "audit export"}[label]
    app.session_state[key] = True
    return app.run()


def test_opens_on_the_most_doubtful(editable_run, open_page):
    app = open_page("audit", run="tiny")
    assert not app.exception
    assert app.selectbox(key="audit order").value == "doubtful"
    assert len(app.caption) >= 1
    assert app.text_input(key="audit reviewer").value


def test_settings_stand_in_the_link(editable_run, open_page):
    app = open_page("audit", run="tiny", queue="random", seed="7", reviewer="Ann", opinion="second")
    assert not app.exception
    assert app.selectbox(key="audit order").value == "random"
    assert app.number_input(key="audit seed").value == 7
    assert app.text_input(key="audit reviewer").value == "Ann"
    assert app.toggle(key="audit opinion").value
    app.selectbox(key="audit order").select("cluster").run()
    app.text_input(key="audit reviewer").input("Bob | Co").run()
    assert app.query_params["queue"] == "cluster"
    assert app.query_params["reviewer"] == "Bob   Co"
    assert not app.exception


@pytest.mark.parametrize("link", [{"queue": "backwards"}, {"seed": "x"}, {"at": "none"}, {"pair": "A|B|C"}])
def test_broken_link_opens_the_page(editable_run, open_page, link):
    app = open_page("audit", run="tiny", **link)
    assert not app.exception
    assert app.selectbox(key="audit order").value == "doubtful"


def test_asks_for_a_run_when_there_is_none(open_page, runs_folder):
    app = open_page("audit")
    assert not app.exception
    assert len(app.info) == 1
    assert not app.toggle


def test_agreement_asks_for_a_second_person_then_compares(editable_run, open_page):
    rows = candidates(editable_run)[:6]
    judged(editable_run, "Ann", Action.ACCEPT, rows)
    app = opened(open_page("audit", run="tiny", reviewer="Ann"), "Agreement")
    assert not app.metric
    judged(editable_run, "Bob", Action.ACCEPT, rows[:3])
    judged(editable_run, "Bob", Action.REJECT, rows[3:5])
    app = app.run()
    figures = {metric.label: metric.value for metric in app.metric}
    assert list(figures.values()) == ["5 masks", "60%", "0.00"]
    next(button for button in app.button if "2 disagreements" in button.label).click().run()
    assert app.selectbox(key="audit order").value == "disagreements"
    assert app.query_params["pair"] == "Ann|Bob"


def test_rest_of_a_rejected_cluster_goes_in_one_undoable_step(editable_run, open_page):
    run_view = read_run_view(editable_run)
    frame = run_view.frame[run_view.frame["candidate"]]
    cluster = int(frame["cluster"].value_counts().index[0])
    rows = frame.index[frame["cluster"] == cluster].tolist()
    assert len(rows) > 3
    judged(editable_run, "Ann", Action.REJECT, rows[:3])
    app = open_page("audit", run="tiny", reviewer="Ann")
    assert any(f"**cluster {cluster}**" in element.value and "3 of 3" in element.value for element in app.markdown)
    app.button(key=f"audit confirm {cluster}").click().run()
    assert not app.exception
    step = decisions.steps(editable_run)[0]
    assert step.num_masks == len(rows) - 3
    assert (decisions.effective(decisions.read_marks(editable_run), run_view.frame).decision[rows] == -1).all()
    decisions.undo(editable_run, "Ann", scope=step.scope)
    assert len(decisions.read_marks(editable_run)) == 3


def test_rest_of_a_cluster_does_not_overrule_what_a_colleague_decided_meanwhile(editable_run, open_page):
    frame = read_run_view(editable_run).frame
    frame = frame[frame["candidate"]]
    cluster = int(frame["cluster"].value_counts().index[0])
    rows = frame.index[frame["cluster"] == cluster].tolist()
    judged(editable_run, "Ann", Action.REJECT, rows[:3])
    app = open_page("audit", run="tiny", reviewer="Ann")
    judged(editable_run, "Bob", Action.ACCEPT, rows[3:4])  # after the button was drawn
    app.button(key=f"audit confirm {cluster}").click().run()
    assert not app.exception
    marks = decisions.read_marks(editable_run)
    standing = decisions.effective(marks, read_run_view(editable_run).frame).decision[rows].tolist()
    assert standing == [-1] * 3 + [1] + [-1] * (len(rows) - 4)
    assert str(len(rows) - 4) in app.session_state["page:review session"].notice


def test_export_shows_whether_label_maps_use_all_decisions(editable_run, open_page):
    app = opened(open_page("audit", run="tiny", reviewer="Ann"), "Export")
    assert (len(app.success), len(app.warning)) == (1, 0)
    judged(editable_run, "Ann", Action.REJECT, candidates(editable_run)[:1])
    app = app.run()
    assert (len(app.success), len(app.warning)) == (0, 1)
    info = editable_run.info()
    config = RunConfig.from_dict(info["config"])
    run_stages(
        editable_run, info["data"], config, wanted=("pseudo_labels",), options=Options(num_workers=1, quiet=True)
    )
    app = app.run()
    assert (len(app.success), len(app.warning)) == (1, 0)


def test_button_makes_the_label_maps_in_the_background(editable_run, open_page, monkeypatch):
    started = []
    monkeypatch.setattr(stage_jobs, "start", lambda run, config, until: started.append((run.path, until)))
    judged(editable_run, "Ann", Action.REJECT, candidates(editable_run)[:1])
    app = opened(open_page("audit", run="tiny", reviewer="Ann"), "Export")
    app.button(key="audit label maps").click().run()
    assert not app.exception
    assert started == [(editable_run.path, "pseudo_labels")]


def test_details_of_a_mask_open_from_the_link(editable_run, open_page):
    mask_id = int(read_run_view(editable_run).frame["mask_id"].iat[candidates(editable_run)[2]])
    app = open_page("audit", run="tiny", mask=str(mask_id))
    assert not app.exception
    assert app.session_state["page:review session"].answer()["at"] == mask_id


def test_masks_are_free_for_others_as_soon_as_another_page_is_open(editable_run, open_page):
    app = open_page("audit", run="tiny", reviewer="Ann")
    assert decisions.claimed_by_others(editable_run, "Bob")
    app.switch_page("../pages/clusters.py").run()
    assert not app.exception
    assert not decisions.claimed_by_others(editable_run, "Bob")
    app.switch_page("../pages/audit.py").run()
    assert decisions.claimed_by_others(editable_run, "Bob")


def test_filter_that_ran_meanwhile_is_noticed_and_decisions_stand(editable_run, open_page):
    rows = candidates(editable_run)[:2]
    app = open_page("audit", run="tiny", reviewer="Ann")
    judged(editable_run, "Ann", Action.ACCEPT, rows)
    config = RunConfig.from_dict(editable_run.info()["config"])
    write_kept(editable_run, editable_run, config.filter)
    review = app.session_state["page:review session"]
    assert not review.is_current()
    app = app.run()
    anew = app.session_state["page:review session"]
    assert anew.name != review.name
    assert anew.notice
    assert anew.answer()["progress"]["done"] == 2


def test_masks_like_those_that_one_mended_come_in_an_order_of_their_own(editable_run, open_page):
    run_view = read_run_view(editable_run)
    mask_id = int(run_view.frame["mask_id"].iat[0])
    link = {"run": "tiny", "reviewer": "Ann", "queue": "like-mended"}
    app = open_page("audit", **link)
    assert not app.exception
    code = run_view.codes.code(mask_id)
    mask = decode_mask(code)
    mask[: mask.shape[0] // 2] = False
    change = decisions.MaskChange(mask_id, code, encode_mask(mask if mask.any() else ~mask))
    image = run_view.frame["image_id"].iat[0]
    decisions.repair(editable_run, "Ann", image, [change], tool=decisions.Tool.CLICK)
    found = like_mended(run_view, "Ann")
    assert 0 not in found
    assert {mended for _, mended in found.values()} == {mask_id}
    assert [value for value, _ in found.values()] == sorted((value for value, _ in found.values()), reverse=True)
    assert like_mended(run_view, "Bob") == {}
    app = open_page("audit", **link)
    assert not app.exception
    assert app.selectbox(key="audit order").value == "like-mended"
