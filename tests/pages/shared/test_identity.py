"""Who decides, where a login or a proxy says so."""

import pytest
from streamlit import config

from app import server

LOGIN = {"is_logged_in": True, "sub": "7"}


@pytest.fixture
def proxy(request):
    told = getattr(request, "param", "email")
    config.set_option("server.trustedUserHeaders", {"X-Forwarded-User": told})
    yield told
    config.set_option("server.trustedUserHeaders", {})


def reviewer_of(open_page, user, **query):
    app = open_page("audit", user=user, run="tiny", **query)
    assert not app.exception
    return next((box for box in app.text_input if box.label == "Reviewer"), None)


@pytest.mark.parametrize(
    ("user", "name"),
    [
        (LOGIN | {"email": "ada@lab"}, "ada@lab"),
        (LOGIN | {"email": "ada@lab", "email_verified": True, "name": "Ada"}, "ada@lab"),
        (LOGIN | {"email": "ada@lab", "email_verified": False, "preferred_username": "al"}, "al"),
        (LOGIN | {"email": "ada@lab", "email_verified": "false"}, "7"),
        (LOGIN | {"email": " a\nb\u202e ", "name": "x"}, "a b"),
        (LOGIN | {"email": "a" * 500}, "a" * 80),
    ],
)
def test_name_of_a_login(open_page, finished_run, user, name):
    box = reviewer_of(open_page, user, reviewer="Mallory")
    assert (box.value, box.disabled) == (name, True)


def test_nobody_gets_in_without_the_login(open_page, finished_run):
    app = open_page("audit", user={"is_logged_in": False}, run="tiny")
    assert [button.label for button in app.button] == ["Log in"]
    assert not app.text_input
    assert not app.selectbox


def test_nobody_gets_in_past_the_proxy(open_page, finished_run, proxy):
    app = open_page("audit", user={"email": None}, run="tiny")
    assert app.error
    assert not app.text_input


@pytest.mark.parametrize("proxy", ["email", "who"], indirect=True)
def test_name_of_the_proxy(open_page, finished_run, proxy):
    assert reviewer_of(open_page, {proxy: "grace@lab"}, reviewer="Mallory").value == "grace@lab"


def test_without_login_or_proxy_the_name_is_typed(open_page, finished_run):
    box = reviewer_of(open_page, {"email": "somebody@else"}, reviewer="Ada")
    assert (box.value, box.disabled) == ("Ada", False)


@pytest.mark.parametrize("text", ["[auth\n", "\xff"])
def test_server_does_not_start_open_with_secrets_that_cannot_be_read(tmp_path, text):
    path = tmp_path / "secrets.toml"
    path.write_bytes(text.encode("latin-1"))
    config.set_option("secrets.files", [str(path)])
    try:
        with pytest.raises(SystemExit, match=r"secrets\.toml"):
            server.guard()
    finally:
        config.set_option("secrets.files", [])
