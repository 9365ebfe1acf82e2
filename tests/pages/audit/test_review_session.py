"""What the browser says at the desk, what it is told, and what is on the disk then."""

import numpy as np
import pytest

from app import photo_cache
from app.audit.label_store import ReviewLabels
from app.audit.mask_cards import Cards
from app.audit.queue import QueueSettings, audit_pool, queue_of
from app.audit.review_session import AHEAD, AT_ONCE, ReviewSession
from app.run_view import read_run_view
from maskdistill.errors import DatasetError, RunError
from maskdistill.review import decisions
from maskdistill.review.audit import Order
from maskdistill.review.audit.agreement import ACCEPTED, NO_WORD, REJECTED
from maskdistill.review.decisions import Action, Scope


class Browser:
    """One tab: numbers its messages and strokes, and remembers what it was sent."""

    def __init__(self, sitting, client="tab"):
        self.sitting, self.client, self.turn, self.seq = sitting, client, 0, 0
        self.have = set()
        self.take(sitting.answer())

    def take(self, answer):
        self.answer = answer
        self.have |= {card["key"] for card in answer["cards"]} | {f"t{id}" for id in answer["thumbs"]}
        return answer

    def say(self, *strokes, at="keep", **more):
        self.turn += 1
        place = self.answer["at"] if at == "keep" else at
        message = {"client": self.client, "turn": self.turn, "strokes": strokes, "at": place, "have": list(self.have)}
        self.sitting.hear(message | more)
        return self.take(self.sitting.answer())

    def stroke(self, kind, mask=None, cluster=None):
        self.seq += 1
        return {"seq": self.seq, "kind": kind, "mask": mask, "cluster": cluster}

    def press(self, kind, cluster=None):
        """A key on the mask on show; the next one is shown at once, as the desk does it."""
        here = self.answer["at"]
        coming = self.answer["ahead"][0] if self.answer["ahead"] else None
        return self.say(self.stroke(kind, here, cluster), at=coming)


@pytest.fixture
def sit(editable_run):
    """``sit("Ann", order=...)``: a place at the desk of the run's server; all share what is known."""
    ledgers = {}

    def sit_down(name="Ann", *, restarted=False, **choices):
        run_view = read_run_view(editable_run)
        if restarted or run_view.stamp not in ledgers:
            ledgers[run_view.stamp] = ReviewLabels(run_view)
        way, ledger = QueueSettings(name, **choices), ledgers[run_view.stamp]
        ledger.refresh()
        sitting = ReviewSession(ledger, way, queue_of(run_view, ledger, way), Cards(run_view, ledger, way, drawn=True))
        sitting.start(None)
        return sitting

    return sit_down


def marks(run):
    table = decisions.read_marks(run)
    return list(zip(table["mask_id"].tolist(), table["action"].tolist(), strict=True))


def test_every_stroke_is_on_the_disk_before_it_is_acknowledged(sit, editable_run):
    tab = Browser(sit())
    seen = []
    for kind in ("accept", "reject", "skip"):
        seen.append((tab.answer["at"], kind))
        answer = tab.press(kind)
        assert answer["acked"] == {"tab": tab.seq}
        assert marks(editable_run) == seen
    assert decisions.read_marks(editable_run)["scope"].eq(Scope.LABELS).all()


def test_queue_is_the_candidates_of_the_filter_else_all_masks(sit, editable_run):
    run_view = read_run_view(editable_run)
    candidates = run_view.frame.index[run_view.frame["candidate"]]
    assert set(audit_pool(run_view).rows) == set(candidates)
    editable_run.candidates_path.unlink()
    editable_run.kept_path.unlink()
    run_view = read_run_view(editable_run)
    assert len(audit_pool(run_view).rows) == len(run_view.frame)
    assert audit_pool(run_view).doubts.settings is None


def test_strokes_that_come_twice_are_written_once(sit, editable_run):
    tab = Browser(sit())
    first, *rest = tab.answer["at"], *tab.answer["ahead"]
    strokes = [tab.stroke("accept", first), tab.stroke("reject", rest[0])]
    tab.say(strokes[0], at=rest[0])
    tab.say(*strokes, at=rest[1])  # the first one had not been acknowledged yet when the second was made
    assert marks(editable_run) == [(first, "accept"), (rest[0], "reject")]


def test_a_stroke_is_on_the_mask_it_names_whatever_is_shown(sit, editable_run):
    tab = Browser(sit())
    ids = [tab.answer["at"], *tab.answer["ahead"][:2]]
    answer = tab.say(*(tab.stroke("reject", id) for id in ids), at=tab.answer["ahead"][2])
    assert marks(editable_run) == [(id, "reject") for id in ids]
    assert not set(ids) & {answer["at"], *answer["ahead"]}


