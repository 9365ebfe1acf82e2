"""Files that other tools have written, not ones drawn up for the readers: tests/data/made_elsewhere says by which."""

import json
from pathlib import Path

import numpy as np
import pytest
from masks_elsewhere import HEIGHT, MASKS, OUTLINED, WIDTH, check_masks, draw_photos
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from maskdistill.datasets import open_source
from maskdistill.imports.given_masks import read_given_masks
from maskdistill.masks import decode_mask

FILES = Path(__file__).parents[2] / "data" / "made_elsewhere"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    draw_photos(folder)
    return open_source(folder)


@pytest.mark.parametrize(
    ("name", "format", "least"),
    [
        ("supervision_coco.json", "coco", OUTLINED),
        ("supervision_yolo", "yolo", OUTLINED),
        ("lightly_coco.json", "coco", 1.0),
        ("lightly_voc", "voc", 1.0),
        ("sam", "sam", 1.0),
        ("fiftyone", "fiftyone", 1.0),
        ("datumaro_voc", "voc", 1.0),
        ("ultralytics", "yolo", OUTLINED),
    ],
)
def test_every_mask_comes_in_and_is_the_one_that_went_out(source, name, format, least):
    brought = read_given_masks(FILES / name, source)
    assert brought.record["format"] == format
    check_masks(brought, least_iou=least, holes=name != "ultralytics")  # which writes outer outlines alone
    if name == "ultralytics":  # whose predictions come without names
        assert set(brought.record["categories"]) == {"0", "1"}
        assert brought.table["score"].tolist() == pytest.approx([0.9] * 4)
    elif format != "sam":
        assert set(brought.record["categories"]) == {"cup", "plate"}


def test_a_list_of_results_that_pycocotools_reads(source, tmp_path):
    images = [{"id": n, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH} for n, name in enumerate(MASKS)]
    truth = {"info": {}, "images": images, "annotations": [], "categories": [{"id": 1, "name": "object"}]}
    results = []
    for number, masks in enumerate(MASKS.values()):
        for mask in masks:
            code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            code["counts"] = code["counts"].decode()
            results.append({"image_id": number, "category_id": 1, "segmentation": code, "score": 0.5 + number / 10})
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results))
    loaded = COCO(str(tmp_path / "truth.json")).loadRes(str(tmp_path / "results.json"))
    brought = read_given_masks(tmp_path / "results.json", source, images=tmp_path / "truth.json")
    assert brought.record["masks"] == len(loaded.anns)
    for row in brought.table.itertuples():
        mask = decode_mask({"size": [HEIGHT, WIDTH], "counts": row.counts})
        assert any(np.array_equal(mask, other) for other in MASKS[row.photo])
        assert row.score == pytest.approx(0.5 + list(MASKS).index(row.photo) / 10)
