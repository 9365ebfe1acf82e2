import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_run import (
    CLASSES,
    NUM_TRAIN,
    NUM_VAL,
    WITHOUT_MAP,
    assert_same_artifacts,
    contents_of,
    draw_voc,
    forget_from,
    interrupt_stage,
    redone,
    run_chain,
    tiny_config,
)

from maskdistill.clustering.embedding_candidates import candidate_embeddings
from maskdistill.clustering.embedding_space import EmbeddingSpace
from maskdistill.config import FeatureConfig, RunConfig
from maskdistill.datasets import open_source
from maskdistill.errors import RunError
from maskdistill.features.patch_tokens import FreshTokens, StoredTokens
from maskdistill.masks import decode_mask, mask_iou
from maskdistill.models.training.task import TrainResult
from maskdistill.pseudo_labels.filter import RULES
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.stages import worker
from maskdistill.stages.chain import Options
from maskdistill.stages.plan import Plan
from maskdistill.stages.predict import predict_photos
from maskdistill.stages.tasks import PhotoResult, photos_of
from maskdistill.stages.train import _sentence
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.photo_arrays import ArrayStore, VectorStore
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run, write_table

NUM_PHOTOS = NUM_TRAIN + NUM_VAL
NUM_CLASSES = len(CLASSES)


@pytest.fixture
def run(finished):
    """A whole run, to look at only."""
    return finished[0]


def label_maps(folder):
    """Label maps below a folder by photo number, in the values that are stored."""
    return {int(path.stem): np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))}


def assert_fits_photos(maps, scene):
    for number, labels in maps.items():
        with Image.open(scene[0] / "JPEGImages" / f"{number:02d}.png") as photo:
            assert labels.shape == (photo.height, photo.width)


