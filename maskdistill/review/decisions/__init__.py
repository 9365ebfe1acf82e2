"""People's decisions on masks and clusters, in ``run.sqlite``.

Every decision is a step that is never changed or deleted: to undo is a step too, so the history stays complete. No
stage writes here. Marks are about single masks, repairs about their shapes. Changes of clusters (merging, splitting,
naming, excluding) are about cluster numbers, so they are dormant while the run has another clustering.
"""

from maskdistill.review.decisions.claims import LONGEST, claim, claimed_by_others, hand_over, release, shorten
from maskdistill.review.decisions.classes import Classes, class_digest, class_names, read_classes, read_names
from maskdistill.review.decisions.editing import adopt, exclude, gather, made_cluster, merge, rename, split
from maskdistill.review.decisions.effect import Effective, effective
from maskdistill.review.decisions.listing import history, summarise, to_csv
from maskdistill.review.decisions.marks import decide, decide_undecided, decide_unless_changed, read_marks
from maskdistill.review.decisions.records import Action, DecisionEvent, Kind, Mark, Scope, Step, Tool
from maskdistill.review.decisions.repairs import (
    NEW,
    Form,
    MaskChange,
    Repaired,
    Repairs,
    read_repairs,
    repair,
    repairs_digest,
    repairs_version,
    was_sent,
)
from maskdistill.review.decisions.steps import (
    Seen,
    Sent,
    masks_of,
    next_redo,
    next_undo,
    redo,
    steps,
    undo,
    version,
)

__all__ = [
    "LONGEST",
    "NEW",
    "Action",
    "Classes",
    "DecisionEvent",
    "Effective",
    "Form",
    "Kind",
    "Mark",
    "MaskChange",
    "Repaired",
    "Repairs",
    "Scope",
    "Seen",
    "Sent",
    "Step",
    "Tool",
    "adopt",
    "claim",
    "claimed_by_others",
    "class_digest",
    "class_names",
    "decide",
    "decide_undecided",
    "decide_unless_changed",
    "effective",
    "exclude",
    "gather",
    "hand_over",
    "history",
    "made_cluster",
    "masks_of",
    "merge",
    "next_redo",
    "next_undo",
    "read_classes",
    "read_marks",
    "read_names",
    "read_repairs",
    "redo",
    "release",
    "rename",
    "repair",
    "repairs_digest",
    "repairs_version",
    "shorten",
    "split",
    "steps",
    "summarise",
    "to_csv",
    "undo",
    "version",
    "was_sent",
]
