"""What people's repairs brought, against ground truth: for the report alone."""

from typing import Any

import numpy as np

from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.region_metrics import best_iou
from maskdistill.masks import decode_mask
from maskdistill.stages.context import Context, annotations_by_photo
from maskdistill.stages.repairs import read_counts

_LEAST = 0.005  # of an IoU: less is neither better nor worse


def measure_repairs(context: Context, truth: GroundTruth) -> dict[str, Any] | None:
    """Best IoU of the mended masks with a region of the ground truth, before and after.

    Returns:
        ``masks``, mended ones on photos with ground truth; ``iou_before``, ``iou_after``, means, None without any;
        ``better`` and ``worse``, how many; ``new`` and ``iou_new``, the same of masks that people added; and the counts
        of all repairs. None where nobody mended a mask.
    """
    run = context.run
    if run.mask_stage != "repairs":
        return None
    own = {item["id"]: item for items in annotations_by_photo(run.own_codes_path).values() for item in items}
    pairs, new = [], []
    for number, items in context.annotations.items():
        drawn = [item for item in items if item["mended"]]
        labels = truth.read(context.photo(number)) if drawn else None
        if labels is None:
            continue
        for item in drawn:
            iou = best_iou(decode_mask(item["segmentation"]), labels)
            known = own.get(item["id"])
            if known is None:
                new.append(iou)
            else:
                pairs.append((best_iou(decode_mask(known["segmentation"]), labels), iou))
    before, after = np.array(pairs).reshape(-1, 2).T
    return {
        "masks": len(pairs),
        "iou_before": float(before.mean()) if len(pairs) else None,
        "iou_after": float(after.mean()) if len(pairs) else None,
        "better": int(np.count_nonzero(after - before > _LEAST)),
        "worse": int(np.count_nonzero(before - after > _LEAST)),
        "new": len(new),
        "iou_new": float(np.mean(new)) if new else None,
        "counts": read_counts(run),
    }
