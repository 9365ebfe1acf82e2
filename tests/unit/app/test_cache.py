"""What the app keeps of a run: the newest state only."""

import threading
import time

import pytest

from app import cache
from app.cache import newest, stamp


def test_is_made_once_a_state():
    made = []
    get = newest(2)(lambda place, state, other: made.append((place, state, other)) or len(made))
    assert [get("a", 1, object()), get("a", 1, object()), get("a", 2, object())] == [1, 1, 2]


def test_an_earlier_state_is_let_go():
    made = []
    get = newest(2)(lambda place, state: made.append(state) or state)
    for state in (1, 2, 1):
        get("a", state)
    assert made == [1, 2, 1]


def test_the_places_used_last_stay():
    made = []
    get = newest(2)(lambda place, state: made.append(place))
    for place in "abacb":
        get(place, 0)
    assert made == list("abcb")


def test_what_fails_is_tried_again():
    tries = []

    @newest(1)
    def get(place, state):
        tries.append(state)
        if len(tries) == 1:
            raise ValueError("not yet")
        return "made"

    with pytest.raises(ValueError, match="not yet"):
        get("a", 0)
    assert get("a", 0) == "made"


def test_threads_that_want_the_same_wait_for_one():
    made = []

    @newest(1)
    def get(place, state):
        time.sleep(0.05)
        made.append(place)
        return len(made)

    found = []
    threads = [threading.Thread(target=lambda: found.append(get("a", 0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (made, found) == (["a"], [1, 1, 1, 1])


def test_stamp_changes_as_files_come_change_and_go(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    seen = [stamp(paths)]
    paths[0].write_text("1")
    seen.append(stamp(paths))
    time.sleep(0.01)
    paths[0].write_text("2")
    seen.append(stamp(paths))
    assert stamp(paths) == seen[-1]
    paths[0].unlink()
    assert stamp(paths) == seen[0]
    assert len(set(seen)) == 3


def test_what_took_long_gives_back_the_memory_that_it_needs_no_more(monkeypatch):
    given = []
    monkeypatch.setattr(cache, "give_back_memory", lambda: given.append("back"))
    get = newest(1)(lambda place, state: state)
    get("a", 0)
    assert not given
    monkeypatch.setattr(cache, "_SLOW", -1)
    get("a", 1)
    get("a", 1)
    cache.Shelf(2).get("b", lambda: "made")
    assert given == ["back", "back"]
