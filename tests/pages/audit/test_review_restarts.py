"""What a tab sent before a restart, or before its page was loaded again."""

from audit_browser import Browser, marks

from app.audit import review_session
from app.audit.attendance import Attendance
from maskdistill.review import decisions


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


def test_a_page_is_loaded_again_sooner_than_its_connection_is_closed(open_review, monkeypatch):
    """On a busy machine the server hears of the closed connection after the new page has asked."""
    monkeypatch.setattr(review_session, "_NUM_CLAIMED", 3)
    left = [None]  # looks at the old connection until it is closed

    def connected(connection):
        if connection != "old" or left[0] is None:
            return True
        left[0] -= 1
        return left[0] > 0

    here = Attendance(connected)
    before = Browser(open_review(session="old", attendance=here))
    loaded = Browser(open_review(session="new", attendance=here))
    assert loaded.answer["at"] != before.answer["at"]
    left[0] = 3
    answer = loaded.send(before="old", fresh=True)
    assert answer["at"] == answer["goto"][1] == before.answer["at"]


def test_a_copied_tab_does_not_take_the_masks_of_its_original(open_review, monkeypatch):
    monkeypatch.setattr(review_session, "_NUM_CLAIMED", 3)
    monkeypatch.setattr(review_session, "_CLOSING", 0.1)
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
