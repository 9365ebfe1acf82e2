"""Reads an export as its users do, with their library, and writes down what came out.

Run in an environment that has the readers and not this package: python read_export.py READER FOLDER RESULT

The result is JSON: photo -> [[class, [x, y, width, height], mask]], a mask as [height, width, text], or photo ->
[[null, null, label map]]; {"missing": why} where the reader is not installed or lacks something.
"""

import base64
import json
import os
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np


def pack(pixels):
    pixels = np.ascontiguousarray(pixels, dtype=np.uint8)
    return [*pixels.shape, base64.b64encode(zlib.compress(pixels.tobytes())).decode("ascii")]


def boxed(mask):
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    return [int(cols[0]), int(rows[0]), int(cols[-1] - cols[0] + 1), int(rows[-1] - rows[0] + 1)]


def read_pycocotools(folder, file="annotations/instances.json"):
    from pycocotools.coco import COCO

    coco = COCO(str(folder / file))
    found = {item["file_name"]: [] for item in coco.imgs.values()}
    for item in coco.anns.values():
        name = coco.cats[item["category_id"]]["name"]
        found[coco.imgs[item["image_id"]]["file_name"]].append([name, item["bbox"], pack(coco.annToMask(item))])
    return found


def read_pycocotools_polygons(folder):
    return read_pycocotools(folder, "polygons/instances.json")


def read_torchvision(folder):
    from torchvision.datasets import VOCSegmentation

    found = {}
    for split in ("train", "val"):  # the folder is VOCdevkit/VOC2012 below this root
        voc = VOCSegmentation(str(folder.parents[1]), year="2012", image_set=split)
        for place in range(len(voc)):
            photo, labels = voc[place]
            assert photo.size == labels.size
            found[Path(voc.images[place]).name] = [[None, None, pack(np.asarray(labels))]]
    return found


def read_ultralytics(folder):
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset, polygon2mask

    data = check_det_dataset(str(folder / "data.yaml"), autodownload=False)
    found = {}
    for split in ("train", "val"):
        for item in YOLODataset(img_path=data[split], data=data, task="segment", augment=False).get_labels():
            height, width = item["shape"]
            entries = []
            for number, polygon, box in zip(item["cls"][:, 0], item["segments"], item["bboxes"], strict=True):
                mask = polygon2mask((height, width), [(polygon * (width, height)).ravel()])
                x, y, w, h = box * (width, height, width, height)  # the middle, and the size
                entries.append([data["names"][int(number)], [x - w / 2, y - h / 2, w, h], pack(mask)])
            found[Path(item["im_file"]).name] = entries
    return found


def read_fiftyone(folder):
    """By the importer that ``Dataset.from_dir`` reads with; a data set itself would need MongoDB."""
    from fiftyone.utils.coco import COCODetectionDatasetImporter

    root = {"data_path": str(folder / "images"), "labels_path": str(folder / "annotations/instances.json")}
    found = {}
    with COCODetectionDatasetImporter(label_types=["segmentations"], **root) as importer:
        for path, about, label in importer:
            width, height = about.width, about.height
            entries = []
            for item in label.detections if label is not None else []:
                box = np.array(item.bounding_box) * (width, height, width, height)
                mask = item.to_segmentation(frame_size=(width, height), target=1).mask > 0
                entries.append([item.label, box.tolist(), pack(mask)])
            found[os.path.relpath(path, folder / "images")] = entries
    return found


def read_lightly_studio(folder):
    """It takes the boxes of polygons and leaves their masks; run-length codes it takes of crowds alone."""
    from lightly_studio import ImageDataset
    from lightly_studio.models.annotation.annotation_base import AnnotationType

    dataset = ImageDataset.create()
    dataset.add_samples_from_coco(
        annotations_json=folder / "polygons/instances.json",
        images_path=folder / "images",
        annotation_type=AnnotationType.SEGMENTATION_MASK,
        embed=False,
        embed_annotations=False,
    )
    found = {}
    for sample in dataset:
        entries = []
        for item in sample.annotations:
            box = np.zeros((sample.height, sample.width), bool)
            box[item.y : item.y + item.height, item.x : item.x + item.width] = True
            entries.append([item.class_name, [item.x, item.y, item.width, item.height], pack(box)])
        found[os.path.relpath(sample.file_path_abs, folder / "images")] = entries
    return found


def read_datasets(folder):
    from datasets import load_dataset

    found = {}
    for rows in load_dataset(str(folder)).values():
        names = rows.features["objects"]["category"].feature.names
        for row in rows:
            assert row["image"].size == (row["width"], row["height"])
            if row["label_map"] is not None:
                assert np.asarray(row["label_map"]).shape == (row["height"], row["width"])
            things = row["objects"]
            fields = zip(things["category"], things["bbox"], things["mask"], strict=True)
            found[row["image_id"]] = [[names[kind], box, pack(np.asarray(mask))] for kind, box, mask in fields]
    return found


def _read_supervision(dataset, root):
    found = {}
    for path, _, detections in dataset:
        masks = detections.mask if detections.mask is not None else []
        found[os.path.relpath(path, root)] = [
            [dataset.classes[int(number)], [box[0], box[1], box[2] - box[0], box[3] - box[1]], pack(mask)]
            for number, box, mask in zip(detections.class_id, detections.xyxy.tolist(), masks, strict=True)
        ]
    return found


def read_supervision_coco(folder):
    import supervision

    images, file = str(folder / "images"), str(folder / "annotations/instances.json")
    return _read_supervision(supervision.DetectionDataset.from_coco(images, file, force_masks=True), images)


def read_supervision_yolo(folder):
    import supervision

    found = {}
    for split in ("train", "val"):
        images, labels = str(folder / "images" / split), str(folder / "labels" / split)
        how = {"data_yaml_path": str(folder / "data.yaml"), "force_masks": True}
        found |= _read_supervision(supervision.DetectionDataset.from_yolo(images, labels, **how), images)
    return found


def read_atlas(folder):
    """As Embedding Atlas reads a file that it is given: by DuckDB; a picture is a struct with bytes."""
    import io

    import duckdb
    from PIL import Image

    columns = "photo, name, x, y, image"
    found = {}
    for photo, name, x, y, image in duckdb.sql(f"SELECT {columns} FROM '{folder / 'masks.parquet'}'").fetchall():
        assert np.isfinite([x, y]).all()
        crop = np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("L"))
        found.setdefault(photo, []).append([name, [x, y, 0, 0], pack(crop)])
    return found


def main(reader, folder, result):
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.update({"HOME": scratch, "HF_HOME": scratch, "YOLO_CONFIG_DIR": scratch, "HF_HUB_OFFLINE": "1"})
        os.environ.update({"FIFTYONE_DO_NOT_TRACK": "1", "LIGHTLY_STUDIO_TELEMETRY": "0", "YOLO_OFFLINE": "true"})
        os.chdir(scratch)
        try:
            found = globals()[f"read_{reader}"](Path(folder))
        except ImportError as error:
            found = {"missing": f"{error}"}
    Path(result).write_text(json.dumps(found, default=float))


if __name__ == "__main__":
    main(*sys.argv[1:])
