"""How far each mask of a run stands out, by the foreground that was learnt across photos."""

import numpy as np

from maskdistill.masks import border_share, decode_mask
from maskdistill.stages.context import Context
from maskdistill.storage.photo_arrays import ArrayStore


def mask_prominence(context: Context) -> dict[int, float]:
    """Mask id -> what ``doubtful_clusters`` reads, [0, 1]; without the masks of photos that have no foreground map."""
    from maskdistill.proposals.foreground_masks import Seen, foreground_part  # loads torch

    if context.run.own_mask_stage != "foreground":
        return {}
    maps, found = ArrayStore(context.run.foreground.maps_path), {}
    for number, items in context.annotations.items():
        if not maps.path(number).is_file():
            continue
        probability = np.asarray(maps.read(number)[..., 0], np.float32)
        seen = Seen(probability, np.zeros((0, 0), np.float32), context.geometry(context.photo(number)))
        for item in items:
            mask = decode_mask(item["segmentation"])
            found[item["id"]] = foreground_part(mask, seen) * (1 - border_share(mask))
    return found
