import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from whole_tables import write_whole_table

from maskdistill.datasets import open_source, read_photo
from maskdistill.datasets.photo_table import place_cells
from maskdistill.errors import ConfigError, RunError
from maskdistill.exports.run import export_run
from maskdistill.files import write_json
from maskdistill.masks import bounding_box, decode_mask, encode_mask
from maskdistill.pseudo_labels.label_maps import read_label_png, write_label_png
from maskdistill.review.decisions import adopt, exclude, rename
from maskdistill.stages.stage_list import BY_NAME
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run, fingerprint, write_table
from maskdistill.storage.run_photos import write_images

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


@pytest.fixture
def run(tmp_path):
    """A run that has its proposals."""
    folder = tmp_path / "photos"
    for number in range(NUM_PHOTOS):
        (folder / "deep").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "deep" / f"{number}.png")
    (folder / "deep" / "4.png").write_bytes(b"no picture")
    run = Run(tmp_path / "run")
    source = open_source(folder)
    run.write_info({"data": source.spec, "config": {}, "backbone": {"name": "none"}})
    write_images(run, source)
    table = run.images()
    table["split"] = ["train", "train", "val", "train", None]
    table.loc[3, ["readable", "reason"]] = False, "damaged inside"
    write_table(run.images_path, table)
    images = [{"id": n, "file_name": f"deep/{n}.png", "height": HEIGHT, "width": WIDTH} for n in range(NUM_PHOTOS)]
    proposals = [annotation(id, mask) for id, mask in PROPOSALS.items()]
    write_json(run.proposals_path, {"images": images, "annotations": proposals})
    finish(run, "proposals")
    return run


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


class TestDecisions:
    def test_classes_have_the_names_that_people_gave_them(self, run, tmp_path):
        cluster(run)
        rename(run, "ann", 3, "sheep")
        content, _, sentence = coco_of(run, tmp_path / "out")
        assert [item["name"] for item in content["categories"]] == ["cluster 1", "cluster 2", "sheep"]
        assert "decided" not in sentence
        voc_of(run, tmp_path / "voc")
        assert (tmp_path / "voc" / "classes.txt").read_text().split()[-1] == "sheep"

    def test_names_stand_without_the_stage_classes(self, run, tmp_path):
        cluster(run)
        run.stage_path("classes").unlink()
        rename(run, "ann", 3, "sheep")
        content, _, _ = coco_of(run, tmp_path / "out")
        assert content["categories"][2]["name"] == "sheep"

    def test_numbers_without_masks_are_no_category_and_shift_none(self, run, tmp_path):
        cluster(run)
        write_table(run.classes_path, run.classes().assign(cluster=[1, 3, 1, 3, 1]))
        content, found, _ = coco_of(run, tmp_path / "out")
        assert [(item["id"], item["name"]) for item in content["categories"]] == [(1, "cluster 1"), (3, "cluster 3")]
        assert {id: item["category_id"] for id, item in found.items()} == {0: 1, 1: 3, 10: 1, 20: 3}
        export_run(run, "yolo", tmp_path / "yolo")
        assert '  2: "cluster 3"' in (tmp_path / "yolo" / "data.yaml").read_text().split("\n")

    def test_a_relabelled_mask_has_its_new_class(self, run, tmp_path):
        for step in (cluster, judge, choose):
            step(run)
        write_table(run.kept_path, run.kept().assign(decision=[1, 0, 0, -1], relabel=[3, 0, 0, 0]))
        _, found, _ = coco_of(run, tmp_path / "out", kept_only=True)
        assert {id: item["category_id"] for id, item in found.items()} == {0: 3, 2: 3}

    def test_what_was_decided_since_is_said(self, run, tmp_path):
        cluster(run)
        rename(run, "ann", 1, "sheep")
        exclude(run, "ann", 2, True)
        content, found, sentence = coco_of(run, tmp_path / "out")
        assert "People decided something since the stage classes was made, which is not in it." in sentence
        assert found[10]["category_id"] == 2
        assert content["categories"][0]["name"] == "sheep"

    def test_names_are_those_of_the_numbers_in_the_files(self, run, tmp_path):
        """People took over another clustering since: its names speak of other masks."""
        cluster(run)
        record = read_json(run.path / "classes.json")
        write_json(run.path / "classes.json", {**record, "names": {"1": "sheep"}})
        adopt(run, "ann", list(CLUSTERS), [1, 1, 2, 2, 2], 2, seed=0)
        rename(run, "ann", 1, "cow")
        assert coco_of(run, tmp_path / "out")[0]["categories"][0]["name"] == "sheep"
        write_json(run.path / "classes.json", {**record, "adopted": 1})
        assert coco_of(run, tmp_path / "new")[0]["categories"][0]["name"] == "cow"

    def test_candidates_of_other_classes_than_there_are_now_are_left_out(self, run, tmp_path):
        cluster(run)
        made_from = read_json(run.stage_path("classes"))
        judge(run)
        record = read_json(run.stage_path("stage1"))
        record["made_from"]["from"] = {"clusters": read_json(run.stage_path("clusters"))["fingerprint"]}
        write_json(run.stage_path("stage1"), record)
        assert set(coco_of(run, tmp_path / "out")[1]) == {0, 1, 2, 10, 20}
        made_from["made_from"]["decisions"] = "some"
        write_json(run.stage_path("classes"), made_from)
        _, found, sentence = coco_of(run, tmp_path / "again")
        assert set(found) == {0, 1, 10, 20}
        assert "was made again: candidates." in sentence


