"""Messages of the browser, the answers to them, and what is on the disk then."""

import numpy as np
from audit_browser import Browser, marks

from app import photo_cache
from app.audit.queue import audit_pool
from app.audit.review_session import NUM_CARDS, NUM_UPCOMING
from app.run_view import read_run_view
from maskdistill.errors import DatasetError, RunError
from maskdistill.review import decisions
from maskdistill.review.audit import Order
from maskdistill.review.decisions import Action, Scope


def test_every_action_is_on_the_disk_before_it_is_acknowledged(open_review, editable_run):
    tab = Browser(open_review())
    seen = []
    for kind in ("accept", "reject", "skip"):
        seen.append((tab.answer["at"], kind))
        answer = tab.press(kind)
        assert answer["acked"] == {tab.client: tab.seq}
        assert marks(editable_run) == seen
    assert decisions.read_marks(editable_run)["scope"].eq(Scope.LABELS).all()


def test_queue_is_the_candidates_of_the_filter_else_all_masks(open_review, editable_run):
    run_view = read_run_view(editable_run)
    candidates = run_view.frame.index[run_view.frame["candidate"]]
    assert set(audit_pool(run_view).rows) == set(candidates)
    editable_run.candidates_path.unlink()
    editable_run.kept_path.unlink()
    run_view = read_run_view(editable_run)
    assert len(audit_pool(run_view).rows) == len(run_view.frame)
    assert audit_pool(run_view).doubts.settings is None


def test_actions_that_come_twice_are_written_once(open_review, editable_run):
    tab = Browser(open_review())
    first, *rest = tab.answer["at"], *tab.answer["upcoming"]
    actions = [tab.action("accept", first), tab.action("reject", rest[0])]
    tab.send(actions[0], at=rest[0])
    tab.send(*actions, at=rest[1])  # the first one had not been acknowledged yet when the second was made
    assert marks(editable_run) == [(first, "accept"), (rest[0], "reject")]


def test_an_action_is_on_the_mask_it_names_whatever_is_shown(open_review, editable_run):
    tab = Browser(open_review())
    ids = [tab.answer["at"], *tab.answer["upcoming"][:2]]
    answer = tab.send(*(tab.action("reject", id) for id in ids), at=tab.answer["upcoming"][2])
    assert marks(editable_run) == [(id, "reject") for id in ids]
    assert not set(ids) & {answer["at"], *answer["upcoming"]}


def test_number_of_a_cluster_of_another_clustering_moves_nothing(open_review, editable_run):
    tab = Browser(open_review())
    ids = editable_run.clusters()["mask_id"].tolist()
    decisions.adopt(editable_run, "Bob", ids, [1 + place % 2 for place in range(len(ids))], 2, 0)
    answer = tab.press("relabel", cluster=2)
    assert "Another clustering" in answer["notice"]
    assert marks(editable_run) == []
    assert not tab.review.is_current()


def test_undo_goes_back_to_the_mask_and_redo_decides_it_again(open_review, editable_run):
    tab = Browser(open_review())
    first = tab.answer["at"]
    tab.press("reject")
    answer = tab.send(tab.action("undo"))
    assert (answer["goto"][1], marks(editable_run)) == (first, [])
    assert answer["labels"][first]["sign"] == ""
    assert str(first) in answer["notice"]
    answer = tab.send(tab.action("redo"))
    assert marks(editable_run) == [(first, "reject")]
    assert answer["labels"][first]["sign"] == "reject"
    assert "redo" in tab.send(tab.action("redo"))["notice"]
    assert marks(editable_run) == [(first, "reject")]


def test_skipped_masks_come_back_when_nothing_else_is_left(open_review):
    tab = Browser(open_review())
    skipped = tab.answer["at"]
    tab.press("skip")
    number = len(tab.review.queue)
    for _ in range(number - 1):
        assert tab.answer["at"] != skipped
        tab.press("accept")
    assert tab.answer["at"] == skipped
    answer = tab.press("reject")
    assert answer["at"] is None
    assert str(number) in answer["finished"]["title"]


def test_progress_counts_the_masks_of_the_queue_alone(open_review):
    kept = open_review(order=Order.KEPT)
    outside = int(np.flatnonzero(~kept.in_queue)[0])
    kept.store.decide("Bob", [outside], Action.REJECT)
    tab = Browser(kept)
    cluster = tab.answer["cards"][0]["cluster"]
    assert 0 < len(kept.queue) < len(kept.in_queue)
    tab.press("skip")
    tab.press("accept")
    progress = tab.press("relabel", cluster)["progress"]
    names = ("done", "total", "accepted", "rejected", "relabelled", "skipped")
    assert [progress[name] for name in names] == [2, len(kept.queue), 1, 0, 1, 1]