class TestEmbeddings:
    def test_every_mask_has_its_vectors(self, run):
        record = read_json(run.path / "embeddings.json")
        assert record["errors"] == {}
        store = VectorStore(run.path / "features" / record["folder"])
        masks = run.masks()
        for number in range(NUM_PHOTOS):
            found = store.read([number])
            assert set(found) == {"cls2", "crop1", "photo1", "crop2", "photo2"}
            expected = int((masks["mask_id"] // MASKS_PER_PHOTO == number).sum())
            for values in found.values():
                assert values.shape == (expected, 32)
                assert np.isfinite(values).all()

    def test_missing_tokens_and_vectors_are_made_again(self, run, scene, tmp_path):
        shutil.copytree(run.path, tmp_path / "copy")
        copy = Run(tmp_path / "copy")
        folder = read_json(copy.path / "embeddings.json")["folder"]
        for path in copy.path.glob("features/*/00000/00000[0-5].npy"):
            path.unlink()
        (copy.path / "features" / folder / "00000" / "000001.npz").unlink()
        (copy.path / "embeddings.json").unlink()
        assert redone(run_chain(copy.path, *scene)) == ["embeddings"]
        assert_same_artifacts(copy, run)


class TestTokens:
    def test_fresh_ones_are_the_stored_ones(self, run, scene):
        config = RunConfig.from_dict(run.info()["config"])
        source = open_source(scene[0])
        context = Plan(run, source, config).context("stage1", Options())
        fresh = FreshTokens(config.features)
        for number, photo in enumerate(source.photos):
            tokens, geometry = fresh(photo)
            np.testing.assert_array_equal(tokens, context.tokens.read(number))
            assert geometry == context.geometry(photo)
            assert tokens.shape == (geometry.rows, geometry.cols, 2 * 32)  # two blocks

    @pytest.mark.parametrize(
        ("lost", "read"),
        [
            ("00000/000000.npy", lambda path: ArrayStore(path.parents[1]).read(0)),
            ("00000/000000.npz", lambda path: VectorStore(path.parents[1]).read([0])),
            ("info.json", lambda path: StoredTokens(path.parent, FeatureConfig())),
        ],
    )
    def test_remedy_for_a_deleted_file_makes_it_again(self, run, scene, tmp_path, lost, read):
        """What the message says is done."""
        shutil.copytree(run.path, tmp_path / "copy")
        copy = Run(tmp_path / "copy")
        (path,) = copy.path.glob(f"features/*/{lost}")
        path.unlink()
        with pytest.raises(RunError, match=f"No .*{path.name} in .*: maskdistill embed --run {copy.path}"):
            read(path)
        assert redone(run_chain(copy.path, *scene, wanted=("embeddings",))) == ["embeddings"]
        assert_same_artifacts(copy, run)


class TestClusters:
    def test_table(self, run):
        table = run.clusters()
        assert list(table) == ["mask_id", "cluster", "distance", "margin", "fitted"]
        assert table["mask_id"].tolist() == run.masks()["mask_id"].tolist()
        assert set(table["cluster"]) <= set(range(1, NUM_CLASSES + 1))
        assert set(table.loc[table["fitted"], "cluster"]) == set(range(1, NUM_CLASSES + 1))
        assert (table["distance"] >= 0).all()

    def test_fitted_are_the_masks_of_the_training_photos(self, run):
        table = run.clusters()
        assert table["fitted"].tolist() == (table["mask_id"] // MASKS_PER_PHOTO < NUM_TRAIN).tolist()

    def test_distances_and_vectors_belong_to_the_centres(self, run):
        table, vectors = run.clusters(), np.load(run.path / "embeddings.npy")
        arrays = np.load(run.path / "space.npz")
        centres = arrays["centres"]
        assert vectors.shape == (len(table), centres.shape[1])
        for row, vector in zip(table.itertuples(), vectors, strict=True):
            distances = [float(np.linalg.norm(vector - centre)) for centre in centres]
            assert row.distance == pytest.approx(distances[row.cluster - 1], abs=1e-5)
            others = distances[: row.cluster - 1] + distances[row.cluster :]
            assert row.margin == pytest.approx(min(others) - row.distance, abs=1e-5)
            if not row.fitted:
                assert row.margin >= 0

    def test_space_gives_the_vectors_again(self, run):
        record = read_json(run.path / "clusters.json")
        store = VectorStore(run.path / "features" / read_json(run.path / "embeddings.json")["folder"])
        raw = candidate_embeddings(store.read(range(NUM_PHOTOS)))[record["embedding"]]
        space = EmbeddingSpace.from_arrays(np.load(run.path / "space.npz"))
        np.testing.assert_array_equal(space.transform(raw), np.load(run.path / "embeddings.npy"))

    def test_summary(self, run):
        record, table = read_json(run.path / "clusters.json"), run.clusters()
        assert (record["num_classes"], record["dimensions"], record["num_classes_curve"]) == (NUM_CLASSES, 4, None)
        assert record["embedding"] in {row["name"] for row in record["embeddings"]}
        fitted = table[table["fitted"]]
        for row in record["clusters"]:
            members = fitted.loc[fitted["cluster"] == row["cluster"], "mask_id"]
            assert row["size"] == len(members)
            assert set(row["exemplars"]) | set(row["borderline"]) <= set(members)


class TestTraining:
    @pytest.mark.parametrize("stage", ["stage1", "stage2"])
    def test_history_and_settings(self, run, scene, stage):
        history = [json.loads(line) for line in (run.path / stage / "history.jsonl").read_text().splitlines()]
        assert [row["epoch"] for row in history] == [1, 2, 3]
        assert history[-1]["step"] == 3 * NUM_TRAIN // 4
        assert 0 <= history[-1]["metrics"]["agreement"] <= 1
        assert history[-1]["losses"]["total"] < history[0]["losses"]["total"]
        assert read_json(run.path / stage / "config.json")["hidden"] == 16


class TestCandidates:
    def test_table(self, run):
        table = run.candidates()
        photos = table["mask_id"] // MASKS_PER_PHOTO
        assert photos.tolist() == table["image"].tolist()
        assert set(photos) == set(range(NUM_TRAIN))
        assert table["mask_id"].is_unique
        assert (table.groupby("image").size() <= MASKS_PER_PHOTO).all()
        for name in ("score", "area", "border"):
            assert table[name].between(0, 1).all()
        for name in ("cluster", "label"):
            assert table[name].between(1, NUM_CLASSES).all()

    def test_proposals_keep_their_ids_and_clusters_and_new_objects_have_none(self, run):
        table = run.candidates()
        proposals, new = (table[table["origin"] == origin].set_index("mask_id") for origin in ("proposal", "stage1"))
        clusters = run.clusters().set_index("mask_id")
        fitted = clusters[clusters["fitted"]]
        assert set(proposals.index) == set(fitted.index)
        assert (proposals["cluster"] == fitted.loc[proposals.index, "cluster"]).all()
        np.testing.assert_array_equal(proposals["distance"], fitted.loc[proposals.index, "distance"])
        assert proposals[["iou", "agreement", "proposal_score"]].notna().all(axis=None)
        assert not set(new.index) & set(clusters.index)
        assert new[["iou", "agreement", "distance", "proposal_score"]].isna().all(axis=None)

    def test_masks_are_coco_and_fit_the_table(self, run, scene):
        coco, table = read_json(run.path / "candidates.json"), run.candidates().set_index("mask_id")
        assert [item["id"] for item in coco["annotations"]] == table.index.tolist()
        assert [item["id"] for item in coco["categories"]] == list(range(1, NUM_CLASSES + 1))
        masks = {item["id"]: decode_mask(item["segmentation"]) for item in coco["annotations"]}
        for item in coco["annotations"]:
            row, mask = table.loc[item["id"]], masks[item["id"]]
            assert (item["image_id"], item["category_id"]) == (row["image"], row["label"])
            assert mask.mean() == pytest.approx(row["area"])
            assert item["area"] == mask.sum() > 0
            if row["origin"] == "proposal" and row["iou"] > 0:
                assert mask_iou(MaskCodes.open(run).decode(item["id"]), mask) == pytest.approx(row["iou"])

    def test_score_is_the_mean_probability_inside(self, run):
        """Against the stored prediction: where stage 1 predicts a mask's cluster in all of it, agreement is 1."""
        table, maps = run.candidates(), label_maps(run.path / "predictions" / "stage1")
        for row in table[table["origin"] == "proposal"].itertuples():
            inside = maps[row.image][MaskCodes.open(run).decode(row.mask_id)]
            assert row.agreement == pytest.approx(np.mean(inside == row.cluster))


class TestFilterAndLabels:
    def test_kept(self, run, scene):
        kept, table = run.kept(), run.candidates()
        assert list(kept) == ["mask_id", "kept", "rule", "decision", "relabel"]
        assert not kept[["decision", "relabel"]].to_numpy().any()  # nobody decided anything
        assert kept["mask_id"].tolist() == table["mask_id"].tolist()
        assert set(kept["rule"]) <= set(RULES)
        low = table["iou"] < scene[1].filter.min_iou  # not so for a NaN
        assert kept["kept"].tolist() == (~low).tolist()
        assert 0 < low.sum() < len(table)

    def test_label_maps_are_of_photos_with_a_kept_mask(self, run, scene):
        table = run.candidates().merge(run.kept(), on="mask_id")
        photos = sorted(set(table.loc[table["kept"], "image"]))
        maps = label_maps(run.path / "pseudo_labels")
        assert read_json(run.path / "pseudo_labels.json") == {"photos": photos}
        assert sorted(maps) == photos
        assert_fits_photos(maps, scene)

    def test_label_maps_show_the_masks(self, run):
        table = run.candidates().merge(run.kept(), on="mask_id").set_index("mask_id")
        annotations = read_json(run.path / "candidates.json")["annotations"]
        codes = {item["id"]: item["segmentation"] for item in annotations}
        for number, found in label_maps(run.path / "pseudo_labels").items():
            rows = table[table["image"] == number]
            expected = np.zeros(found.shape, np.uint8)
            for mask_id in rows.index[~rows["kept"]]:
                expected[decode_mask(codes[mask_id])] = 255
            kept = rows[rows["kept"]].sort_values("score")
            for mask_id, row in kept.iterrows():
                expected[decode_mask(codes[mask_id])] = row["label"]
            np.testing.assert_array_equal(found, expected)

    def test_photo_without_a_kept_mask_loses_its_label_map_and_is_not_trained_on(self, run, scene, tmp_path):
        shutil.copytree(run.path, tmp_path / "copy")
        copy = Run(tmp_path / "copy")
        best = run.candidates().groupby("image")["score"].max().sort_values()
        threshold = (best.iloc[1] + best.iloc[2]) / 2
        run_chain(copy.path, scene[0], scene[1].with_overrides([f"filter.min_score={threshold}", "filter.min_iou=0"]))
        assert sorted(label_maps(copy.path / "pseudo_labels")) == sorted(best.index[2:])
        counts = read_json(copy.path / "metrics.json")["counts"]
        assert (counts["training_photos"], counts["pseudo_labels"]) == (NUM_TRAIN, NUM_TRAIN - 2)

    @pytest.mark.parametrize(("masks", "classes"), [("proposals", "clusters"), ("proposals", "stage1")])
    def test_labels_of_the_proposals_themselves(self, run, scene, tmp_path, masks, classes):
        shutil.copytree(run.path, tmp_path / "copy")
        copy = Run(tmp_path / "copy")
        changes = [f"labels.masks={masks}", f"labels.classes={classes}", "filter.min_iou=0", "candidates.min_area=1"]
        run_chain(copy.path, scene[0], scene[1].with_overrides(changes), wanted=("pseudo_labels",))
        table = copy.candidates().set_index("mask_id")
        assert set(table["origin"]) == {"proposal"}
        for number, found in label_maps(copy.path / "pseudo_labels").items():
            expected = np.zeros(found.shape, np.uint8)
            for mask_id, row in table[table["image"] == number].sort_values("score").iterrows():
                expected[MaskCodes.open(run).decode(mask_id)] = row["cluster" if classes == "clusters" else "label"]
            np.testing.assert_array_equal(found, expected)


class TestPredictions:
    def test_a_map_of_every_photo_and_the_crf_on_val(self, run, scene):
        made = read_json(run.path / "predictions.json")
        assert made["photos"] == list(range(NUM_PHOTOS))
        for kind in ("stage1", "stage2"):
            maps = label_maps(run.path / "predictions" / kind)
            assert sorted(maps) == made["photos"]
            assert_fits_photos(maps, scene)
            assert all(labels.max() <= NUM_CLASSES for labels in maps.values())
        crf = label_maps(run.path / "predictions" / "stage2_crf")
        assert sorted(crf) == made["crf"]
        pytest.importorskip("pydensecrf")
        assert made["crf"] == list(range(NUM_TRAIN, NUM_PHOTOS))

    def test_deleted_tokens_are_made_again_first(self, run, scene, tmp_path):
        """Else the photo would pass for one that cannot be read."""
        shutil.copytree(run.path, tmp_path / "copy")
        copy = Run(tmp_path / "copy")
        forget_from(copy, "predictions")
        for path in copy.path.glob("features/*/00000/00000[39].npy"):
            path.unlink()
        run_chain(copy.path, *scene)
        assert_same_artifacts(copy, run)

    @pytest.mark.slow
    def test_several_processes_refine_to_the_same_maps(self, run, scene, tmp_path):
        pytest.importorskip("pydensecrf")
        shutil.copytree(run.path, tmp_path / "copy")
        copy = Run(tmp_path / "copy")
        shutil.rmtree(copy.path / "predictions")
        config = RunConfig.from_dict(run.info()["config"])
        context = Plan(copy, open_source(scene[0]), config).context("predictions", Options(num_workers=2, quiet=True))
        predict_photos(context)
        shutil.rmtree(copy.parts_path("predictions", context.key))  # as the chain does once a stage is done
        assert_same_artifacts(copy, run)

    def test_they_are_palette_pictures(self, run):
        labels = read_label_png(run.prediction("stage2", 0))
        with Image.open(run.prediction("stage2", 0)) as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(labels, np.asarray(image))


def break_photo(path):
    """Cut a file so that its header is sound and its pixels are not."""
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"IDAT") + 4] + bytes(60) + content[-12:])


