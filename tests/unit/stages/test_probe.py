import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from maskdistill.config import FeatureConfig, RunConfig, TrainConfig
from maskdistill.datasets import open_source, read_label
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.features.patch_tokens import TOKEN_INFO
from maskdistill.files import write_json
from maskdistill.masks import encode_mask
from maskdistill.models.patch_head import PatchHead, PatchHeadPredictor
from maskdistill.models.training.checkpoint import read_tensors, write_tensors
from maskdistill.stages import probe
from maskdistill.stages.context import Context
from maskdistill.stages.probe import linear_head, train_probes
from maskdistill.storage.progress import read_progress_file
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import TokenStore

SIDE, PATCH, WIDTH = 32, 8, 6
STEMS = [f"{number:02}" for number in range(8)]
TRAIN = TrainConfig(
    epochs=12, batch_size=4, learning_rate=0.1, hidden=12, patch_share=1.0, smoothing=0, whole_patches=False
)
CONFIG = RunConfig(features=FeatureConfig(shorter_side=SIDE, device="cpu"), stage2=TRAIN)


def drawn(number):
    """Two classes in whole patches: the left columns are 1, the top right 2, the rest background."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[:, : PATCH * (1 + number % 2)] = 1
    labels[: 2 * PATCH, 3 * PATCH :] = 2
    labels[-1] = 255
    return labels


def tokens_of(number):
    """The class of each patch as one of three directions, with noise."""
    noise = np.random.default_rng(number).normal(size=(SIDE // PATCH, SIDE // PATCH, WIDTH)) * 0.1
    return noise + 3 * np.eye(WIDTH)[drawn(number)[::PATCH, ::PATCH]]


def make_context(root, *, unlabelled=("00", "06"), config=CONFIG):
    """Eight photos, the last three of them val; two have no ground truth, and photo 1 no mask."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / "voc" / folder).mkdir(parents=True)
    for number, stem in enumerate(STEMS):
        Image.new("RGB", (SIDE, SIDE)).save(root / "voc" / "JPEGImages" / f"{stem}.jpg")
        if stem not in unlabelled:
            Image.fromarray(drawn(number)).save(root / "voc" / "SegmentationClass" / f"{stem}.png")
    for name, stems in {"train": STEMS[:5], "val": STEMS[5:]}.items():
        (root / "voc" / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("\n".join(stems))
    (root / "voc" / "classes.txt").write_text("cat\ndog\n")
    run, store = Run(root / "run"), TokenStore(root / "tokens")
    run.write_info({"config": config.to_dict()})
    mask = {"segmentation": encode_mask(np.eye(SIDE, dtype=bool)), "bbox": [0, 0, SIDE, SIDE]}
    masks = [{"id": 10 * n, "image_id": n, **mask} for n in range(8) if n != 1]
    write_json(run.proposals_path, {"annotations": masks})
    write_json(run.path / "embeddings.json", {"errors": {}})
    for number in range(8):
        store.write(number, tokens_of(number))
    write_json(store.folder / TOKEN_INFO, {"patch_size": PATCH, "blocks": [1]})
    head = PatchHead(4, WIDTH, TRAIN, seed=5)
    head.standardise(store, range(8))
    (run.path / "stage2").mkdir()
    write_tensors(run.path / "stage2" / "model.safetensors", head.state_dict(), {})
    return Context(run, open_source(root / "voc"), config, store.folder, "key", quiet=True)


@pytest.fixture
def context(tmp_path):
    return make_context(tmp_path)


def weights(context, name):
    return read_tensors(context.run.path / "evaluation" / name / "model.safetensors")[0]


def test_only_the_last_layer_of_the_linear_probe_is_new_and_learns(context):
    train_probes(context, GroundTruth(context.source), [5])
    before = read_tensors(context.run.path / "stage2" / "model.safetensors")[0]
    after = weights(context, "linear")
    for name in ("mean", "scale", "net.0.weight", "net.0.bias"):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=0)
    assert after["net.3.weight"].shape == (3, TRAIN.hidden)
    start = linear_head(context.predictor("stage2").model, 2, TRAIN, CONFIG.seed)
    assert not torch.equal(after["net.3.weight"], start.net[3].weight)
    assert [name for name, item in start.named_parameters() if item.requires_grad] == ["net.3.weight", "net.3.bias"]


