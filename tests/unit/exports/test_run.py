"""Exports of a run after each of its stages: the masks, the photos, and what there is not yet."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_to_export import (
    CLUSTERS,
    DRAWN,
    KEPT,
    NUM_PHOTOS,
    PROPOSALS,
    annotation,
    choose,
    cluster,
    coco_of,
    finish,
    judge,
)

from maskdistill.datasets import open_source, read_photo
from maskdistill.datasets.photo_table import place_cells
from maskdistill.errors import ConfigError, RunError
from maskdistill.exports.run import export_run
from maskdistill.files import write_json
from maskdistill.masks import decode_mask
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.run_photos import write_images


def test_before_the_clusters_proposals_are_objects(run, tmp_path):
    content, found, sentence = coco_of(run, tmp_path / "out")
    assert [(item["id"], item["name"]) for item in content["categories"]] == [(1, "object")]
    assert [item["file_name"] for item in content["images"]] == ["deep/0.png", "deep/1.png", "deep/2.png"]
    assert [item["split"] for item in content["images"]] == ["train", "train", "val"]
    assert set(found) == {0, 1, 10, 20}  # without the photo that cannot be decoded
    for id, item in found.items():
        np.testing.assert_array_equal(decode_mask(item["segmentation"]), PROPOSALS[id])
    assert sentence.startswith("3 photos and 4 masks in ")


def test_with_clusters_proposals_have_theirs(run, tmp_path):
    cluster(run)
    content, found, _ = coco_of(run, tmp_path / "out")
    assert [item["name"] for item in content["categories"]] == ["cluster 1", "cluster 2", "cluster 3"]
    assert {id: item["category_id"] for id, item in found.items()} == {0: 1, 1: 3, 10: 2, 20: 3}


def test_masks_in_no_cluster_are_left_out_with_a_note(run, tmp_path):
    cluster(run)
    write_table(run.classes_path, run.classes().query("mask_id != 10"))
    _, found, sentence = coco_of(run, tmp_path / "out")
    assert set(found) == {0, 1, 20}
    assert "1 masks in no class were left out." in sentence


def test_training_photos_have_the_masks_that_the_first_model_draws(run, tmp_path):
    cluster(run)
    judge(run)
    choose(run)
    _, found, _ = coco_of(run, tmp_path / "out")
    assert set(found) == {0, 1, 2, 10, 20}
    for id, (mask, label, score) in DRAWN.items():
        np.testing.assert_array_equal(decode_mask(found[id]["segmentation"]), mask)
        assert (found[id]["category_id"], found[id]["score"]) == (label, score)
        assert found[id]["attributes"]["kept"] is (id in KEPT)
    np.testing.assert_array_equal(decode_mask(found[20]["segmentation"]), PROPOSALS[20])
    assert found[20]["category_id"] == CLUSTERS[20]
    assert found[1]["attributes"]["rule"] == "min_score"
    assert found[1]["attributes"]["cluster"] == 3
    assert found[2]["attributes"]["iou"] is None  # no proposal was there


def test_before_the_filter_all_are_kept(run, tmp_path):
    cluster(run)
    judge(run)
    _, found, _ = coco_of(run, tmp_path / "out")
    assert all(item["attributes"]["kept"] for item in found.values())


def test_kept_only_has_neither_dropped_masks_nor_photos_without_a_kept_one(run, tmp_path):
    cluster(run)
    judge(run)
    choose(run)
    content, found, _ = coco_of(run, tmp_path / "out", kept_only=True)
    assert set(found) == KEPT
    assert [item["id"] for item in content["images"]] == [0]


def test_yolo_has_a_line_for_each_mask(run, tmp_path):
    cluster(run)
    judge(run)
    choose(run)
    export_run(run, "yolo", tmp_path / "out")
    lines = (tmp_path / "out" / "labels" / "train" / "0.txt").read_text().splitlines()
    assert [int(line.split()[0]) for line in lines] == [DRAWN[id][1] - 1 for id in (0, 1, 2)]
    assert (tmp_path / "out" / "labels" / "val" / "2.txt").read_text().startswith(f"{CLUSTERS[20] - 1} ")
    assert not list((tmp_path / "out").rglob("3.*"))


def test_masks_of_earlier_clusters_are_left_out_with_a_note(run, tmp_path):
    cluster(run)
    judge(run)
    choose(run)
    old = read_json(run.stage_path("clusters"))
    write_json(run.stage_path("clusters"), {**old, "fingerprint": "another"})
    _, found, sentence = coco_of(run, tmp_path / "out")
    assert set(found) == {0, 1, 10, 20}
    assert "Left out, because a stage before it was made again: classes, candidates, filter." in sentence
    with pytest.raises(RunError, match="has no kept masks yet"):
        export_run(run, "coco", tmp_path / "kept", kept_only=True)


def test_views_come_as_pictures_of_their_own(tmp_path):
    run = Run(tmp_path / "run")
    source = open_source("sample-views").limited(2)
    run.write_info({"data": source.spec, "config": {}})
    write_images(run, source)
    images = [
        {"id": number, "file_name": photo.path.name, "height": photo.height, "width": photo.width}
        for number, photo in enumerate(source.photos)
    ]
    mask = np.ones((source.photos[0].height, source.photos[0].width), bool)
    write_json(run.proposals_path, {"images": images, "annotations": [annotation(0, mask)]})
    finish(run, "proposals")
    content, _, _ = coco_of(run, tmp_path / "out")
    for photo, entry in zip(source.photos, content["images"], strict=True):
        with Image.open(tmp_path / "out" / "images" / entry["file_name"]) as picture:
            assert picture.size == (photo.width, photo.height)
            difference = np.asarray(picture, np.float64) - np.asarray(read_photo(photo), np.float64)
        assert np.abs(difference).mean() < 5  # JPEG


def test_nothing_to_export_says_what_to_do(run, tmp_path):
    with pytest.raises(RunError, match=r"No run in .*run\.json is missing"):
        export_run(Run(tmp_path / "nowhere"), "coco", tmp_path / "out")
    with pytest.raises(RunError, match="has no kept masks yet. Choose them with: maskdistill filter"):
        export_run(run, "coco", tmp_path / "out", kept_only=True)
    for step in (cluster, judge, choose):
        step(run)
    with pytest.raises(RunError, match="has no label maps yet. Make: maskdistill pseudo-label"):
        export_run(run, "voc", tmp_path / "out", kept_only=True)
    run.stage_path("proposals").unlink()
    with pytest.raises(RunError, match="has no masks to export yet. Make them with: maskdistill propose"):
        export_run(run, "yolo", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_filter_that_keeps_nothing_is_said(run, tmp_path):
    for step in (cluster, judge, choose):
        step(run)
    write_table(run.kept_path, run.kept().assign(kept=False))
    with pytest.raises(RunError, match="keeps no mask. Loosen its thresholds"):
        export_run(run, "coco", tmp_path / "out", kept_only=True)


def test_photos_of_another_number_are_refused(run, tmp_path):
    write_table(run.images_path, run.images().iloc[1:])
    with pytest.raises(RunError, match=r"no photo of images.*maskdistill propose"):
        export_run(run, "coco", tmp_path / "out")


def test_masks_as_cut_are_one_file_whatever_came_after(run, tmp_path):
    cluster(run)
    judge(run)
    before = read_json(run.proposals_path)
    said = export_run(run, "coco", tmp_path / "out", what="proposals")
    assert said.startswith(f"{len(PROPOSALS)} masks of {NUM_PHOTOS} photos")
    assert read_json(tmp_path / "out" / "proposals.json")["annotations"] == before["annotations"]
    for how in ({"format": "yolo"}, {"format": "coco", "kept_only": True}):
        with pytest.raises(ConfigError, match="exported as coco, all of them"):
            export_run(run, out=tmp_path / "other", what="proposals", **how)


def test_photos_in_an_archive_are_exported_as_they_are(run, tmp_path):
    table = run.images()
    readable = table["readable"].to_numpy()
    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w") as tar:
        for file in table.loc[readable, "path"]:
            tar.add(file, arcname=Path(file).name)
    photos = {Path(photo.path).name: photo for photo in open_source(path).photos}
    table["path"] = [str(path / Path(file).name) for file in table["path"]]
    places = [photos[Path(file).name].place if Path(file).name in photos else None for file in table["path"]]
    write_table(run.images_path, table.assign(**place_cells(places)))
    assert "3 photos could not be linked to" in export_run(run, "coco", tmp_path / "coco")  # they are not unpacked
    for format, copies in (("yolo", "images"), ("voc", "JPEGImages")):
        export_run(run, format, tmp_path / format)
        found = {file.name for file in (tmp_path / format / copies).rglob("*") if file.is_file()}
        assert len(found) == readable.sum(), format
