"""Several tabs and several people: no mask is judged twice, and nobody overwrites another."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from audit_browser import TABS, Browser, marks

from app.audit import review_session
from app.audit.attendance import Attendance
from app.audit.queue import QueueSettings
from app.audit.review_session import ReviewSession
from maskdistill.review import decisions
from maskdistill.review.audit import Order
from maskdistill.review.decisions import Action, claims


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
