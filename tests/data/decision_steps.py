"""Scopes by short names, what was said, and calls at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

from maskdistill.review.decisions import Scope, read_marks

LABELS, CLUSTERS = Scope.LABELS, Scope.CLUSTERS


def said(run, **options):
    return [(row.mask_id, str(row.action)) for row in read_marks(run, **options).itertuples()]


def at_once(*calls):
    """What several threads get that begin at the same time."""
    gate = threading.Barrier(len(calls))

    def begin(call):
        gate.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [task.result(60) for task in [pool.submit(begin, call) for call in calls]]
