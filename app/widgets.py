"""Small things that pages share."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from app import session
from maskdistill.datasets import ProgressCallback
from maskdistill.errors import MaskDistillError

_SHOW_EVERY = 25  # photos between two updates of a bar


@contextmanager
def scan_progress(doing: str = "Reading the photos") -> Iterator[ProgressCallback]:
    """A bar for going through photos; it shows only if there is something to wait for."""
    place = st.empty()

    def show(done: int, total: int) -> None:
        if total > _SHOW_EVERY and (done % _SHOW_EVERY == 0 or done == total):
            place.progress(done / total, text=f"{doing}: {done} of {total}")

    try:
        yield show
    finally:
        place.empty()


@contextmanager
def show_errors() -> Iterator[None]:
    """What goes wrong inside is shown in its place; also a decorator, below that of a fragment."""
    try:
        yield
    except MaskDistillError as error:
        st.error(escape(str(error)))
    except FileNotFoundError as error:
        st.error(
            f"{escape(str(error.filename or error))} is not there any more. If the run was deleted or renamed, choose "
            "another one in the sidebar."
        )
    except OSError as error:
        st.error(f"{escape(str(error.filename or 'A file'))} cannot be used: {escape(error.strerror or str(error))}.")


def attempt(action: Callable[[], object]) -> bool:
    """Do it and say whether it worked; what goes wrong becomes a notice. For callbacks: these can draw nothing."""
    try:
        action()
    except MaskDistillError as error:
        session.notify(str(error))
        return False
    return True


def draw_left_out(rows: Sequence[tuple[str, str]], what: str = "file", count: int = 0) -> None:
    """Table of what cannot be used, with the reasons; nothing if there is nothing.

    Args:
        rows: Name and reason.
        what: What a row is about, for the title.
        count: How many there are, where not all of them are listed.
    """
    if not rows:
        return
    count = max(count, len(rows))
    title = f"{count:,} {what}{'' if count == 1 else 's'} left out, and why"
    with st.expander(title, icon=":material/block:", expanded=count < 8):
        table = [{"File": name, "Why": reason} for name, reason in rows]
        st.dataframe(table, hide_index=True, column_config={"File": st.column_config.TextColumn(width="medium")})


def notify_left_alone(number: int) -> None:
    """Say of how many masks a decision on many was not written, because somebody was faster."""
    if number:
        session.notify(f"Others decided on {number:,} of these masks meanwhile; these are left as they are.")


def escape(text: str) -> str:
    """Text of a file name or a link, so that Markdown shows it as it is; lines become one."""
    # What looks like an address becomes a link after escapes are gone: a joiner that is not seen takes it apart.
    plain = re.sub(r"(?<=www)(?=\.)|(?<=:)(?=//)|(?<=\S)(?=@)", "\u2060", " ".join(text.split()), flags=re.IGNORECASE)
    plain = re.sub(r"([\\`*_{}\[\]()#+!$~:|<>&])", r"\\\1", plain)
    return re.sub(r"^(?=[-=])|^\d+(?=\.)", lambda found: f"{found[0]}\\", plain)  # a list, or a line


def as_code(text: str) -> str:
    """Text between as many backticks as it takes."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks} {text} {ticks}"


def notices() -> None:
    """Sentences kept for the top of the page."""
    texts = session.take_notices()
    if texts:
        st.warning("  \n".join(escape(text) for text in texts), icon=":material/info:")
