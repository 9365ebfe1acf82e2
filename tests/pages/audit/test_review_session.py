"""Messages of the browser, the answers to them, and what is on the disk then."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app import photo_cache
from app.audit import label_store, review_session
from app.audit.attendance import Attendance
from app.audit.label_store import LabelStore
from app.audit.mask_cards import Cards
from app.audit.queue import QueueSettings, audit_pool, queue_of
from app.audit.review_session import NUM_CARDS, NUM_UPCOMING, ReviewSession
from app.images.crops import crop_url
from app.run_view import read_run_view
from maskdistill.errors import DatasetError, RunError
from maskdistill.review import decisions
from maskdistill.review.audit import Order
from maskdistill.review.audit.agreement import ACCEPTED, NO_LABEL, REJECTED
from maskdistill.review.decisions import Action, Scope, claims

TABS = itertools.count()


class Browser:
    """One tab: numbers its messages and actions, and remembers what it was sent."""

    def __init__(self, review, client=None):
        self.review, self.client, self.number, self.seq = review, client or f"tab {next(TABS)}", 0, 0
        self.cached = set()
        self.take(review.answer())

    def take(self, answer):
        self.answer = answer
        self.cached |= {card["key"] for card in answer["cards"]} | {f"t{id}" for id in answer["thumbnails"]}
        return answer

    def send(self, *actions, at="keep", **more):
        self.number += 1
        place = self.answer["at"] if at == "keep" else at
        message = {
            "client": self.client,
            "number": self.number,
            "actions": actions,
            "at": place,
            "cached": list(self.cached),
        }
        self.review.apply_message(message | more)
        return self.take(self.review.answer())

    def action(self, kind, mask=None, cluster=None):
        self.seq += 1
        return {"seq": self.seq, "kind": kind, "mask": mask, "cluster": cluster}

    def press(self, kind, cluster=None):
        """A key on the mask on show; the next one is shown at once, as the annotator does it."""
        here = self.answer["at"]
        coming = self.answer["upcoming"][0] if self.answer["upcoming"] else None
        return self.send(self.action(kind, here, cluster), at=coming)


@pytest.fixture
def open_review(editable_run):
    """``open_review("Ann", order=...)``: a place in a queue; all sessions of the server share one store."""
    stores = {}

    def open_session(name="Ann", *, restarted=False, session=None, attendance=None, **choices):
        run_view = read_run_view(editable_run)
        if restarted or run_view.stamp not in stores:
            stores[run_view.stamp] = LabelStore(run_view)
        settings, store = QueueSettings(name, **choices), stores[run_view.stamp]
        store.refresh()
        cards = Cards(run_view, store, settings, drawn=True)
        given = {"session": session, "connection": session, "attendance": attendance}
        given = {name: value for name, value in given.items() if value is not None}
        review = ReviewSession(store, settings, queue_of(run_view, store.labels, settings), cards, **given)
        review.start(None)
        return review

    return open_session


def marks(run):
    table = decisions.read_marks(run)
    return list(zip(table["mask_id"].tolist(), table["action"].tolist(), strict=True))


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


def test_continues_where_one_stopped_after_a_restart(open_review, editable_run):
    tab = Browser(open_review())
    for _ in range(4):
        tab.press("accept")
    last, here, coming = tab.review, tab.answer["at"], tab.answer["upcoming"]
    again = Browser(open_review(restarted=True), tab.client)
    assert again.review.name != last.name
    assert again.answer["at"] is None  # a server that was killed could not give its masks back
    answer = again.send(before=tab.answer["claims"], at=here)
    assert (answer["at"], answer["upcoming"]) == (here, coming)
    assert answer["before"] == [id for id, _ in marks(editable_run)]


def test_a_page_that_is_loaded_again_after_a_restart_comes_back_to_its_mask(open_review, monkeypatch):
    monkeypatch.setattr(review_session, "_NUM_CLAIMED", 3)
    tab = Browser(open_review())
    tab.press("accept")
    loaded = Browser(open_review(restarted=True))
    elsewhere = loaded.answer["at"]
    assert elsewhere not in {tab.answer["at"], *tab.answer["upcoming"], None}
    answer = loaded.send(before=tab.answer["claims"], fresh=True)
    assert answer["at"] == answer["goto"][1] == tab.answer["at"]


def test_two_tabs_go_on_with_their_own_masks_after_a_restart(open_review, monkeypatch):
    monkeypatch.setattr(review_session, "_NUM_CLAIMED", 3)
    tabs = [Browser(open_review()) for _ in range(2)]
    again = [Browser(open_review(restarted=True), tab.client) for tab in tabs]
    for tab, back in zip(tabs, again, strict=True):
        back.send(before=tab.answer["claims"], at=tab.answer["at"])
    shown = [{back.answer["at"], *back.answer["upcoming"]} for back in again]
    assert [back.answer["at"] for back in again] == [tab.answer["at"] for tab in tabs]
    assert not shown[0] & shown[1]


def test_a_copied_tab_does_not_take_the_masks_of_its_original(open_review, monkeypatch):
    monkeypatch.setattr(review_session, "_NUM_CLAIMED", 3)
    here = Attendance()
    original = Browser(open_review(session="original", attendance=here))
    copy = Browser(open_review(session="copy", attendance=here))
    copy.send(before="original", fresh=True)
    original.press("accept")
    assert not {original.answer["at"], *original.answer["upcoming"]} & {copy.answer["at"], *copy.answer["upcoming"]}


def test_actions_sent_again_after_a_restart_are_written_once_and_in_order(open_review, editable_run):
    tab = Browser(open_review())
    first, second = tab.answer["at"], tab.answer["upcoming"][0]
    actions = [tab.action("accept", first), tab.action("reject", second), tab.action("undo")]
    tab.send(actions[0])
    tab.review.apply_message({"client": tab.client, "number": 9, "actions": actions[:2], "at": None})  # no answer came
    restarted = Browser(open_review(restarted=True), tab.client)
    for _ in range(2):
        answer = restarted.send(*actions)
        assert answer["acked"] == {tab.client: 3}
    assert [step.undone for step in decisions.steps(editable_run)] == [True, False]
    assert marks(editable_run) == [(first, "accept")]


def test_actions_of_a_page_before_keep_their_own_numbers(open_review, editable_run):
    """The page was loaded again before they were on the disk."""
    before, now = Browser(open_review()), Browser(open_review(restarted=True))
    ids = [before.answer["at"], *before.answer["upcoming"][:1]]
    kept = {**before.action("accept", ids[0]), "client": before.client}
    own = {**now.action("reject", ids[1]), "client": now.client}
    assert now.send(kept, own)["acked"] == {before.client: 1, now.client: 1}
    assert marks(editable_run) == [(ids[0], "accept"), (ids[1], "reject")]


def test_actions_of_another_person_are_left_to_them(open_review, editable_run):
    """The name was changed while they were on their way."""
    ann, bob = Browser(open_review("Ann")), Browser(open_review("Bob"))
    action = ann.action("accept", ann.answer["at"])
    answer = bob.send({**action, "client": ann.client}, owner=ann.answer["owner"])
    assert (answer["acked"], marks(editable_run)) == ({}, [])


def test_what_can_never_be_written_is_said_and_asked_for_no_more(open_review, editable_run):
    tab = Browser(open_review())
    here, coming = tab.answer["at"], tab.answer["upcoming"][0]
    answer = tab.send(tab.action("relabel", here, 99), tab.action("accept", coming))
    assert answer["acked"] == {tab.client: 2}
    assert "Not saved" in answer["notice"]
    assert marks(editable_run) == [(coming, "accept")]


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


def test_no_mask_is_served_in_two_tabs_of_one_person(open_review, monkeypatch):
    monkeypatch.setattr(review_session, "_NUM_CLAIMED", 4)
    tabs, served = [Browser(open_review()) for _ in range(2)], []
    while any(tab.answer["at"] is not None for tab in tabs):
        shown = [{tab.answer["at"], *tab.answer["upcoming"]} - {None} for tab in tabs]
        assert not shown[0] & shown[1]
        for tab in tabs:
            if tab.answer["at"] is not None:
                served.append(tab.answer["at"])
                tab.press("accept")
            else:
                tab.send()
    assert sorted(served) == sorted(set(served))
    assert len(served) == len(tabs[0].review.queue)


def test_a_second_opinion_in_two_tabs_judges_no_mask_twice(open_review, monkeypatch):
    monkeypatch.setattr(review_session, "_NUM_CLAIMED", 4)
    ann = Browser(open_review("Ann"))
    tabs = [Browser(open_review("Bob", second_opinion=True)) for _ in range(2)]
    shown = [{tab.answer["at"], *tab.answer["upcoming"]} - {None} for tab in (ann, *tabs)]
    assert shown[0] == shown[1]
    assert not shown[1] & shown[2]


def test_leaving_one_tab_frees_the_masks_of_that_tab_only(open_review, monkeypatch):
    monkeypatch.setattr(review_session, "_NUM_CLAIMED", 3)
    stays, leaves = Browser(open_review()), Browser(open_review())
    kept = {stays.answer["at"], *stays.answer["upcoming"]}
    freed = {leaves.answer["at"], *leaves.answer["upcoming"]}
    leaves.review.release_claims()
    bob = Browser(open_review("Bob"))
    assert {bob.answer["at"], *bob.answer["upcoming"]} == freed
    assert not freed & kept


class TestClosedTab:
    @pytest.fixture
    def tabs(self, open_review, monkeypatch):
        """``tabs("Ann")`` opens one; a connection in ``tabs.closed`` is gone."""
        monkeypatch.setattr(review_session, "_NUM_CLAIMED", 3)
        here = Attendance(lambda connection: connection not in open_tab.closed)

        def open_tab(name):
            return Browser(open_review(name, session=f"session {next(TABS)}", attendance=here))

        open_tab.closed = set()
        return open_tab

    def shown(self, tab):
        return {tab.answer["at"], *tab.answer["upcoming"]}

    def test_loaded_again_it_shows_the_same_masks(self, tabs):
        tab, other = tabs("Ann"), tabs("Ann")
        tabs.closed.add(tab.review.connection)
        assert self.shown(tabs("Ann")) == self.shown(tab)
        assert not self.shown(tabs("Ann")) & self.shown(other)

    def test_its_masks_are_for_others_in_seconds(self, tabs, monkeypatch):
        ann, bob = tabs("Ann"), tabs("Bob")
        tabs.closed.add(ann.review.connection)
        assert not self.shown(tabs("Cem")) & self.shown(ann)  # it may be a connection that comes back
        later = time.time() + review_session._GRACE + 1
        monkeypatch.setattr(claims.time, "time", lambda: later)
        assert self.shown(tabs("Cem")) == self.shown(ann)
        assert not self.shown(tabs("Dan")) & self.shown(bob)

    def test_one_that_comes_back_claims_again_what_is_left(self, tabs):
        lost = tabs("Ann")
        tabs.closed.add(lost.review.connection)
        taken = tabs("Ann")
        tabs.closed.clear()
        lost.send()
        assert not set(lost.answer["upcoming"]) & self.shown(taken)


def test_a_decision_on_what_a_colleague_decided_meanwhile_is_said(open_review, editable_run):
    ann = Browser(open_review("Ann"))
    here = ann.answer["at"]
    other = ReviewSession(ann.review.store, QueueSettings("Bob"), ann.review.queue, ann.review.cards)
    other.store.decide("Bob", [ann.review.at], Action.REJECT)
    answer = ann.press("accept")
    assert str(here) in answer["notice"]
    assert "Bob" in answer["notice"]
    assert [action for _, action in marks(editable_run)] == ["reject", "accept"]
    assert not ann.press("accept")["notice"]


def test_undo_of_what_another_tab_did_last_says_so(open_review, editable_run):
    tab, other = Browser(open_review()), Browser(open_review(), "other")
    tab.press("accept")
    other.press("reject") if other.answer["at"] is not None else other.send(other.action("reject", tab.answer["at"]))
    answer = tab.send(tab.action("undo"))
    assert "not made in this tab" in answer["notice"]
    assert [action for _, action in marks(editable_run)] == ["accept"]
    assert "not made in this tab" not in tab.send(tab.action("undo"))["notice"]
    assert marks(editable_run) == []


def test_a_mask_of_before_that_is_open_elsewhere_by_now_is_given_up(open_review, monkeypatch):
    monkeypatch.setattr(review_session, "_NUM_CLAIMED", 3)
    tab = Browser(open_review())
    left, coming = tab.answer["at"], tab.answer["upcoming"]
    tab.review.release_claims()  # as when they have expired
    other = Browser(open_review("Bob"))
    assert other.answer["at"] == left
    answer = tab.send(at=left, shown=[left, *coming])
    assert set(answer["taken"]) == {left, *coming}
    assert not {*answer["upcoming"]} & {left, *coming}
    other.press("accept")
    assert left not in tab.send(at=left, shown=[left, *coming])["taken"]  # it is decided: one may look at it


def test_an_undo_does_not_show_what_another_has_open(open_review, monkeypatch):
    tab = Browser(open_review())
    here = tab.answer["at"]
    tab.press("skip")
    decisions.release(tab.review.cards.run_view.run, tab.review.session)
    other = Browser(open_review("Bob"))
    assert other.answer["at"] == here
    answer = tab.send(tab.action("undo"))
    assert answer["goto"][1] != here
    assert str(here) in answer["notice"]


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


def test_no_mask_is_served_to_two_people(open_review):
    ann = Browser(open_review("Ann"))
    bob = Browser(open_review("Bob"), client="other")
    for _ in range(3):
        assert not {ann.answer["at"], *ann.answer["upcoming"]} & {bob.answer["at"], *bob.answer["upcoming"]} - {None}
        ann.press("accept")
        if bob.answer["at"] is not None:
            bob.press("reject")


def test_no_mask_is_served_to_two_people_who_work_at_the_same_time(open_review, monkeypatch):
    monkeypatch.setattr(review_session, "NUM_UPCOMING", 2)
    monkeypatch.setattr(review_session, "_NUM_CLAIMED", 3)
    names = ["Ann", "Bob", "Cem"]
    tabs = [Browser(open_review(name), client=name) for name in names]

    def work(tab):
        served = []
        while tab.answer["at"] is not None:
            served.append(tab.answer["at"])
            tab.press("accept")
        return served

    with ThreadPoolExecutor(len(tabs)) as threads:
        served = [mask for masks in threads.map(work, tabs) for mask in masks]
    assert len(set(served)) == len(served)
    assert len(served) == len(tabs[0].review.queue)


def test_masks_are_free_for_others_when_the_time_of_a_claim_is_over(open_review, monkeypatch):
    ann, bob = open_review("Ann"), open_review("Bob")
    with monkeypatch.context() as patched:
        patched.setattr(review_session, "_CLAIM_SECONDS", 0.0)
        assert ann.answer()["at"] is not None
    assert bob.answer()["at"] is not None


def test_masks_are_free_for_others_when_somebody_leaves(open_review):
    ann, bob = open_review("Ann"), open_review("Bob")
    assert ann.answer()["at"] is not None
    held = bob.answer()
    assert held["at"] is None
    assert str(len(bob.queue)) in held["finished"]["title"]
    ann.release_claims()
    assert bob.answer()["at"] is not None


def test_second_opinion_sees_the_first_only_when_it_is_given(open_review):
    ann = Browser(open_review("Ann"))
    judged = ann.answer["at"]
    ann.press("accept")
    bob = Browser(open_review("Bob", second_opinion=True), client="other")
    assert bob.answer["at"] == judged
    assert bob.answer["labels"][judged] == {"sign": "", "text": ""}
    assert not bob.review.may_see_others(judged)
    answer = bob.press("reject")
    assert bob.review.may_see_others(judged)
    assert answer["labels"][judged] == {"sign": "reject", "text": "you rejected; Ann accepted"}


def test_disagreements_are_a_queue_that_the_last_label_empties(open_review):
    ann, bob = Browser(open_review("Ann")), Browser(open_review("Bob", second_opinion=True), client="other")
    masks = [ann.answer["at"], ann.answer["upcoming"][0]]
    ann.press("accept")
    ann.press("accept")
    bob.press("reject")
    bob.press("accept")
    judge = Browser(open_review("Ann", order=Order.DISAGREEMENTS))
    assert [judge.answer["at"], *judge.answer["upcoming"]] == masks[:1]
    assert judge.answer["cards"][0]["reason"] == "You accepted, Bob rejected"
    assert not judge.press("reject")["finished"].get("empty")


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


class TestLabelStore:
    @pytest.fixture
    def store(self, editable_run):
        return LabelStore(read_run_view(editable_run))

    def test_action_by_action_it_is_what_is_read_anew(self, store, editable_run):
        store.decide("Ann", [0, 1, 2], Action.REJECT)
        store.decide("Bob", [1], Action.RELABEL, 2)
        store.decide("Ann", [3], Action.SKIP)
        store.decide("Ann", [0], Action.ACCEPT)
        anew = LabelStore(read_run_view(editable_run))
        for name in ("Ann", "Bob"):
            own, expected = store.labels.of_reviewer(name), anew.labels.of_reviewer(name)
            for field in ("labels", "skipped", "step"):
                np.testing.assert_array_equal(getattr(own, field), getattr(expected, field))
            assert own.recent == expected.recent
            np.testing.assert_allclose(own.times, expected.times, atol=0.5)
        assert store.labels.everyone.labels[:4].tolist() == [ACCEPTED, 2, REJECTED, NO_LABEL]
        np.testing.assert_array_equal(store.labels.everyone.labels, anew.labels.everyone.labels)

    def test_steps_are_kept_however_they_are_cut_into_parts(self, editable_run, monkeypatch):
        label_store._no_labels.cache_clear()
        monkeypatch.setattr(label_store, "_PART", 3)
        store = LabelStore(read_run_view(editable_run))
        before = store.labels.everyone
        store.decide("Ann", [1, 2, 3, 7], Action.REJECT)
        store.decide("Bob", [3], Action.ACCEPT)
        last = len(before.labels) - 1
        store.decide("Ann", [last], Action.ACCEPT)
        label_store._no_labels.cache_clear()
        everyone, own = store.labels.everyone, store.labels.of_reviewer("Ann")
        wanted = np.zeros(len(before.labels), int)
        wanted[[1, 2, 7, 3, last]] = 1, 1, 1, 2, 3
        np.testing.assert_array_equal(everyone.step, wanted)
        assert [everyone.step_of(row) for row in (0, 2, 3, last)] == [0, 1, 2, 3]
        assert (own.step_of(3), own.step_of(last)) == (1, 3)
        assert not before.step.any()  # what was taken before stays as it was

    def test_many_masks_at_once_are_one_undo(self, store, editable_run):
        store.decide("Ann", [4], Action.ACCEPT)
        store.decide("Ann", [0, 1, 2], Action.REJECT)
        step, rows = store.undo("Ann")
        assert (step.num_masks, sorted(rows.tolist())) == (3, [0, 1, 2])
        assert np.flatnonzero(store.labels.everyone.labels).tolist() == [4]
        assert store.undo("Bob") is None

    def test_readers_see_everyone_while_all_is_read_anew(self, store):
        """They met a table half filled, or one that changed under their hands."""
        names = [f"reviewer {number:02}" for number in range(12)]
        for name in names:
            store.decide(name, [0], Action.ACCEPT)
        store.decide(names[0], [1], Action.REJECT)

        def rewrite():
            for _ in range(10):
                store.undo(names[0])
                store.redo(names[0])

        seen = set()
        with ThreadPoolExecutor(1) as threads:
            job = threads.submit(rewrite)
            while not job.done():
                labels = store.labels
                seen.add((*labels.names, len(labels.others_of(0, names[0])), int(labels.everyone.labels[0])))
        job.result()
        assert seen == {(*names, 11, ACCEPTED)}

    def test_what_is_decided_by_then_is_not_rejected(self, store, editable_run):
        other = LabelStore(read_run_view(editable_run))
        other.decide("Bob", [1], Action.ACCEPT)
        other.decide("Bob", [2], Action.SKIP)
        assert store.reject_undecided("Ann", [0, 1, 2], "all of it") == 2
        assert store.labels.everyone.labels[:3].tolist() == [REJECTED, ACCEPTED, REJECTED]
        assert store.reject_undecided("Ann", [0, 1, 2], "all of it") == 0
        step, rows = store.undo("Ann")
        assert (step.num_masks, rows.tolist()) == (2, [0, 2])

    def test_reads_what_another_server_wrote(self, store, editable_run):
        other = LabelStore(read_run_view(editable_run))
        other.decide("Bob", [5], Action.REJECT)
        store.decide("Ann", [6], Action.ACCEPT)  # without asking first
        assert store.labels.everyone.labels[[5, 6]].tolist() == [REJECTED, ACCEPTED]
        other.refresh()
        assert other.labels.others_of(6, "Bob") == [("Ann", ACCEPTED)]
        assert store.labels.differ().sum() == 0
        other.decide("Bob", [6], Action.REJECT)
        store.refresh()
        assert np.flatnonzero(store.labels.differ(("Ann", "Bob"))).tolist() == [6]


def test_two_who_have_decided_nothing_share_labels_that_neither_can_change(open_review):
    first, second = open_review("ann"), open_review("bob")
    none = [review.store.labels.of_reviewer(review.settings.reviewer) for review in (first, second)]
    assert none[0] is none[1]
    with pytest.raises(ValueError, match="read-only"):
        none[0].labels[0] = ACCEPTED
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda review: review.answer(), (first, second)))
    first.store.decide("ann", [first.at], Action.ACCEPT)
    labels = first.store.labels
    assert (labels.of_reviewer("ann").labels != NO_LABEL).sum() == 1
    assert not labels.of_reviewer("bob").labels.any()


def test_crops_beside_the_keys_are_of_the_masks_nearest_to_the_centres(open_review, editable_run):
    cards = open_review().cards
    frame = cards.run_view.frame

    def wanted(ids):
        cluster = cards.labels.cluster_view.cluster
        nearest = [frame["distance"].where(cluster == number).idxmin() for number in ids]
        return [crop_url(cards.run_view, int(frame["mask_id"].iat[row])) for row in nearest]

    ids = np.unique(frame["cluster"][frame["cluster"] > 0]).tolist()
    before = cards.examples([*ids, max(ids) + 3])
    assert before == [*wanted(ids), ""]
    decisions.merge(editable_run, "Ann", ids[:2])
    cards.store.refresh()
    after = cards.examples(ids)
    assert after == [*wanted(ids[:1]), "", *wanted(ids[2:])]
    assert after[0] in before[:2]
