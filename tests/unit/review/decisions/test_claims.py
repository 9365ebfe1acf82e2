"""Masks that somebody has open are not given to others."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import decisions_data
import pytest
from decision_steps import LABELS, at_once
from decisions_data import mark

from maskdistill.review.decisions import (
    LONGEST,
    Sent,
    claim,
    claimed_by_others,
    claims,
    decide,
    hand_over,
    release,
    shorten,
    undo,
    version,
)
from maskdistill.storage.database import reading


class TestClaims:
    def test_a_mask_is_one_reviewers(self, run):
        assert claim(run, "ann", [1, 0], 60) == [1, 0]
        assert claim(run, "bob", [0, 2, 1], 60) == [2]
        assert claim(run, "ann", [0], 60) == [0]
        assert claimed_by_others(run, "bob") == {0, 1}
        release(run, "ann")
        assert claimed_by_others(run, "bob") == set()
        assert claimed_by_others(run, "ann") == {2}
        assert version(run) == 0

    def test_ends_by_itself(self, run):
        claim(run, "ann", [0], -1)
        assert claimed_by_others(run, "bob") == set()
        assert claim(run, "bob", [0], 60) == [0]
        assert claim(run, "ann", [0], 60) == []

    def test_two_tabs_of_one_person_have_masks_of_their_own(self, run):
        ann = {"reviewer": "Ann"}
        assert claim(run, "tab 1", [0, 1], **ann) == [0, 1]
        assert claim(run, "tab 2", [1, 2], **ann) == [2]
        assert claimed_by_others(run, "tab 2", **ann) == {0, 1}
        release(run, "tab 2")
        assert claimed_by_others(run, "tab 3", **ann) == {0, 1}

    def test_a_second_opinion_is_on_what_others_have_open(self, run):
        claim(run, "ann", [0, 1], reviewer="Ann")
        bob = {"reviewer": "Bob", "second_opinion": True}
        assert claim(run, "bob 1", [0, 1], **bob) == [0, 1]
        assert claim(run, "bob 2", [0, 1], **bob) == []  # not twice by the same person
        assert claim(run, "ann", [0, 1], reviewer="Ann") == [0, 1]
        assert claim(run, "cem", [0, 1], reviewer="Cem") == []

    def test_one_dated_ahead_blocks_no_longer_than_another(self, run, monkeypatch):
        """By a machine whose clock is wrong, or before this one's was set back."""
        now = time.time()
        monkeypatch.setattr(claims.time, "time", lambda: now + 1e6)
        claim(run, "ann", [0])
        monkeypatch.setattr(claims.time, "time", lambda: now)
        assert claim(run, "bob", [0, 1]) == [1]
        monkeypatch.setattr(claims.time, "time", lambda: now + LONGEST + 1)
        assert claimed_by_others(run, "bob") == set()
        assert claim(run, "bob", [0]) == [0]

    def test_nobody_can_claim_for_longer(self, run, monkeypatch):
        claim(run, "ann", [0], 1e9)
        later = time.time() + LONGEST + 1
        monkeypatch.setattr(claims.time, "time", lambda: later)
        assert claim(run, "bob", [0]) == [0]

    def test_there_are_never_many(self, run, monkeypatch):
        now = time.time()
        for session in range(50):
            monkeypatch.setattr(claims.time, "time", lambda session=session: now + session * LONGEST)
            claim(run, f"session {session}", decisions_data.IDS)
        with reading(run.path) as db:
            assert db.execute("SELECT count(*) FROM claims").fetchone()[0] <= 2 * len(decisions_data.IDS)

    def test_go_over_to_the_session_that_goes_on(self, run):
        claim(run, "before", [0, 1])
        claim(run, "after", [1, 2])
        assert hand_over(run, "before", "after") == [0, 1]
        assert claim(run, "another", [0, 1, 2]) == []
        assert hand_over(run, "before", "after") == []

    def test_end_soon_where_a_session_is_gone_unless_it_comes_back(self, run, monkeypatch):
        claim(run, "gone", [0])
        claim(run, "back", [1])
        shorten(run, ["gone", "back"], 10)
        claim(run, "back", [1])
        later = time.time() + 11
        monkeypatch.setattr(claims.time, "time", lambda: later)
        assert claimed_by_others(run, "another") == {1}

    def test_ends_with_the_decision_and_begins_with_its_undo(self, run):
        """Between the undo and the next message of that tab another one would be given the mask."""
        claim(run, "tab", [0, 1], reviewer="ann")
        decide(run, "ann", [mark(0)], scope=LABELS, sent=Sent("client", 1, "tab"))
        assert claimed_by_others(run, "another") == {1}
        undo(run, "ann", scope=LABELS, sent=Sent("client", 2, "tab"))
        assert claim(run, "another", [0, 1, 2]) == [2]
        decide(run, "ann", [mark(20)], scope=LABELS)
        claim(run, "colleague", [20])
        undo(run, "ann", scope=LABELS, sent=Sent("client", 9, "tab"))
        assert claim(run, "colleague", [20]) == [20]  # who has it open keeps it
        assert claimed_by_others(run, "colleague") == {0, 1, 2}
        release(run, "another")
        release(run, "colleague")
        decide(run, "ann", [mark(10), mark(11)], scope=LABELS)
        undo(run, "ann", scope=LABELS, sent=Sent("client", 3, "tab"))
        assert claimed_by_others(run, "another") == {0, 1}

    def test_sessions_that_take_masks_at_once_get_none_twice(self, run):
        for _ in range(5):
            found = at_once(
                *(partial(claim, run, f"tab {tab}", decisions_data.IDS, reviewer="Ann") for tab in range(4))
            )
            assert sorted(mask_id for own in found for mask_id in own) == decisions_data.IDS
            for tab in range(4):
                release(run, f"tab {tab}")

    @pytest.mark.slow
    def test_processes_that_take_masks_at_once_get_none_twice(self, run):
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(decisions_data.claim_one_by_one, [run] * 2, ["tab 1", "tab 2"]))
        assert sorted(found[0] + found[1]) == decisions_data.IDS