def test_label_maps_are_painted_from_the_masks_before_there_are_pseudo_labels(run, tmp_path):
    cluster(run)
    maps = voc_of(run, tmp_path / "out")
    expected = np.where(PROPOSALS[0], 1, np.where(PROPOSALS[1], 3, 0))
    np.testing.assert_array_equal(maps["0"], expected)
    assert set(maps) == {"0", "1", "2"}
    assert (tmp_path / "out" / "classes.txt").read_text().split("\n")[:2] == ["background", "cluster 1"]


def test_pseudo_labels_stand_alone_before_there_are_predictions(run, tmp_path):
    for step in (cluster, judge, choose, label):
        step(run)
    maps = voc_of(run, tmp_path / "out")
    assert set(maps) == {"0"}
    np.testing.assert_array_equal(maps["0"], DRAWN[0][0].astype(np.uint8))
    assert len(list((tmp_path / "out" / "JPEGImages").iterdir())) == 3


def test_photos_without_a_pseudo_label_have_predictions_with_crf_first(run, tmp_path):
    for step in (cluster, judge, choose, label, predict):
        step(run)
    maps = voc_of(run, tmp_path / "out")
    np.testing.assert_array_equal(maps["0"], DRAWN[0][0].astype(np.uint8))
    assert [np.unique(maps[stem]).tolist() for stem in ("1", "2")] == [[2], [3]]
    assert list(voc_of(run, tmp_path / "kept", kept_only=True)) == ["0"]
    assert [path.stem for path in (tmp_path / "kept" / "JPEGImages").iterdir()] == ["0"]


def test_predictions_of_the_last_round(run, tmp_path):
    for step in (cluster, judge, choose, label, predict):
        step(run)
    train_rounds(run, "rounds/2")
    sentence = export_run(run, "voc", tmp_path / "old")
    assert "Left out, because a stage before it was made again: predictions." in sentence
    for kind, value, number in (("rounds", 1, 1), ("rounds_crf", 2, 2)):
        write_label_png(run.prediction(kind, number), np.full((HEIGHT, WIDTH), value, np.uint8))
    write_json(run.path / "predictions.json", {"photos": [1, 2], "crf": [2], "model": "rounds/2"})
    maps = voc_of(run, tmp_path / "out")
    assert [np.unique(maps[stem]).tolist() for stem in ("1", "2")] == [[1], [2]]


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
