"""Exports opened by the libraries that people read them with, and their exports brought, in an environment of theirs.

``make test-readers`` makes the environment; $MASKDISTILL_READERS may name another one's Python.
"""

import base64
import json
import os
import subprocess
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import pytest
from masks_elsewhere import MASKS, OUTLINED, check_masks, draw_photos
from tiny_run import WITHOUT_MAP, draw_voc, run_chain, tiny_config

from maskdistill.datasets import open_source
from maskdistill.exports.run import export_run
from maskdistill.imports.given_masks import read_given_masks
from maskdistill.masks import decode_mask, mask_iou
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.review.decisions import rename
from maskdistill.storage.mask_store import read_masks
from maskdistill.storage.run_folder import Run

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("MASKDISTILL_READERS") or ROOT / ".venv" / "readers" / "bin" / "python")
SCRIPTS = ROOT / "tests" / "readers"
PATIENCE = 900.0  # seconds; some import for minutes on a busy machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.is_file(), reason=f"No readers at {PYTHON}. Install them with: make test-readers"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A whole run on drawn photos in two splits; one class has a name that needs care."""
    folder = tmp_path_factory.mktemp("readers")
    (folder / "weights").mkdir()
    run = Run(folder / "run")
    config = tiny_config(folder / "weights")
    data = draw_voc(folder / "photos")
    run_chain(run.path, data, config, wanted=WITHOUT_MAP)
    rename(run, "tester", 1, 'red: "disc", #1')
    return run


