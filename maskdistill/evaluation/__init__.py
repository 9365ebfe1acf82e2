"""Ground truth and comparisons, for reporting only: nothing that trains or chooses imports this.

``confusion`` (mIoU, matching), ``mask_ap`` and ``region_metrics`` measure; ``mask_truth`` and ``photo_metrics`` do so
for each mask and photo; ``report`` answers questions about a finished run.
"""
