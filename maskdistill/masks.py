"""Plain operations on boolean masks: borders, overlap, run-length codes."""

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask


def border_share(mask: np.ndarray) -> float:
    """Fraction of the one-pixel frame of a (H, W) mask that is set, each corner counted once."""
    return float(border_shares(mask[None])[0])


def border_shares(masks: np.ndarray) -> np.ndarray:
    """``border_share`` of each of (K, H, W) masks, (K,)."""
    frame = np.ones(masks.shape[1:], dtype=bool)
    frame[1:-1, 1:-1] = False
    return masks[:, frame].mean(axis=1)


def mask_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boolean arrays of one shape; 0 if both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(x, y, width, height) in pixels, as COCO writes it; zeros for an empty mask."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(cols[0]), int(rows[0]), int(cols[-1] - cols[0] + 1), int(rows[-1] - rows[0] + 1)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run-length code of a (H, W) bool mask, with ``counts`` as text, ready for JSON."""
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}


def describe_mask(mask: np.ndarray) -> dict[str, Any]:
    """Code, area and box in pixels of a (H, W) bool mask, as an annotation of COCO has them."""
    return {
        "segmentation": encode_mask(mask),
        "area": int(np.count_nonzero(mask)),
        "bbox": list(bounding_box(mask)),
        "iscrowd": 0,
    }


def decode_mask(code: dict[str, Any]) -> np.ndarray:
    """Inverse of ``encode_mask``: (H, W) bool."""
    return coco_mask.decode(code).astype(bool)
