"""The Audit page as it opens: choices in the link, panels below the desk, and what it says without a run."""

import pytest

from app import stage_jobs
from app.audit.queue import review_labels
from app.run_view import read_run_view
from maskdistill.config import RunConfig
from maskdistill.review import decisions
from maskdistill.review.decisions import Action
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.select import write_kept


def judged(run, name, action, rows):
    """One person's word on rows of the table, mask by mask."""
    labels = review_labels(read_run_view(run))
    for row in rows:
        labels.decide(name, [row], action)


def candidates(run):
    frame = read_run_view(run).frame
    return frame.index[frame["candidate"]].tolist()


def texts(elements):
    return " ".join(element.value for element in elements)


def opened(app, label):
    """The page with an expander of it opened, as a click does it."""
    key = {"Agreement": "audit agreement", "Hand over": "audit export"}[label]
    app.session_state[key] = True
    return app.run()


def test_opens_on_the_doubtful_and_says_what_that_is(editable_run, open_page):
    app = open_page("audit", run="tiny")
    assert not app.exception
    assert app.selectbox(key="audit order").value == "doubtful"
    assert "near a threshold" in texts(app.caption)
    assert app.text_input(key="audit reviewer").value


def test_choices_stand_in_the_link(editable_run, open_page):
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
    assert "no run yet" in texts(app.info)


def test_agreement_asks_for_a_second_person_then_compares(editable_run, open_page):
    rows = candidates(editable_run)[:6]
    judged(editable_run, "Ann", Action.ACCEPT, rows)
    app = opened(open_page("audit", run="tiny", reviewer="Ann"), "Agreement")
    assert "Two people are needed" in texts(app.markdown)
    judged(editable_run, "Bob", Action.ACCEPT, rows[:3])
    judged(editable_run, "Bob", Action.REJECT, rows[3:5])
    app = app.run()
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures == {"Judged by both": "5 masks", "The same word": "60%", "Cohen's kappa": "0.00"}
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
    assert f"**cluster {cluster}**: 3 of 3 rejected." in texts(app.markdown)
    app.button(key=f"audit confirm {cluster}").click().run()
    assert not app.exception
    step = decisions.steps(editable_run)[0]
    assert step.num_masks == len(rows) - 3
    assert (decisions.effective(decisions.read_marks(editable_run), run_view.frame).decision[rows] == -1).all()
    decisions.undo(editable_run, "Ann", scope=step.scope)
    assert len(decisions.read_marks(editable_run)) == 3


def test_hand_over_says_whether_label_maps_heed_the_decisions(editable_run, open_page):
    app = opened(open_page("audit", run="tiny", reviewer="Ann"), "Hand over")
    assert "honour all decisions" in texts(app.success)
    judged(editable_run, "Ann", Action.REJECT, candidates(editable_run)[:1])
    app = app.run()
    assert "older decisions" in texts(app.warning)
    info = editable_run.info()
    config = RunConfig.from_dict(info["config"])
    run_stages(
        editable_run, info["data"], config, wanted=("pseudo_labels",), options=Options(num_workers=1, quiet=True)
    )
    app = app.run()
    assert "honour all decisions" in texts(app.success)


def test_button_paints_the_label_maps_in_the_background(editable_run, open_page, monkeypatch):
    started = []
    monkeypatch.setattr(stage_jobs, "start", lambda run, config, until: started.append((run.path, until)))
    judged(editable_run, "Ann", Action.REJECT, candidates(editable_run)[:1])
    app = opened(open_page("audit", run="tiny", reviewer="Ann"), "Hand over")
    next(button for button in app.button if button.label == "Paint label maps").click().run()
    assert not app.exception
    assert started == [(editable_run.path, "pseudo_labels")]
    assert "in the background" in texts(app.warning)


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


def test_filter_that_ran_meanwhile_is_told_and_decisions_stand(editable_run, open_page):
    rows = candidates(editable_run)[:2]
    app = open_page("audit", run="tiny", reviewer="Ann")
    judged(editable_run, "Ann", Action.ACCEPT, rows)
    config = RunConfig.from_dict(editable_run.info()["config"])
    write_kept(editable_run, editable_run, config.filter)
    sitting = app.session_state["page:review session"]
    assert not sitting.is_current()
    app = app.run()
    anew = app.session_state["page:review session"]
    assert anew.name != sitting.name
    assert anew.notice == "A stage was made anew. All decisions stand."
    assert anew.answer()["progress"]["done"] == 2
