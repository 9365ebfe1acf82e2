"""Stage ``filter``: which candidates are kept, and which rule dropped the others."""

import pandas as pd

from maskdistill.config import FilterConfig
from maskdistill.filtering import RULES, FilterResult, describe, filter_masks
from maskdistill.mask_signals import MaskSignals
from maskdistill.stages.context import Context
from maskdistill.store import LabelFolder, write_table


def select_masks(context: Context) -> str:
    """Filter the first model's candidates."""
    result = write_kept(context.run, context.config.filter)
    return " ".join([f"{int(result.kept.sum())} of {len(result.kept)} masks kept.", *describe(result)])


def write_kept(folder: LabelFolder, config: FilterConfig) -> FilterResult:
    """Write kept.parquet beside the candidates: mask_id, kept, and the rule that decided."""
    table = folder.candidates()
    result = filter_masks(MaskSignals.from_columns(table), config)
    kept = pd.DataFrame(
        {"mask_id": table["mask_id"], "kept": result.kept, "rule": [RULES[number] for number in result.rule]}
    )
    write_table(folder.kept_path, kept)
    return result