def test_continues_where_one_stopped_after_a_restart(sit, editable_run):
    tab = Browser(sit())
    for _ in range(4):
        tab.press("accept")
    last, here = tab.sitting, tab.answer["at"]
    again = Browser(sit(restarted=True))
    assert again.sitting.name != last.name
    assert again.answer["at"] == here
    assert again.answer["trail"] == [id for id, _ in marks(editable_run)]


def test_a_stroke_sent_again_after_a_restart_is_not_a_second_step(sit, editable_run):
    tab = Browser(sit())
    stroke = tab.stroke("accept", tab.answer["at"])
    tab.say(stroke)
    restarted = Browser(sit(restarted=True))
    answer = restarted.say({**stroke, "again": True}, {"seq": 2, "kind": "undo", "mask": None, "again": True})
    assert answer["acked"] == {"tab": 2}
    assert len(decisions.steps(editable_run)) == 1
    assert not decisions.steps(editable_run)[0].undone


def test_undo_goes_back_to_the_mask_and_redo_decides_it_again(sit, editable_run):
    tab = Browser(sit())
    first = tab.answer["at"]
    tab.press("reject")
    answer = tab.say(tab.stroke("undo"))
    assert (answer["goto"][1], marks(editable_run)) == (first, [])
    assert answer["said"][first]["sign"] == ""
    assert answer["notice"] == f"Undone: rejected mask {first}."
    answer = tab.say(tab.stroke("redo"))
    assert marks(editable_run) == [(first, "reject")]
    assert answer["said"][first]["sign"] == "reject"
    assert tab.say(tab.stroke("redo"))["notice"] == "There is nothing to redo."


def test_skipped_masks_come_back_when_nothing_else_is_left(sit):
    tab = Browser(sit())
    skipped = tab.answer["at"]
    tab.press("skip")
    number = len(tab.sitting.queue)
    for _ in range(number - 1):
        assert tab.answer["at"] != skipped
        tab.press("accept")
    assert tab.answer["at"] == skipped
    answer = tab.press("reject")
    assert answer["at"] is None
    assert answer["over"]["title"] == f"All {number} masks are decided."


def test_relabelling_offers_the_own_cluster_first_and_names_it(sit, editable_run):
    tab = Browser(sit())
    card = tab.answer["cards"][0]
    assert card["keys"][0] == {"cluster": card["cluster"], "name": card["name"], "colour": card["colour"]}
    row = tab.sitting.at
    tab.press("relabel", cluster=card["keys"][1]["cluster"])
    assert tab.sitting.ledger.everyone.words[row] == card["keys"][1]["cluster"]
    assert decisions.read_marks(editable_run)["cluster"].tolist() == [card["keys"][1]["cluster"]]


def test_no_mask_is_served_to_two_people(sit):
    ann = Browser(sit("Ann"))
    bob = Browser(sit("Bob"), client="other")
    for _ in range(3):
        assert not {ann.answer["at"], *ann.answer["ahead"]} & {bob.answer["at"], *bob.answer["ahead"]} - {None}
        ann.press("accept")
        if bob.answer["at"] is not None:
            bob.press("reject")


def test_masks_are_free_for_others_when_somebody_leaves(sit):
    ann, bob = sit("Ann"), sit("Bob")
    assert ann.answer()["at"] is not None
    held = bob.answer()
    assert held["at"] is None
    assert held["over"]["title"].endswith("before somebody else.")
    ann.leave()
    assert bob.answer()["at"] is not None


def test_second_opinion_hears_the_first_only_when_it_is_given(sit):
    ann = Browser(sit("Ann"))
    judged = ann.answer["at"]
    ann.press("accept")
    bob = Browser(sit("Bob", second=True), client="other")
    assert bob.answer["at"] == judged
    assert bob.answer["said"][judged] == {"sign": "", "text": ""}
    assert not bob.sitting.may_see_others(judged)
    answer = bob.press("reject")
    assert bob.sitting.may_see_others(judged)
    assert answer["said"][judged] == {"sign": "reject", "text": "you rejected; Ann accepted"}


def test_disagreements_are_a_queue_that_the_last_word_empties(sit):
    ann, bob = Browser(sit("Ann")), Browser(sit("Bob", second=True), client="other")
    masks = [ann.answer["at"], ann.answer["ahead"][0]]
    ann.press("accept")
    ann.press("accept")
    bob.press("reject")
    bob.press("accept")
    judge = Browser(sit("Ann", order=Order.DISAGREEMENTS))
    assert [judge.answer["at"], *judge.answer["ahead"]] == masks[:1]
    assert judge.answer["cards"][0]["reason"] == "You accepted, Bob rejected"
    assert judge.press("reject")["over"]["title"] == "All 1 masks of this queue are decided."


def test_link_opens_its_mask_unless_it_is_decided(sit):
    sitting = sit()
    other = sitting.answer()["ahead"][1]
    sitting.start(other)
    assert sitting.answer()["at"] == other
    tab = Browser(sitting)
    tab.press("accept")
    fresh = sit()
    fresh.start(other)
    assert fresh.answer()["at"] != other
    fresh.start(10**9)
    assert fresh.answer()["at"] is not None


