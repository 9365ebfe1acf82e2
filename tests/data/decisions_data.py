"""A run of twelve clustered masks on four photos, for tests of decisions."""

import numpy as np
import pandas as pd
from whole_tables import write_whole_table

from maskdistill.files import write_json
from maskdistill.review.decisions import Action, Mark, Scope, claim, decide, gather, made_cluster, rename, undo
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.saved_views import save_view

IDS = [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]
CLUSTERS = [1, 1, 2, 1, 2, 2, 3, 3, 1, 4, 4, 2]
NUM_CLASSES = 4


def frame_of(ids=IDS):
    """Masks as ``effective`` takes them: each in its own corner of its photo."""
    rows = [(mask_id, f"photo {mask_id // 10}", 40 * (mask_id % 10), 5, 30, 20) for mask_id in ids]
    return pd.DataFrame(rows, columns=["mask_id", "image_id", "x", "y", "w", "h"])


def mark(mask_id, action=Action.REJECT, cluster=None, *, frame=None):
    row = (frame_of() if frame is None else frame).set_index("mask_id").loc[mask_id]
    return Mark(mask_id, row["image_id"], (row["x"], row["y"], row["w"], row["h"]), Action(action), cluster)


def make_run(path):
    run = Run(path)
    run.write_info({"data": "sample", "config": {}, "backbone": {"name": "none"}})
    boxes = {name: f"bbox_{name}" for name in "xywh"}
    write_whole_table(run.masks_path, frame_of().rename(columns=boxes))
    cluster_anew(run, "first")
    return run


def cluster_anew(run, fingerprint, clusters=CLUSTERS):
    """Another clustering takes the place of the one there is."""
    table = pd.DataFrame({"mask_id": IDS, "cluster": clusters, "distance": 0.5, "margin": 0.1, "fitted": True})
    write_table(run.clusters_path, table)
    write_json(run.path / "clusters.json", {"num_classes": max(clusters)})
    write_json(run.stage_path("clusters"), {"fingerprint": fingerprint, "made_from": {}})


def by_mask(classes):
    return dict(zip(classes.mask_ids.tolist(), np.asarray(classes.cluster).tolist(), strict=True))


def write_many(run, name):
    """What one reviewer does in a minute: a step after the other, on masks and on clusters."""
    for mask_id in IDS:
        decide(run, name, [mark(mask_id)], scope=Scope.LABELS)
        rename(run, name, 1 + mask_id % 4, f"{name} {mask_id}")
    decide(run, name, [mark(0, Action.ACCEPT)], scope=Scope.LABELS)
    undo(run, name, scope=Scope.LABELS)


def claim_one_by_one(run, session):
    """The masks that a session got, of all of them."""
    return [mask_id for mask_id in IDS if claim(run, session, [mask_id])]


def write_all_kinds(run, name):
    """For each second mask, another one for each name: a step of each kind, a saved selection, a claim."""
    for mask_id in IDS[len(name) % 2 :: 2]:
        step = gather(run, name, [mask_id])
        decide(run, name, [mark(mask_id)], scope=Scope.LABELS)
        decide(run, name, [mark(mask_id, Action.ACCEPT)], scope=Scope.CLUSTERS)
        rename(run, name, made_cluster(run, step)[0], f"{name} {mask_id}")
        undo(run, name, scope=Scope.LABELS)
        save_view(run, "selection", f"{name} {mask_id}", [mask_id])
        claim(run, name, [mask_id], reviewer=name)
