"""Labels that all sessions of a server share."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.audit import label_store
from app.audit.label_store import LabelStore
from app.images.crops import crop_url
from app.run_view import read_run_view
from maskdistill.review import decisions
from maskdistill.review.audit.agreement import ACCEPTED, NO_LABEL, REJECTED
from maskdistill.review.decisions import Action


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
