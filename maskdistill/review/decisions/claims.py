"""Which reviewer has which mask open, so that two people who audit one run do not judge the same one."""

import time
from collections.abc import Sequence

from maskdistill.storage.database import reading, writing
from maskdistill.storage.run_folder import Run


def claim(run: Run, reviewer: str, mask_ids: Sequence[int], seconds: float) -> list[int]:
    """Take masks, or keep them for longer.

    Args:
        run: The run.
        reviewer: Who takes them.
        mask_ids: Which.
        seconds: For how long, should nobody release them.

    Returns:
        Those of them that are this reviewer's now, in the same order; the others are another's.

    Raises:
        RunError: If there is no run, or its database cannot be written.
    """
    run.info()
    now = time.time()
    take = """INSERT INTO claims VALUES (?, ?, ?) ON CONFLICT (mask_id) DO UPDATE
        SET reviewer = excluded.reviewer, until = excluded.until WHERE reviewer = excluded.reviewer OR until <= ?"""
    with writing(run.path) as db:
        taken = [db.execute(take, (int(mask_id), reviewer, now + seconds, now)).rowcount for mask_id in mask_ids]
    return [mask_id for mask_id, count in zip(mask_ids, taken, strict=True) if count]


def release(run: Run, reviewer: str) -> None:
    """Give back all masks of a reviewer, and claims that have expired.

    Raises:
        RunError: If there is no run, or its database cannot be written.
    """
    run.info()
    with writing(run.path) as db:
        db.execute("DELETE FROM claims WHERE reviewer = ? OR until <= ?", (reviewer, time.time()))


def claimed_by_others(run: Run, reviewer: str) -> set[int]:
    """Ids of the masks that others have open."""
    select = "SELECT mask_id FROM claims WHERE reviewer != ? AND until > ?"
    with reading(run.path) as db:
        return {row["mask_id"] for row in db.execute(select, (reviewer, time.time()))} if db else set()