def test_what_cannot_be_written_is_said_and_not_acknowledged(sit, editable_run, monkeypatch):
    tab = Browser(sit())
    ids = [tab.answer["at"], *tab.answer["ahead"][:1]]
    strokes = [tab.stroke("accept", id) for id in ids]

    def full(*_arguments, **_options):
        raise RunError("The disk is full: free some space.")

    with monkeypatch.context() as patched:
        patched.setattr(decisions, "decide", full)
        answer = tab.say(*strokes, at=tab.answer["ahead"][1])
    assert answer["error"] == "The disk is full: free some space."
    assert answer["acked"] == {}
    assert marks(editable_run) == []
    assert tab.say(*strokes)["acked"] == {"tab": 2}
    assert marks(editable_run) == [(id, "accept") for id in ids]


def test_a_mask_that_is_gone_is_told_and_the_rest_written(sit, editable_run):
    tab = Browser(sit())
    here = tab.answer["at"]
    answer = tab.say(tab.stroke("accept", 99_999), tab.stroke("accept", here))
    assert "no mask 99999" in answer["notice"]
    assert marks(editable_run) == [(here, "accept")]


def test_pictures_are_sent_once_and_few_at_a_time(sit):
    tab = Browser(sit())
    assert len(tab.answer["cards"]) <= AT_ONCE
    assert len(tab.answer["ahead"]) <= AHEAD
    sent = [card["key"] for card in tab.answer["cards"]]
    for _ in range(4):
        sent += [card["key"] for card in tab.say()["cards"]]
    assert len(set(sent)) == len(sent)
    assert {f"c{id}" for id in (tab.answer["at"], *tab.answer["ahead"])} == set(sent)
    whole = tab.say(look="whole")["cards"]
    assert whole[0]["key"] == f"w{tab.answer['at']}"
    photo = tab.sitting.cards.found.photos[tab.answer["at"] // 10]
    assert (whole[0]["width"], whole[0]["height"]) == (photo.width, photo.height)


def test_photo_that_is_gone_leaves_the_mask_to_be_judged(sit, monkeypatch):
    def gone(_photo):
        raise DatasetError("There is no file ant.png any more.")

    monkeypatch.setattr(photo_cache, "pixels", gone)
    card = sit().answer()["cards"][0]
    assert (card["photo_src"], card["problem"]) == ("", "There is no file ant.png any more.")
    assert card["mask"].startswith("data:image/png")


class TestLedger:
    @pytest.fixture
    def ledger(self, editable_run):
        return ReviewLabels(read_run_view(editable_run))

    def test_stroke_by_stroke_it_is_what_is_read_anew(self, ledger, editable_run):
        ledger.decide("Ann", [0, 1, 2], Action.REJECT)
        ledger.decide("Bob", [1], Action.RELABEL, 2)
        ledger.decide("Ann", [3], Action.SKIP)
        ledger.decide("Ann", [0], Action.ACCEPT)
        anew = ReviewLabels(read_run_view(editable_run))
        for name in ("Ann", "Bob"):
            for field in ("words", "skipped", "step"):
                np.testing.assert_array_equal(getattr(ledger.voice(name), field), getattr(anew.voice(name), field))
            assert ledger.voice(name).recent == anew.voice(name).recent
            np.testing.assert_allclose(ledger.voice(name).times, anew.voice(name).times, atol=0.5)
        assert ledger.everyone.words[:4].tolist() == [ACCEPTED, 2, REJECTED, NO_WORD]
        np.testing.assert_array_equal(ledger.everyone.words, anew.everyone.words)

    def test_many_masks_at_once_are_one_undo(self, ledger, editable_run):
        ledger.decide("Ann", [4], Action.ACCEPT)
        ledger.decide("Ann", [0, 1, 2], Action.REJECT, note="all of it")
        step, rows = ledger.undo("Ann")
        assert (step.num_masks, sorted(rows.tolist())) == (3, [0, 1, 2])
        assert np.flatnonzero(ledger.everyone.words).tolist() == [4]
        assert ledger.undo("Bob") is None

    def test_hears_what_another_server_wrote(self, ledger, editable_run):
        other = ReviewLabels(read_run_view(editable_run))
        other.decide("Bob", [5], Action.REJECT)
        ledger.decide("Ann", [6], Action.ACCEPT)  # without asking first
        assert ledger.everyone.words[[5, 6]].tolist() == [REJECTED, ACCEPTED]
        other.refresh()
        assert other.others_of(6, "Bob") == [("Ann", ACCEPTED)]
        assert ledger.differ().sum() == 0
        other.decide("Bob", [6], Action.REJECT)
        ledger.refresh()
        assert np.flatnonzero(ledger.differ(("Ann", "Bob"))).tolist() == [6]
