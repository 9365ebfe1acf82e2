"""A run of any number of masks, for measuring the pages: drawn photos, random embeddings, no model.

Everything that a page reads is there, in the files and by the code of a real run: photos with ground truth, masks,
clusters, a map, what a first model says, what the filter keeps, label maps, and the report. The numbers mean nothing.
Photos, crops and label maps are hard links to a few dozen files; what is counted photo by photo repeats itself after
``COUNTED`` photos.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.drawn_photos import NUM_CLASSES, NUM_DRAWN, SIZE, TRAIN_SHARE, Shape, draw_photos, draw_shape
from maskdistill.clustering.cluster_summary import cluster_table
from maskdistill.clustering.embedding_space import EmbeddingSpace
from maskdistill.clustering.kmeans import Clustering
from maskdistill.config import RunConfig, load_preset
from maskdistill.datasets import PhotoSource, open_source
from maskdistill.errors import ConfigError
from maskdistill.evaluation.confusion import Confusion, match_by_majority, match_one_to_one, report
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.mask_truth import PhotoTruth, write_truth
from maskdistill.evaluation.photo_metrics import count_photos, write_photo_results
from maskdistill.evaluation.run_label_maps import PSEUDO_LABELS
from maskdistill.features.registry import SPECS, BackboneChoice
from maskdistill.files import write_json
from maskdistill.proposals.thumbnails import write_thumbnail
from maskdistill.pseudo_labels.label_maps import write_label_png
from maskdistill.stages.merge import merge_results
from maskdistill.stages.plan import Plan
from maskdistill.stages.select import write_kept
from maskdistill.stages.stage_list import OF_EVERY_RUN
from maskdistill.storage.mask_tables import as_categories, code_columns, write_masks
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run, thumbnail_in, write_table

MASKS_A_PHOTO = 8
DIMENSIONS = 32
NUM_SHAPES = 400  # different masks
COUNTED = 10 * NUM_DRAWN  # photos whose label maps are compared with ground truth; those after repeat them
BACKBONE = "focus_vits14"


def generate_run(folder: Path, num_masks: int, seed: int = 0) -> Run:
    """Write photos to ``folder``/data and a finished run to ``folder``/runs/generated.

    Args:
        folder: New or empty; photos and crops are linked, so it must lie on one file system.
        num_masks: Masks of the run, rounded up to whole photos.
        seed: Of everything.
    """
    generator = np.random.default_rng(seed)
    num_photos = -(-num_masks // MASKS_A_PHOTO)
    drawn = draw_photos(folder / "data", num_photos, generator)
    run = Run(folder / "runs" / "generated")
    run.path.mkdir(parents=True)
    source = open_source(str(folder / "data"), seen=run.seen_path)
    config = replace(load_preset("quick"), features=replace(load_preset("quick").features, backbone=BACKBONE))
    config = config.with_overrides([f"clusters.num_classes={NUM_CLASSES}", "filter.min_score=0.5"])
    run.write_info(_info(source, config))
    assert source.seen is not None  # as a run's folder was named
    source.seen.write(run.seen_path, source.fingerprint)  # as ``propose`` does: photos are not read again
    shapes = [draw_shape(generator) for _ in range(NUM_SHAPES)]
    chosen = generator.integers(NUM_SHAPES, size=(num_photos, MASKS_A_PHOTO))
    _write_proposals(run, source, shapes, chosen, generator)
    _write_clusters(run, generator)
    _write_candidates(run, source, shapes, chosen, generator)
    write_kept(run, run, config.filter)
    _write_label_maps(run, source, drawn, generator)
    _write_records(run, source, config)
    _write_crops(run, source, shapes, chosen)
    _write_truth(run, source, drawn, shapes, chosen)
    _write_photo_results(run, source)
    return run


def kept_run(folder: Path, num_masks: int) -> Run:
    """The run that ``generate_run`` left in a folder before, without people's decisions; made there if there is none.

    Raises:
        ConfigError: If the folder holds a run of another number of masks.
    """
    run, finished = Run(folder / "runs" / "generated"), folder / "finished.json"
    if not finished.is_file():
        generate_run(folder, num_masks)
        write_json(finished, {"num_masks": num_masks})
    if (found := read_json(finished)["num_masks"]) != num_masks:
        raise ConfigError(f"{folder} holds a run of {found:,} masks, not of {num_masks:,}. Name another folder.")
    for path in run.path.glob("run.sqlite*"):
        path.unlink()
    return run


def _info(source: PhotoSource, config: RunConfig) -> dict[str, Any]:
    return {
        "format": 1,
        "data": source.spec,
        "source": {"kind": source.kind, "classes": list(source.classes), "has_labels": True},
        "preset": "quick",
        "config": config.to_dict(),
        "backbone": {"requested": BACKBONE, "name": BACKBONE, "reason": "", "weights": SPECS[BACKBONE].weights},
        "versions": {},
        "limit": 0,
    }


def _write_proposals(
    run: Run, source: PhotoSource, shapes: list[Shape], chosen: np.ndarray, generator: np.random.Generator
) -> None:
    names = ("view_agreement", "eigengap", "stability", "contrast", "area", "border")
    results = []
    parts = generator.beta(5, 2, (*chosen.shape, len(names))).round(6)
    scores = parts.mean(axis=2).round(6)
    for number in range(len(source.photos)):
        count = MASKS_A_PHOTO - (number < round(TRAIN_SHARE * len(source.photos)))  # the model sees one more there
        annotations = [
            {
                **_annotation(number, rank, shapes[chosen[number, rank]]),
                "category_id": 1,
                "score": float(scores[number, rank]),
                "parts": dict(zip(names, parts[number, rank].tolist(), strict=True)),
            }
            for rank in range(count)
        ]
        results.append({"number": number, "annotations": annotations, "error": "", "problem": ""})
    merge_results(run, source, results)


def _annotation(number: int, rank: int, shape: Shape) -> dict[str, Any]:
    return {
        "id": number * MASKS_PER_PHOTO + rank,
        "image_id": number,
        "segmentation": shape.code,
        "area": shape.area,
        "bbox": shape.box,
        "iscrowd": 0,
    }


def _write_clusters(run: Run, generator: np.random.Generator) -> None:
    ids = run.masks(("mask_id",))["mask_id"].to_numpy()
    labels = np.concatenate([np.arange(NUM_CLASSES), generator.integers(NUM_CLASSES, size=len(ids) - NUM_CLASSES)])
    centres = generator.normal(size=(NUM_CLASSES, DIMENSIONS))
    vectors = centres[labels] + 0.9 * generator.normal(size=(len(ids), DIMENSIONS))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    clustering = Clustering.from_labels(vectors, labels)
    fitted = run.images()["split"].eq("train").to_numpy()[ids // MASKS_PER_PHOTO]
    columns = {"cluster": labels + 1, "distance": clustering.distances, "margin": clustering.margins}
    write_table(run.clusters_path, pd.DataFrame({"mask_id": ids, **columns, "fitted": fitted}))
    np.save(run.path / "embeddings.npy", vectors)
    ones = np.ones(DIMENSIONS)
    space = EmbeddingSpace(ones, np.zeros(DIMENSIONS), None, ones, normalise=True, note=None)
    np.savez(run.path / "space.npz", centres=clustering.centres, **space.to_arrays())
    angles = 2 * np.pi * labels / NUM_CLASSES
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 10
    np.save(run.path / "umap_xy.npy", (around + generator.normal(size=around.shape)).astype(np.float32))
    record = {
        "num_classes": NUM_CLASSES,
        "embedding": "random",
        "dimensions": DIMENSIONS,
        "agreement": 0.5,
        "inertias": [],
        "embeddings": [],
        "num_classes_curve": None,
        "clusters": [_describe(row, ids) for row in cluster_table(clustering, vectors)],
    }
    write_json(run.path / "clusters.json", record)
    write_json(run.path / "embeddings.json", {"folder": "none", "errors": {}})


def _describe(row: dict[str, Any], ids: np.ndarray) -> dict[str, Any]:
    shown = {name: ids[row[name]].tolist() for name in ("exemplars", "borderline")}
    return {**row, **shown, "cluster": row["cluster"] + 1}


def _write_candidates(
    run: Run, source: PhotoSource, shapes: list[Shape], chosen: np.ndarray, generator: np.random.Generator
) -> None:
    """What a first model says of the masks of the train split, and one object a photo that it sees itself."""
    num_train = round(TRAIN_SHARE * len(source.photos))
    clusters = run.clusters().set_index("mask_id")
    masks = run.masks(("mask_id", "score")).set_index("mask_id")
    ids = (np.arange(num_train)[:, None] * MASKS_PER_PHOTO + np.arange(MASKS_A_PHOTO)).ravel()
    proposed = ids % MASKS_PER_PHOTO < MASKS_A_PHOTO - 1
    label = generator.integers(1, NUM_CLASSES + 1, len(ids))
    cluster = np.where(proposed, clusters["cluster"].reindex(ids).fillna(0), label).astype(np.int64)
    label = np.where(generator.random(len(ids)) < 0.85, cluster, label)
    of_shape = [shapes[number] for number in chosen[:num_train].ravel()]
    measured = {name: np.where(proposed, generator.beta(4, 2, len(ids)), np.nan) for name in ("iou", "agreement")}
    table = {
        "mask_id": ids,
        "image_id": np.array([photo.id for photo in source.photos])[ids // MASKS_PER_PHOTO],
        "image": ids // MASKS_PER_PHOTO,
        "origin": np.where(proposed, "proposal", "stage1"),
        "cluster": cluster,
        "label": label,
        "score": generator.beta(5, 2, len(ids)),
        **measured,
        "distance": clusters["distance"].reindex(ids).to_numpy(),
        "area": [shape.area / (SIZE[0] * SIZE[1]) for shape in of_shape],
        "border": generator.beta(1, 9, len(ids)),
        "proposal_score": masks["score"].reindex(ids).to_numpy(),
    }
    annotations = [
        {**_annotation(mask_id // MASKS_PER_PHOTO, mask_id % MASKS_PER_PHOTO, shape), "category_id": value}
        | {"score": score}
        for mask_id, shape, value, score in zip(
            ids.tolist(), of_shape, label.tolist(), table["score"].tolist(), strict=True
        )
    ]
    images = [{"id": number, "file_name": "", "height": SIZE[0], "width": SIZE[1]} for number in range(num_train)]
    classes = range(1, NUM_CLASSES + 1)
    coco = {"images": images, "annotations": annotations, "categories": as_categories(classes)}
    coded = pd.DataFrame(table | code_columns(annotations))
    write_masks(run.candidate_masks_path, coded, lambda: coco, classes=classes, photos=range(num_train))


def _write_label_maps(run: Run, source: PhotoSource, drawn: list[np.ndarray], generator: np.random.Generator) -> None:
    """Label maps of every kind, each the ground truth with a part of it wrong, and the report on them."""
    num_train = round(TRAIN_SHARE * len(source.photos))
    wrong = {"pseudo_labels": 0.3, "stage1": 0.4, "stage2": 0.2, "stage2_crf": 0.15}
    counted = {}
    for kind, share in wrong.items():
        maps = [_spoil(labels, share, generator) for labels in drawn]
        train = range(num_train)
        numbers, path_of = (train, run.pseudo_label) if kind == "pseudo_labels" else (range(len(source.photos)), None)
        _link_maps(maps, numbers, path_of or (lambda number, kind=kind: run.prediction(kind, number)))
        counted[kind] = _measure(drawn, maps, source)
    write_json(run.path / "pseudo_labels.json", {"photos": list(range(num_train))})
    everything = list(range(len(source.photos)))
    write_json(run.path / "predictions.json", {"photos": everything, "crf": everything, "model": "stage2"})
    write_json(run.path / "metrics.json", _report(run, source, counted))


def _spoil(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    spoiled = labels.copy()
    for value in np.unique(labels):
        if generator.random() < share:
            spoiled[labels == value] = generator.integers(NUM_CLASSES + 1)
    return spoiled


def _link_maps(maps: list[np.ndarray], numbers: range, path_of: Callable[[int], Path]) -> None:
    for number in numbers:
        path = path_of(number)
        if number < len(maps):
            write_label_png(path, maps[number])
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(path_of(number % len(maps)), path)


def _measure(drawn: list[np.ndarray], maps: list[np.ndarray], source: PhotoSource) -> dict[str, Any]:
    counts = Confusion(num_classes=NUM_CLASSES, num_clusters=NUM_CLASSES, skip_unknown=True)
    for labels, found in zip(drawn, maps, strict=True):
        counts.update(labels, found)
    majority = report(counts, source.classes, match_by_majority(counts))
    found = report(counts, source.classes, match_one_to_one(counts)).to_dict()
    return {**found, "majority_miou": majority.miou, "num_training": 0}


def _report(run: Run, source: PhotoSource, counted: dict[str, Any]) -> dict[str, Any]:
    kept = run.kept(("mask_id", "kept", "rule"))
    models = {name: counted[name] for name in ("stage1", "stage2")}
    return {
        "ground_truth": True,
        "split": "val",
        "matching": "one-to-one (Hungarian), background to background; over-clustering by majority is named so",
        "classes": list(source.classes),
        "counts": {
            "photos": len(source.photos),
            "training_photos": round(TRAIN_SHARE * len(source.photos)),
            "masks": len(run.masks(("mask_id",))),
            "candidates": len(kept),
            "kept": int(kept["kept"].sum()),
            "rules": kept["rule"].value_counts().to_dict(),
            "pseudo_labels": round(TRAIN_SHARE * len(source.photos)),
        },
        "reported": {"proposals": counted["stage1"], **models, "stage2_crf": counted["stage2_crf"]},
        "training": {"proposals": counted["stage1"], "pseudo_labels": counted["pseudo_labels"], **models},
        "masks": {"num_images": len(source.photos), "corloc": 0.5, "mean_best_iou": 0.5, "mask_ap50": 0.5},
    }


def _write_records(run: Run, source: PhotoSource, config: RunConfig) -> None:
    """What a finished stage leaves behind, so that none counts as stale."""
    plan = Plan(run, source, config, BackboneChoice(SPECS[BACKBONE], ""))
    for name in OF_EVERY_RUN:
        if name != "rounds":
            made_from = json.loads(json.dumps(plan.made_from(name)))
            write_json(run.stage_path(name), {"fingerprint": plan.key(name), "made_from": made_from})


def _write_crops(run: Run, source: PhotoSource, shapes: list[Shape], chosen: np.ndarray) -> None:
    made: dict[tuple[int, int], Path] = {}
    folders: set[Path] = set()
    thumbs = run.thumbs
    images = [Image.open(photo.path).convert("RGB") for photo in source.photos[:NUM_DRAWN]]
    for number in range(len(source.photos)):
        for rank in range(MASKS_A_PHOTO):
            path = thumbnail_in(thumbs, number * MASKS_PER_PHOTO + rank)
            key = (int(chosen[number, rank]) % 20, number % NUM_DRAWN)
            if key in made:
                if path.parent not in folders:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    folders.add(path.parent)
                os.link(made[key], path)
            else:
                write_thumbnail(path, images[number % NUM_DRAWN], shapes[chosen[number, rank]].box, SIZE)
                made[key] = path


def _write_truth(
    run: Run, source: PhotoSource, drawn: list[np.ndarray], shapes: list[Shape], chosen: np.ndarray
) -> None:
    """As ``make_truth``, but each pair of a shape and a label map is compared once."""
    number, rank = (values.ravel() for values in np.indices(chosen.shape))
    pairs, which = np.unique((number % NUM_DRAWN) * NUM_SHAPES + chosen.ravel(), return_inverse=True)
    truths = [PhotoTruth(labels) for labels in drawn]
    found = [truths[pair // NUM_SHAPES].of_mask(shapes[pair % NUM_SHAPES].mask) for pair in pairs.tolist()]
    frame = pd.DataFrame(found, columns=["truth", "truth_share", "truth_iou"]).iloc[which].reset_index(drop=True)
    seen = (rank == MASKS_A_PHOTO - 1) & (number < round(TRAIN_SHARE * len(chosen)))
    write_truth(run, frame.assign(mask_id=number * MASKS_PER_PHOTO + rank, seen=seen), source.classes)


def _write_photo_results(run: Run, source: PhotoSource) -> None:
    """As ``make_photo_results``, but of the first photos, again and again."""
    truth, num_photos = GroundTruth(source), len(source.photos)
    counts, changes = (_repeat(table, num_photos) for table in count_photos(run, truth, COUNTED))
    of_train = counts["number"] < round(TRAIN_SHARE * num_photos)
    pair_of_train = changes["number"] < round(TRAIN_SHARE * num_photos)
    counts = counts[of_train | (counts["kind"] != PSEUDO_LABELS)]
    changes = changes[pair_of_train | ((changes["first"] != PSEUDO_LABELS) & (changes["second"] != PSEUDO_LABELS))]
    write_photo_results(run, counts, changes, truth)


def _repeat(table: pd.DataFrame, num_photos: int) -> pd.DataFrame:
    times = -(-num_photos // COUNTED)
    number = np.repeat(np.arange(times) * COUNTED, len(table)) + np.tile(table["number"], times)
    repeated = table.iloc[np.tile(np.arange(len(table)), times)].assign(number=number.astype(np.int32))
    return repeated[number < num_photos].reset_index(drop=True)
