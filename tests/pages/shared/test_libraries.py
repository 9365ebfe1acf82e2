import sys
import threading

from streamlit.testing.v1 import AppTest

from app import libraries


def draw():
    import streamlit as st

    from app import libraries

    libraries.load_for("filter")
    st.title("Filter")


def need(monkeypatch, *names):
    """The page needs these standard modules, which nobody has imported yet."""
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(libraries, "_NEEDED", {"filter": names})
    monkeypatch.setattr(libraries, "_loaded", set())


def test_line_stands_in_place_of_the_page_only_while_libraries_are_loaded(monkeypatch):
    need(monkeypatch, "wave", "tabnanny")
    shown = []
    monkeypatch.setattr(libraries.st, "caption", shown.append)
    app = AppTest.from_function(draw).run()
    assert not app.exception
    assert len(shown) == 1
    assert "Filter" in shown[0]
    assert {"wave", "tabnanny"} <= sys.modules.keys()
    assert app.title[0].value == "Filter"
    app.run()
    assert len(shown) == 1


def test_two_sessions_at_once_import_once(monkeypatch):
    need(monkeypatch, "wave")
    imported = []
    monkeypatch.setattr(libraries, "import_module", lambda name: imported.append(name) or sys.modules.update({name: 1}))
    both = threading.Barrier(2)
    monkeypatch.setattr(libraries.st, "caption", lambda _text: both.wait(10))  # both have found it missing by then
    monkeypatch.setattr(libraries.st, "rerun", lambda: None)
    sessions = [threading.Thread(target=libraries.load_for, args=("filter",)) for _ in range(2)]
    for session in sessions:
        session.start()
    for session in sessions:
        session.join(20)
    assert imported == ["wave"]


def test_library_whose_import_has_only_begun_is_waited_for(monkeypatch):
    need(monkeypatch, "wave")
    monkeypatch.setitem(sys.modules, "wave", object())  # as while another session imports it
    assert libraries._missing("filter") == ["wave"]


def test_unknown_page_needs_nothing():
    assert libraries._missing("") == []
