"""Who is at the browser, where the server knows: by a login (``st.login``), or by a proxy that names people."""

import streamlit as st
from streamlit import config

from app import widgets

_LONGEST = 80  # characters
# What a login tells that nobody else has; the last is unreadable, but always there.
_CLAIMS = ("email", "preferred_username", "sub")


def name() -> str:
    """Under which name decisions are written down; empty where the server asks nobody, and people type one.

    An address that the login did not verify is not taken: whoever registers it could write under that name.
    """
    if not (_has_login() or _has_proxy()):
        return ""
    told = st.user.to_dict()
    unverified = str(told.get("email_verified")).lower() == "false"
    named = (*_CLAIMS, *(config.get_option("server.trustedUserHeaders") or {}).values())
    claims = [claim for claim in named if not (claim == "email" and unverified)]
    found = next((str(told[claim]) for claim in claims if told.get(claim)), "")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in found).split())[:_LONGEST]


def require() -> None:
    """Go on only if the server knows who is there, or asks nobody; else ask for the login, or say what is wrong."""
    if _has_login() and not st.user.is_logged_in:
        st.title("MaskDistill")
        st.button("Log in", type="primary", icon=":material/login:", on_click=st.login)
        st.stop()
    if (_has_login() or _has_proxy()) and not name():
        st.error(
            "This server learns from its login or proxy who you are, and was told nobody's name. Open it by the "
            "address of the proxy, and let that send the e-mail address."
        )
        st.stop()


def draw_logout() -> None:
    """Who is logged in, and a way out; nothing where there is no login."""
    if _has_login():
        st.caption(f"Logged in as {widgets.escape(name())}")
        st.button("Log out", icon=":material/logout:", type="tertiary", on_click=st.logout)


def _has_login() -> bool:
    return "is_logged_in" in st.user


def _has_proxy() -> bool:
    return bool(config.get_option("server.trustedUserHeaders"))
