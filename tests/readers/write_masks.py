"""Writes masks as the users of a tool export them, with that tool.

Run in an environment that has the tools and not this package: python write_masks.py WRITER PHOTOS MASKS FOLDER

MASKS is an .npz of (N, H, W) bool arrays, the name of each the stem of its PNG photo; the first mask of a photo is a
cup, the second a plate. The last printed line is {"written": path} in JSON, or {"missing": why} where the tool is not
installed or lacks something.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

NAMES = ["cup", "plate"]
SCORE = 0.75


def boxes_of(masks):
    """(N, 4) x, y of the first and of the last pixel."""
    spans = [(np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))) for mask in masks]
    return np.array([[cols[0], rows[0], cols[-1], rows[-1]] for cols, rows in spans], float)


def _supervision_data(photos, masks):
    import supervision

    paths = {str(photos / f"{name}.png"): found for name, found in masks.items()}
    labels = {
        path: supervision.Detections(xyxy=boxes_of(found), mask=found, class_id=np.arange(len(found)))
        for path, found in paths.items()
    }
    return supervision.DetectionDataset(classes=NAMES, images=list(paths), annotations=labels)


def write_supervision_coco(photos, masks, folder):
    _supervision_data(photos, masks).as_coco(annotations_path=str(folder / "masks.json"))
    return folder / "masks.json"


def write_supervision_yolo(photos, masks, folder):
    places = {"annotations_directory_path": str(folder / "labels"), "data_yaml_path": str(folder / "data.yaml")}
    _supervision_data(photos, masks).as_yolo(**places)
    return folder


def _lightly_data(photos, masks):
    from lightly_studio import ImageDataset
    from lightly_studio.core.annotation.annotation_create import CreateSegmentationMask

    dataset = ImageDataset.create()
    dataset.add_images_from_path(photos, embed=False)
    for sample in dataset:
        for name, mask in zip(NAMES, masks[Path(sample.file_name).stem], strict=False):
            sample.add_annotation(CreateSegmentationMask.from_binary_mask(name, mask.astype(int), SCORE))
    return dataset


def write_lightly_coco(photos, masks, folder):
    _lightly_data(photos, masks).export().to_coco_segmentation_masks(folder / "masks.json")
    return folder / "masks.json"


def write_lightly_voc(photos, masks, folder):
    _lightly_data(photos, masks).export().to_pascalvoc_segmentation_mask(folder)
    return folder


def write_fiftyone_coco(photos, masks, folder):
    """By the exporter that ``export`` of a data set writes with; a data set itself would need MongoDB."""
    from fiftyone import Detection, Detections
    from fiftyone.utils.coco import COCODetectionDatasetExporter

    with COCODetectionDatasetExporter(export_dir=str(folder), export_media=False, classes=NAMES) as exporter:
        for photo, found in masks.items():
            height, width = found.shape[1:]
            labels = []
            for name, mask, (left, top, right, low) in zip(NAMES, found, boxes_of(found).astype(int), strict=False):
                inside = mask[top : low + 1, left : right + 1]
                size = (right - left + 1) / width, (low - top + 1) / height
                labels.append(Detection(label=name, bounding_box=[left / width, top / height, *size], mask=inside))
            exporter.export_sample(str(photos / f"{photo}.png"), Detections(detections=labels))
    return folder / "labels.json"


def write_ultralytics(photos, masks, folder):
    import cv2
    import torch
    from ultralytics.engine.results import Results

    for name, found in masks.items():
        path = photos / f"{name}.png"
        boxes = [[*box, SCORE, number] for number, box in enumerate(boxes_of(found).tolist())]
        parts = {"boxes": torch.tensor(boxes), "masks": torch.from_numpy(found.astype(np.float32))}
        results = Results(cv2.imread(str(path)), path=str(path), names=dict(enumerate(NAMES)), **parts)
        results.save_txt(folder / "labels" / f"{name}.txt", save_conf=True)
    return folder / "labels"


def main(writer, photos, masks, folder):
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.update({"HOME": scratch, "HF_HOME": scratch, "YOLO_CONFIG_DIR": scratch, "HF_HUB_OFFLINE": "1"})
        os.environ.update({"FIFTYONE_DO_NOT_TRACK": "1", "LIGHTLY_STUDIO_TELEMETRY": "0", "YOLO_OFFLINE": "true"})
        os.chdir(scratch)
        with np.load(masks) as stored:
            found = {name: stored[name] for name in stored.files}
        try:
            answer = {"written": str(globals()[f"write_{writer}"](Path(photos), found, Path(folder)))}
        except ImportError as error:
            answer = {"missing": f"{error}"}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
