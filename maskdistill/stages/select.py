"""Stage ``filter``: which candidates are kept, and which rule dropped the others."""

import pandas as pd

from maskdistill.filtering import RULES, describe, filter_masks
from maskdistill.mask_signals import MaskSignals
from maskdistill.stages.context import Context
from maskdistill.store import write_table


def select_masks(context: Context) -> str:
    """Write kept.parquet: mask_id, kept, and the rule that decided."""
    table = context.run.candidates()
    result = filter_masks(MaskSignals.from_columns(table), context.config.filter)
    kept = pd.DataFrame(
        {"mask_id": table["mask_id"], "kept": result.kept, "rule": [RULES[number] for number in result.rule]}
    )
    write_table(context.run.kept_path, kept)
    return " ".join([f"{int(result.kept.sum())} of {len(table)} masks kept.", *describe(result)])
