"""Places in the audit's queue, without a page."""

import pytest

from app.audit.label_store import LabelStore
from app.audit.mask_cards import Cards
from app.audit.queue import QueueSettings, queue_of
from app.audit.review_session import ReviewSession
from app.run_view import read_run_view


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
