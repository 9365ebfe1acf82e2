"""Which browser session has which mask open, so that nobody judges what is on another screen.

A claim is a session's, not a person's: one person may have two tabs open. It ends when the session gives it back, or by
itself. Nobody's clock can hold a mask for longer than ``LONGEST``: a claim that is dated ahead, by another machine or
before this one's clock was set back, is cut to that.
"""

import sqlite3
import time
from collections.abc import Collection, Sequence

from maskdistill.storage.database import reading, writing
from maskdistill.storage.run_folder import Run

LONGEST = 180.0  # seconds that a claim lasts at most, unless it is renewed

# A second opinion is on what others have open, or decided; but not twice by the same person.
_BLOCKING = """SELECT mask_id FROM claims WHERE session != :session AND until > :now
    AND (reviewer = :reviewer OR NOT :second_opinion AND NOT second_opinion)"""

_TAKE = """INSERT INTO claims (mask_id, reviewer, until, session, second_opinion) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (mask_id, session) DO UPDATE
    SET reviewer = excluded.reviewer, until = excluded.until, second_opinion = excluded.second_opinion"""


def claim(
    run: Run,
    session: str,
    mask_ids: Sequence[int],
    seconds: float = LONGEST,
    *,
    reviewer: str = "",
    second_opinion: bool = False,
) -> list[int]:
    """Take masks for a session, or keep them for longer.

    Args:
        run: The run.
        session: Who takes them.
        mask_ids: Which.
        seconds: For how long, should nobody give them back; at most ``LONGEST``.
        reviewer: The person in that session.
        second_opinion: Whether masks that other people have open may be taken too.

    Returns:
        Those of them that are this session's now, in the same order; the others are another's.

    Raises:
        RunError: If there is no run, or its database cannot be written.
    """
    run.info()
    with writing(run.path) as db:
        now = time.time()
        _tidy(db, now)
        blocked = _blocked(db, session, reviewer, second_opinion, now)
        own = [mask_id for mask_id in mask_ids if mask_id not in blocked]
        until = now + min(seconds, LONGEST)
        rows = ((int(mask_id), reviewer, until, session, second_opinion) for mask_id in own)
        db.executemany(_TAKE, rows)
    return own


def release(run: Run, session: str) -> None:
    """Give back all masks of a session.

    Raises:
        RunError: If there is no run, or its database cannot be written.
    """
    run.info()
    with writing(run.path) as db:
        _tidy(db, time.time())
        db.execute("DELETE FROM claims WHERE session = ?", (session,))


def hand_over(run: Run, before: str, session: str) -> list[int]:
    """Give the masks of a session that is no more to the one that goes on for it.

    Returns:
        Ids of the masks, rising.

    Raises:
        RunError: If there is no run, or its database cannot be written.
    """
    run.info()
    with writing(run.path) as db:
        _tidy(db, time.time())
        found = db.execute("SELECT mask_id FROM claims WHERE session = ? ORDER BY mask_id", (before,)).fetchall()
        db.execute("UPDATE OR REPLACE claims SET session = ? WHERE session = ?", (session, before))
        return [row["mask_id"] for row in found]


def shorten(run: Run, sessions: Collection[str], seconds: float) -> None:
    """Let the claims of sessions end in so many seconds, unless they end before or are renewed.

    Raises:
        RunError: If there is no run, or its database cannot be written.
    """
    run.info()
    with writing(run.path) as db:
        until = time.time() + seconds
        rows = ((until, session, until) for session in sessions)
        db.executemany("UPDATE claims SET until = ? WHERE session = ? AND until > ?", rows)


def claimed_by_others(run: Run, session: str, *, reviewer: str = "", second_opinion: bool = False) -> set[int]:
    """Ids of the masks that ``claim`` would not give.

    Raises:
        RunError: If the run's database cannot be read.
    """
    with reading(run.path) as db:
        return _blocked(db, session, reviewer, second_opinion, time.time()) if db else set()


def keep_open(db: sqlite3.Connection, session: str, reviewer: str, step: int) -> None:
    """Inside the transaction that undoes a step on one mask: it is open again, and stays with who undid it, unless
    another session has it on the screen.
    """
    masks = db.execute("SELECT mask_id FROM marks WHERE step = ? LIMIT 2", (step,)).fetchall()
    now = time.time()
    held = "SELECT 1 FROM claims WHERE mask_id = ? AND until > ?"
    if len(masks) == 1 and not db.execute(held, (masks[0]["mask_id"], now)).fetchone():
        db.execute(_TAKE, (masks[0]["mask_id"], reviewer, now + LONGEST, session, False))


def _blocked(db: sqlite3.Connection, session: str, reviewer: str, second_opinion: bool, now: float) -> set[int]:
    values = {"session": session, "reviewer": reviewer, "second_opinion": second_opinion, "now": now}
    return {row["mask_id"] for row in db.execute(_BLOCKING, values)}


def _tidy(db: sqlite3.Connection, now: float) -> None:
    """Claims that have expired are dropped, so that there are never many; those dated ahead are cut."""
    db.execute("DELETE FROM claims WHERE until <= ?", (now,))
    db.execute("UPDATE claims SET until = ? WHERE until > ?", (now + LONGEST, now + LONGEST))