def run_script(script, *words, cwd):
    """What it prints, in the environment of the readers."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [PYTHON, SCRIPTS / script, *words]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def skip_if_missing(tool, answer):
    if "missing" in answer:
        pytest.skip(f"{tool} cannot be used here: {answer['missing']}")


def read(reader, folder, tmp_path):
    result = tmp_path / "found.json"
    run_script("read_export.py", reader, folder, result, cwd=tmp_path)
    found = json.loads(result.read_text())
    skip_if_missing(reader, found)
    return {photo: [(name, box, unpack(mask)) for name, box, mask in entries] for photo, entries in found.items()}


def unpack(packed):
    height, width, text = packed
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(height, width)


def held(run):
    """What the run holds: the stem of a photo -> class and mask of each of its masks, as the stages stored them."""
    names = {1: 'red: "disc", #1'}
    judged = read_masks(run.candidate_masks_path)
    relabel = run.kept().set_index("mask_id")["relabel"]
    entries = [(item, int(relabel.at[item["id"]]) or item["category_id"]) for item in judged["annotations"]]
    seen = {item["id"] for item in judged["images"]}
    classes = run.class_of_mask()
    cut = read_masks(run.codes_path)
    others = [item for item in cut["annotations"] if item["image_id"] not in seen and item["id"] in classes]
    entries += [(item, classes[item["id"]]) for item in others]
    stems = {item["id"]: Path(item["file_name"]).stem for item in cut["images"]}
    found = {stem: [] for stem in stems.values()}
    for item, label in entries:
        name = names.get(label, f"cluster {label}")
        found[stems[item["image_id"]]].append((name, decode_mask(item["segmentation"])))
    return found


def check(found, wanted, *, least_iou):
    """Same photos, as many masks of the same classes, and each mask overlaps its own."""
    found = {Path(photo).stem: entries for photo, entries in found.items()}
    assert found.keys() == wanted.keys()
    assert sum(map(len, wanted.values())) >= 10
    for photo, masks in wanted.items():
        assert sorted(name for name, _, _ in found[photo]) == sorted(name for name, _ in masks)
        for name, mask in masks:
            same = [(mask_iou(other > 0, mask), box) for other_name, box, other in found[photo] if other_name == name]
            iou, box = max(same, key=lambda pair: pair[0])
            assert iou >= least_iou, (photo, name, iou)
            rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            size = [cols[0], rows[0], cols[-1] - cols[0] + 1, rows[-1] - rows[0] + 1]
            np.testing.assert_allclose(box, size, atol=1.01)


# Readers of run-length codes and pictures give the very mask. Those of polygons paint an outline, and the joining lines
# of a mask of several parts, a pixel wide, which counts on photos of 60 pixels. LightlyStudio gives boxes alone.
@pytest.mark.parametrize(
    ("reader", "format", "least_iou"),
    [
        ("pycocotools", "coco", 1),
        ("pycocotools_polygons", "coco", 1),
        ("supervision_coco", "coco", 1),
        ("fiftyone", "coco", 0.97),
        ("lightly_studio", "coco", 0),
        ("ultralytics", "yolo", 0.8),
        ("supervision_yolo", "yolo", 0.65),
        ("datasets", "huggingface", 1),
    ],
)
def test_masks_come_back(run, tmp_path, reader, format, least_iou):
    export_run(run, format, tmp_path / "out")
    wanted = held(run)
    if reader == "ultralytics":  # it drops a line that is there twice
        wanted = {photo: without_twins(masks) for photo, masks in wanted.items()}
    check(read(reader, tmp_path / "out", tmp_path), wanted, least_iou=least_iou)


def without_twins(masks):
    return list({(name, mask.tobytes()): (name, mask) for name, mask in masks}.values())


def test_label_maps_come_back(run, tmp_path):
    out = tmp_path / "VOCdevkit" / "VOC2012"
    export_run(run, "voc", out)
    found = read("torchvision", out, tmp_path)
    assert len(found) == len(run.images())
    for name, [(_, _, labels)] in found.items():
        np.testing.assert_array_equal(labels, read_label_png(out / "SegmentationClass" / f"{Path(name).stem}.png"))
    stems = [Path(path).stem for path in run.images()["path"]]
    for number in run.labelled():
        [(_, _, labels)] = found[f"{stems[number]}.jpg"]
        np.testing.assert_array_equal(labels, read_label_png(run.pseudo_label(number)))


def test_map_comes_back(run, tmp_path):
    export_run(run, "atlas", tmp_path / "out")
    found = read("atlas", tmp_path / "out", tmp_path)
    names = {name for entries in found.values() for name, _, _ in entries}
    assert sum(map(len, found.values())) == len(run.clusters())
    assert 'red: "disc", #1' in names
    assert all(min(crop.shape) > 1 for entries in found.values() for _, _, crop in entries)


def test_embedding_atlas_serves_the_map(run, tmp_path, unused_port, serving):
    program = PYTHON.with_name("embedding-atlas")
    if not program.is_file():
        pytest.skip(f"embedding-atlas cannot be used here: there is no {program}")
    export_run(run, "atlas", tmp_path / "out")
    file = tmp_path / "out" / "masks.parquet"
    command = [program, file, "--x", "x", "--y", "y", "--image", "image", "--duckdb", "server"]
    command += ["--host", "127.0.0.1", "--port", unused_port, "--no-auto-port"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    with serving(command, tmp_path, unused_port, environment, asks="data/metadata.json") as address:
        with urllib.request.urlopen(f"{address}/data/metadata.json") as answer:
            data = json.load(answer)["props"]["data"]
        assert data["projection"] == {"x": "x", "y": "y"}
        query = {"type": "json", "sql": "SELECT count(x) AS masks, count(image) AS pictures FROM dataset"}
        with urllib.request.urlopen(f"{address}/data/query", json.dumps(query).encode()) as answer:
            [counted] = json.load(answer)
    assert counted == dict.fromkeys(("masks", "pictures"), len(run.clusters()))


# Run-length codes and pictures give the very mask; supervision writes outlines with holes, FiftyOne and Ultralytics
# outer outlines alone, and Ultralytics no names with its predictions.
@pytest.mark.parametrize(
    ("writer", "format", "least_iou"),
    [
        ("supervision_coco", "coco", OUTLINED),
        ("supervision_yolo", "yolo", OUTLINED),
        ("lightly_coco", "coco", 1),
        ("lightly_voc", "voc", 1),
        ("fiftyone_coco", "coco", OUTLINED),
        ("ultralytics", "yolo", OUTLINED),
    ],
)
def test_masks_that_a_tool_writes_are_brought(tmp_path, writer, format, least_iou):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    out.mkdir()
    draw_photos(photos)
    np.savez(tmp_path / "masks.npz", **{name: np.stack(masks) for name, masks in MASKS.items()})
    printed = run_script("write_masks.py", writer, photos, tmp_path / "masks.npz", out, cwd=tmp_path)
    answer = json.loads(printed.splitlines()[-1])
    skip_if_missing(writer, answer)
    brought = read_given_masks(Path(answer["written"]), open_source(photos))
    assert brought.record["format"] == format
    check_masks(brought, least_iou=least_iou, holes=writer not in ("fiftyone_coco", "ultralytics"))
    if writer != "ultralytics":
        assert set(brought.record["categories"]) == {"cup", "plate"}