def test_relabelling_offers_the_own_cluster_first_and_names_it(open_review, editable_run):
    tab = Browser(open_review())
    card = tab.answer["cards"][0]
    assert card["keys"][0] == {"cluster": card["cluster"], "name": card["name"], "color": card["color"]}
    row = tab.review.at
    tab.press("relabel", cluster=card["keys"][1]["cluster"])
    assert tab.review.store.labels.everyone.labels[row] == card["keys"][1]["cluster"]
    assert decisions.read_marks(editable_run)["cluster"].tolist() == [card["keys"][1]["cluster"]]


def test_database_that_cannot_be_read_is_an_error_and_no_traceback(open_review, monkeypatch):
    tab = Browser(open_review())

    def locked(*_arguments, **_options):
        raise RunError("Another program has held it for 10 s: try again.")

    with monkeypatch.context() as patched:
        for name in ("claim", "claimed_by_others", "version", "decide"):
            patched.setattr(decisions, name, locked)
        answer = tab.send(tab.action("accept", tab.answer["at"]), at=None)
        assert "Another program" in answer["error"]
        assert answer["acked"] == {}
    assert tab.send()["error"] == ""


def test_link_opens_its_mask_unless_it_is_decided(open_review):
    review = open_review()
    other = review.answer()["upcoming"][1]
    review.start(other)
    assert review.answer()["at"] == other
    second = open_review()
    second.start(other)
    assert second.answer()["at"] is None  # it is open in the first one
    assert str(other) in second.notice
    tab = Browser(review)
    tab.press("accept")
    review.release_claims()
    fresh = open_review()
    fresh.start(other)
    assert fresh.answer()["at"] != other
    fresh.start(10**9)
    assert fresh.answer()["at"] is not None


def test_what_cannot_be_written_is_reported_and_not_acknowledged(open_review, editable_run, monkeypatch):
    tab = Browser(open_review())
    ids = [tab.answer["at"], *tab.answer["upcoming"][:1]]
    actions = [tab.action("accept", id) for id in ids]

    def full(*_arguments, **_options):
        raise RunError("The disk is full: free some space.")

    with monkeypatch.context() as patched:
        patched.setattr(decisions, "decide", full)
        answer = tab.send(*actions, at=tab.answer["upcoming"][1])
    assert answer["error"] == "The disk is full: free some space."
    assert answer["acked"] == {}
    assert marks(editable_run) == []
    assert tab.send(*actions)["acked"] == {tab.client: 2}
    assert marks(editable_run) == [(id, "accept") for id in ids]


def test_a_mask_that_is_gone_is_reported_and_the_rest_written(open_review, editable_run):
    tab = Browser(open_review())
    here = tab.answer["at"]
    answer = tab.send(tab.action("accept", 99_999), tab.action("accept", here))
    assert "99999" in answer["notice"]
    assert marks(editable_run) == [(here, "accept")]


def test_pictures_are_sent_once_and_few_at_a_time(open_review):
    tab = Browser(open_review())
    assert len(tab.answer["cards"]) <= NUM_CARDS
    assert len(tab.answer["upcoming"]) <= NUM_UPCOMING
    sent = [card["key"] for card in tab.answer["cards"]]
    for _ in range(4):
        sent += [card["key"] for card in tab.send()["cards"]]
    assert len(set(sent)) == len(sent)
    assert {f"c{id}" for id in (tab.answer["at"], *tab.answer["upcoming"])} == set(sent)
    whole = tab.send(zoom="whole")["cards"]
    assert whole[0]["key"] == f"w{tab.answer['at']}"
    photo = tab.review.cards.run_view.photos[tab.answer["at"] // 10]
    assert (whole[0]["width"], whole[0]["height"]) == (photo.width, photo.height)


def test_photo_that_is_gone_leaves_the_mask_to_be_judged(open_review, monkeypatch):
    def gone(_photo):
        raise DatasetError("There is no file ant.png any more.")

    monkeypatch.setattr(photo_cache, "pixels", gone)
    card = open_review().answer()["cards"][0]
    assert (card["photo_src"], card["problem"]) == ("", "There is no file ant.png any more.")
    assert card["mask"].startswith("data:image/png")
