"""A run of four small photos, stage by stage, and what its exports hold."""

import json

import numpy as np
import pandas as pd
from whole_tables import write_whole_table

from maskdistill.exports.run import export_run
from maskdistill.files import write_json
from maskdistill.masks import bounding_box, encode_mask
from maskdistill.pseudo_labels.label_maps import read_label_png, write_label_png
from maskdistill.stages.stage_list import BY_NAME
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import fingerprint

HEIGHT, WIDTH = 12, 16
NUM_PHOTOS = 4  # 0 and 1 are training photos with masks, 2 is the val photo, 3 cannot be decoded


def box(x, y, width, height):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    return mask


PROPOSALS = {0: box(1, 1, 4, 4), 1: box(8, 2, 6, 6), 10: box(2, 3, 5, 5), 20: box(0, 0, 3, 9), 30: box(1, 1, 2, 2)}
CLUSTERS = {0: 1, 1: 3, 10: 2, 20: 3, 30: 1}
DRAWN = {
    0: (box(1, 1, 5, 5), 1, 0.95),
    1: (box(8, 2, 7, 7), 2, 0.4),
    2: (box(0, 8, 4, 3), 3, 0.92),
    10: (box(2, 3, 5, 5), 2, 0.3),
}
KEPT = {0, 2}


def annotation(id, mask, label=1, score=0.5):
    code = {"segmentation": encode_mask(mask), "bbox": bounding_box(mask)}
    return {"id": id, "image_id": id // 10, "category_id": label, "score": score, **code}


def finish(run, *names):
    """Note that the stages were made from what is noted of the ones before."""
    for name in names:
        aside = {"embeddings": ("proposals",), "candidates": ("stage1",)}  # without foreground and single objects
        needs = aside.get(name, BY_NAME[name].needs)
        made_from = {"from": {need: read_json(run.stage_path(need))["fingerprint"] for need in needs}}
        write_json(run.stage_path(name), {"fingerprint": fingerprint([name, made_from]), "made_from": made_from})
        for artifact in BY_NAME[name].artifacts:
            path = run.path / artifact
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def cluster(run):
    finish(run, "embeddings", "clusters", "classes")
    table = pd.DataFrame({"mask_id": list(CLUSTERS), "cluster": list(CLUSTERS.values())})
    for path in (run.clusters_path, run.classes_path):
        write_whole_table(path, table)
    for name in ("clusters.json", "classes.json"):
        numbers = {"clusters": read_json(run.stage_path("clusters"))["fingerprint"], "adopted": 0, "names": {}}
        write_json(run.path / name, {"num_classes": 3, **(numbers if name == "classes.json" else {})})


def judge(run):
    finish(run, "stage1", "candidates")
    rows = [
        {"mask_id": id, "image": id // 10, "origin": "proposal" if id in PROPOSALS else "stage1", "label": label}
        | {"cluster": CLUSTERS.get(id, label), "iou": 0.5 if id in PROPOSALS else np.nan, "agreement": 0.6}
        | {"distance": 0.1, "area": 0.2, "border": 0.0, "proposal_score": 0.5, "score": score}
        for id, (_, label, score) in DRAWN.items()
    ]
    write_whole_table(run.candidates_path, pd.DataFrame(rows))
    annotations = [annotation(id, *values) for id, values in DRAWN.items()]
    write_json(run.path / "candidates.json", {"images": [{"id": 0}, {"id": 1}], "annotations": annotations})


def choose(run):
    finish(run, "filter")
    rows = [{"mask_id": id, "kept": id in KEPT, "rule": "" if id in KEPT else "min_score"} for id in DRAWN]
    write_whole_table(run.kept_path, pd.DataFrame(rows))


def label(run):
    finish(run, "pseudo_labels")
    write_label_png(run.pseudo_label(0), DRAWN[0][0].astype(np.uint8))
    write_label_png(run.pseudo_label(1), np.full((HEIGHT, WIDTH), 3, np.uint8))  # of an earlier filter
    write_json(run.path / "pseudo_labels.json", {"photos": [0]})


def train_rounds(run, model="stage2"):
    finish(run, "stage2", "rounds")
    stage2 = read_json(run.stage_path("stage2"))["fingerprint"]
    write_json(run.rounds_path, {"stage2": stage2, "model": model, "rounds": []})


def predict(run, refined=(2,)):
    train_rounds(run)
    finish(run, "predictions")
    for kind, value, numbers in (("stage2", 2, (0, 1, 2)), ("stage2_crf", 3, refined)):
        for number in numbers:
            write_label_png(run.prediction(kind, number), np.full((HEIGHT, WIDTH), value, np.uint8))
    write_json(run.path / "predictions.json", {"photos": [0, 1, 2], "crf": list(refined)})


def coco_of(run, out, **options):
    sentence = export_run(run, "coco", out, **options)
    content = json.loads((out / "annotations" / "instances.json").read_text())
    return content, {item["mask_id"]: item for item in content["annotations"]}, sentence


def voc_of(run, out, **options):
    export_run(run, "voc", out, **options)
    return {path.stem: read_label_png(path) for path in sorted((out / "SegmentationClass").glob("*.png"))}