def test_supervised_head_is_fresh_and_of_the_same_size(context):
    train_probes(context, GroundTruth(context.source), [5])
    found, stage2 = weights(context, "supervised"), context.predictor("stage2").model
    assert found["net.0.weight"].shape == stage2.net[0].weight.shape
    assert not torch.equal(found["net.0.weight"], stage2.net[0].weight)
    head = PatchHead(2, WIDTH, TRAIN)
    head.standardise(context.tokens, [2, 3, 4])  # photo 0 has no ground truth, photo 1 no mask
    torch.testing.assert_close(found["mean"], head.mean)
    torch.testing.assert_close(found["scale"], head.scale)


def test_measured_against_a_slow_loop_where_value_n_is_class_n(context):
    found = train_probes(context, GroundTruth(context.source), range(8))
    assert found["num_photos"] == 3
    for name in ("linear", "supervised"):
        report = found[name]
        assert (report["num_images"], report["num_training"]) == (6, 3)
        assert report["matching"] == {"0": "background", "1": "cat", "2": "dog"}
        head = PatchHead(2, WIDTH, TRAIN)
        head.load_state_dict(weights(context, name))
        model = PatchHeadPredictor(head, TRAIN, lambda photo: (tokens_of(int(photo.id)), context.geometry(photo)))
        hits, unions = np.zeros(3), np.zeros(3)
        for photo in context.source.photos:
            truth = read_label(context.source, photo)
            if truth is not None:
                known, predicted = truth != 255, model.probabilities(photo).argmax(axis=0)
                for label in range(3):
                    hits[label] += np.sum((truth == label) & (predicted == label))
                    unions[label] += np.sum(((truth == label) | (predicted == label)) & known)
        assert report["miou"] == pytest.approx(np.mean(hits / unions), abs=0.01)  # tokens are stored in float16
        assert min(report["iou"].values()) > 0.6  # patches are all right, the edges between them are interpolated


def test_second_call_trains_nothing_again(context):
    first = train_probes(context, GroundTruth(context.source), [5, 7])
    progress = read_progress_file(context.run.progress_path)
    assert (progress.stage, progress.done, progress.total, progress.unit) == ("evaluation", 12, 12, "steps")
    files = [context.run.path / "evaluation" / name / "model.safetensors" for name in ("linear", "supervised")]
    times = [file.stat().st_mtime_ns for file in files]
    assert train_probes(context, GroundTruth(context.source), [5, 7]) == first
    assert [file.stat().st_mtime_ns for file in files] == times


def test_other_final_model_has_a_supervised_head_of_the_usual_size(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "_linear_deeplab", lambda *_: {})  # tests/slow/test_published_models.py has it
    config = replace(CONFIG, stage2=TrainConfig(model="deeplabv3", epochs=1, learning_rate=1e-6, optimizer="sgd"))
    context = make_context(tmp_path, config=config)
    shutil.rmtree(context.run.path / "stage2")
    found = train_probes(context, GroundTruth(context.source), [5, 7])
    assert found["linear"] is None
    assert found["supervised"]["miou"] > 0.8
    assert weights(context, "supervised")["net.0.weight"].shape == (TrainConfig().hidden, WIDTH)


def test_photo_without_tokens_is_not_trained_on_and_counts_as_background(context):
    for number in (4, 5):
        context.tokens.path(number).unlink()
    found = train_probes(context, GroundTruth(context.source), [5])
    assert found["num_photos"] == 2
    assert found["supervised"]["iou"]["cat"] == 0
    known = drawn(5) != 255
    assert found["supervised"]["pixel_accuracy"] == pytest.approx((drawn(5) == 0).sum() / known.sum())


def test_without_ground_truth_there_is_nothing(tmp_path):
    context = make_context(tmp_path, unlabelled=STEMS[:5])
    assert train_probes(context, GroundTruth(context.source), [5, 6]) == {
        "num_photos": 0,
        "linear": None,
        "supervised": None,
    }
    assert not (context.run.path / "evaluation").exists()


def test_no_ground_truth_to_measure_with(context):
    found = train_probes(context, GroundTruth(context.source), [6])
    assert found == {"num_photos": 3, "linear": None, "supervised": None}
    assert not (context.run.path / "evaluation").exists()


def test_nothing_of_the_run_is_touched(context):
    before = {path: path.read_bytes() for path in context.run.path.rglob("*") if path.is_file()}
    train_probes(context, GroundTruth(context.source), [5])
    assert all(path.read_bytes() == content for path, content in before.items())
    new = {path.relative_to(context.run.path).parts[0] for path in context.run.path.rglob("*")}
    known = {
        "run.json",
        "run.copy.json",
        "proposals.json",
        "proposals.arrow",
        "embeddings.json",
        "stage2",
        "progress.json",
    }
    assert new == {*known, "evaluation"}
