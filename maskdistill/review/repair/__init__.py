"""Mending a mask: clicks and what the photo's patch tokens say of them, its parts, a brush, others to choose from.

Pure functions: a mask goes in, a new one comes out. Nothing here reads or writes a file, except that ``alternatives``
reads what a run holds of a photo; nothing uses ground truth.
"""

from maskdistill.review.repair.brush import paint
from maskdistill.review.repair.clicks import Click
from maskdistill.review.repair.mender import Mender
from maskdistill.review.repair.other_cuts import other_cuts
from maskdistill.review.repair.other_shapes import Alternative, alternatives, rank_alternatives
from maskdistill.review.repair.preview import Preview, make_preview
from maskdistill.review.repair.shapes import erase_component, fill_holes, keep_component, merge, smooth

__all__ = [
    "Alternative",
    "Click",
    "Mender",
    "Preview",
    "alternatives",
    "erase_component",
    "fill_holes",
    "keep_component",
    "make_preview",
    "merge",
    "other_cuts",
    "paint",
    "rank_alternatives",
    "smooth",
]