def test_unreadable_and_empty_photos_do_not_stop_the_run(scene, tmp_path):
    """One photo of each split is damaged inside, and one has nothing to be seen: a single grey."""
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    for id in ("02", "09"):
        break_photo(data / "JPEGImages" / f"{id}.png")
    Image.new("RGB", (64, 56), (110, 110, 110)).save(data / "JPEGImages" / "04.png")
    run_chain(tmp_path / "run", data, scene[1])
    run = Run(tmp_path / "run")
    images = run.images().set_index("id")
    broken = [number for number, photo in enumerate(open_source(data).photos) if not images.loc[photo.id, "readable"]]
    assert images["readable"].tolist().count(False) == 2
    maps = label_maps(run.path / "predictions" / "stage2")
    assert not set(broken) & set(maps)
    assert not set(broken) & set(label_maps(run.path / "pseudo_labels"))
    metrics = read_json(run.path / "metrics.json")
    assert metrics["counts"]["photos"] == len(open_source(data).photos)
    assert metrics["reported"]["stage2"]["num_images"] == len(open_source(data).split("val"))
    assert metrics["counts"]["masks"] == len(run.masks())


def test_photos_without_a_mask_are_predicted_but_not_trained_on(scene, tmp_path, run):
    """Their annotations are taken away, as if no object had been found there."""
    shutil.copytree(run.path, tmp_path / "run")
    copy = Run(tmp_path / "run")
    coco = read_json(copy.proposals_path)
    coco["annotations"] = [item for item in coco["annotations"] if item["image_id"] not in (3, 10)]
    copy.proposals_path.write_text(json.dumps(coco))
    masks = copy.masks()
    write_table(copy.masks_path, masks[~(masks["mask_id"] // MASKS_PER_PHOTO).isin((3, 10))])
    run_chain(copy.path, scene[0], scene[1].with_overrides(["embeddings.mirror=false"]))
    metrics = read_json(copy.path / "metrics.json")
    assert set(copy.clusters()["mask_id"] // MASKS_PER_PHOTO) == set(range(NUM_PHOTOS)) - {3, 10}
    assert metrics["counts"]["training_photos"] == NUM_TRAIN - 1
    assert sorted(label_maps(copy.path / "predictions" / "stage2")) == list(range(NUM_PHOTOS))
    assert metrics["reported"]["stage2"]["num_images"] == NUM_VAL


@pytest.mark.parametrize(
    ("stage", "count"),
    [
        ("embeddings", 5),
        ("clusters", 3),
        pytest.param("stage1", 1, marks=pytest.mark.slow),
        ("stage1", 4),
        ("candidates", 3),
        ("pseudo_labels", 4),
        ("stage2", 5),
        ("predictions", 6),
        pytest.param("predictions", 11, marks=pytest.mark.slow),
        pytest.param("evaluation", 2, marks=pytest.mark.slow),
        ("evaluation", 8),
    ],
)
def test_interrupted_stage_goes_on_and_ends_with_the_same_files(run, scene, tmp_path, monkeypatch, stage, count):
    shutil.copytree(run.path, tmp_path / "copy")
    copy = Run(tmp_path / "copy")
    forget_from(copy, stage)
    interrupt_stage(monkeypatch, stage, count)
    with pytest.raises(KeyboardInterrupt):
        run_chain(copy.path, *scene)
    assert not copy.stage_path(stage).exists()
    assert redone(run_chain(copy.path, *scene)) == list(WITHOUT_MAP[WITHOUT_MAP.index(stage) :])
    assert_same_artifacts(copy, run)


def test_labels_never_leak(run, scene, tmp_path):
    """The same photos without ground truth: all but the report is the same, bit by bit."""
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    shutil.rmtree(data / "SegmentationClass")
    (data / "classes.txt").unlink()
    run_chain(tmp_path / "run", data, scene[1])
    unlabelled = Run(tmp_path / "run")
    assert not unlabelled.info()["source"]["has_labels"]
    found, wanted = contents_of(unlabelled), contents_of(run)
    report = {"metrics.json", "stages/evaluation.json", "photo_counts.parquet", "mask_truth.parquet"}
    assert found.keys() == wanted.keys() - {"mask_truth.parquet"}
    different = {name for name in wanted if found.get(name) != wanted[name]}
    name_the_folder = {"run.json", "run.copy.json", "images.parquet", "proposals.json"}
    assert different == name_the_folder | report
    assert run.images().drop(columns="path").equals(unlabelled.images().drop(columns="path"))
    assert read_json(run.proposals_path)["annotations"] == read_json(unlabelled.proposals_path)["annotations"]
    pd.testing.assert_frame_equal(run.masks(), unlabelled.masks())
    metrics = read_json(unlabelled.path / "metrics.json")
    assert not metrics["ground_truth"]
    assert metrics["counts"] == read_json(run.path / "metrics.json")["counts"]


def test_photo_whose_vectors_cannot_be_made_is_not_trained_on(tmp_path, monkeypatch):
    data = draw_voc(tmp_path / "voc")
    call = worker.EmbedWorker.__call__

    def fail(self, number, *rest):
        return PhotoResult(number, error="No memory.") if number == 2 else call(self, number, *rest)

    monkeypatch.setattr(worker.EmbedWorker, "__call__", fail)
    said = run_chain(tmp_path / "run", data, tiny_config(tmp_path))
    run = Run(tmp_path / "run")
    assert read_json(run.path / "embeddings.json")["errors"] == {"02": "No memory."}
    assert "on 7 photos" in said["stage1"]
    assert 2 not in read_json(run.path / "pseudo_labels.json")["photos"]
    assert 2 in label_maps(run.path / "predictions" / "stage2")  # its tokens are there: the models can label it


@pytest.mark.parametrize("place", [worker.PhotoWorker, worker.EmbedWorker])
def test_photo_that_was_gone_in_a_stage_takes_part_as_soon_as_it_is_back(tmp_path, monkeypatch, place):
    data, config = draw_voc(tmp_path / "voc"), tiny_config(tmp_path)
    whole = run_chain(tmp_path / "whole", data, config)
    path = data / "JPEGImages" / "02.png"
    call, content = place.__call__, path.read_bytes()

    def work(self, *task):
        if any(photo.path == path for photo in photos_of(task)):
            path.unlink()
        return call(self, *task)

    monkeypatch.setattr(place, "__call__", work)
    said = run_chain(tmp_path / "run", data, config)
    assert "on 7 photos" in said["stage1"]
    monkeypatch.undo()
    path.write_bytes(content)
    said = run_chain(tmp_path / "run", data, config)
    assert set(redone(said)) >= {"clusters", "stage1", "stage2", "predictions"}
    assert said["stage1"].partition("(")[0] == whole["stage1"].partition("(")[0]
    run, undisturbed = Run(tmp_path / "run"), Run(tmp_path / "whole")
    assert run.proposals_path.read_bytes() == undisturbed.proposals_path.read_bytes()
    assert (run.path / "metrics.json").read_bytes() == (undisturbed.path / "metrics.json").read_bytes()
    assert redone(run_chain(tmp_path / "run", data, config)) == []


def test_model_whose_history_is_lost_is_told(tmp_path):
    assert "3 photos" in _sentence(TrainResult(tmp_path / "model.safetensors", (), 0), 3)
