"""A reviewer who decides, undoes and redoes without end: ``deciding.py RUN NAME SEED``.

Each act is told on standard output only when it is on the disk: ``decide NOTE STEP``, ``undo STEP``, ``redo STEP``,
``rename STEP``, ``view NUMBER``.
"""

import itertools
import random
import sys
from pathlib import Path

from decisions_data import IDS, mark

from maskdistill.review.decisions import Action, Scope, decide, redo, rename, undo
from maskdistill.storage.run_folder import Run
from maskdistill.storage.saved_views import save_view

run, name, seed = Run(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
generator = random.Random(seed)


def act(number: int) -> str:
    """One act; what it was."""
    kind = generator.choice(("decide", "decide", "undo", "redo", "rename", "view"))
    if kind == "decide":
        marks = [mark(id, Action.REJECT) for id in generator.sample(IDS, generator.randrange(1, len(IDS)))]
        note = f"{seed}: {number} of {len(marks)}"
        return f"decide {decide(run, name, marks, scope=Scope.LABELS, note=note)} {note}"
    if kind in ("undo", "redo"):
        step = {"undo": undo, "redo": redo}[kind](run, name, scope=Scope.LABELS)
        return f"{kind} {step.id if step else 0}"
    if kind == "rename":
        return f"rename {rename(run, name, generator.randrange(1, 5), f'{name} {number}')}"
    save_view(run, "selection", name, number)
    return f"view {number}"


for number in itertools.count():
    sys.stdout.write(f"{act(number)}\n")
    sys.stdout.flush()
