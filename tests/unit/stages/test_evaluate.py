import dataclasses
import itertools
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from tiny_run import CLASSES, NUM_TRAIN, NUM_VAL, draw_voc, redone, run_chain, tiny_config

from maskdistill.cli.main import main
from maskdistill.datasets import open_source
from maskdistill.datasets.splits import reported_numbers
from maskdistill.errors import ConfigError, DatasetError
from maskdistill.evaluation import report
from maskdistill.stages import evaluate
from maskdistill.stages.chain import Options
from maskdistill.stages.evaluate import evaluate_run
from maskdistill.stages.plan import Plan
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run

NUM_CLASSES = len(CLASSES)
TRAIN, VAL = range(NUM_TRAIN), range(NUM_TRAIN, NUM_TRAIN + NUM_VAL)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Drawn photos whose ground truth has a band of ignored pixels, and settings."""
    folder = tmp_path_factory.mktemp("scene")
    data = draw_voc(folder / "voc")
    for path in (data / "SegmentationClass").iterdir():
        labels = np.array(Image.open(path))
        labels[:, 20:24] = 255
        Image.fromarray(labels).save(path)
    return data, tiny_config(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory, scene):
    """A whole run, to look at only."""
    path = tmp_path_factory.mktemp("evaluate") / "run"
    run_chain(path, *scene)
    return Run(path)


@pytest.fixture(scope="module")
def metrics(run):
    return read_json(run.path / "metrics.json")


@pytest.fixture
def evaluate_again(run, scene, tmp_path):
    """Evaluates a copy of the run under changed settings, without anything else being done."""
    shutil.copytree(run.path, tmp_path / "copy")

    def work(*assignments, data=scene[0], **changes):
        source = dataclasses.replace(open_source(str(data)), **changes)
        plan = Plan(Run(tmp_path / "copy"), source, scene[1].with_overrides(list(assignments)))
        evaluate_run(plan.context("evaluation", Options(quiet=True)))
        return read_json(tmp_path / "copy" / "metrics.json")

    return work


def truth_of(scene, number):
    return np.array(Image.open(scene[0] / "SegmentationClass" / f"{number:02d}.png"))


def map_of(path, number):
    return np.array(Image.open(path / "00000" / f"{number:06d}.png"))


def slow_ious(pairs, matching, skip_unknown=False):
    """IoU of background and each class by comparing whole pictures, None for a class that is nowhere."""
    truth = np.concatenate([truth.ravel() for truth, _ in pairs])
    found = np.concatenate([found.ravel() for _, found in pairs])
    counted = (truth != 255) & ~(skip_unknown & (found == 255))
    named = np.full(len(found), 254)
    for cluster, label in matching.items():
        named[found == cluster] = label
    ious = []
    for label in range(NUM_CLASSES + 1):
        here, there = (truth == label) & counted, (named == label) & counted
        union = np.count_nonzero(here | there)
        ious.append(np.count_nonzero(here & there) / union if union else None)
    return ious


def best_of_all_matchings(pairs, skip_unknown=False):
    """IoUs under the one-to-one matching of the largest mean, found by trying every one."""
    tried = [
        slow_ious(pairs, {0: 0, **dict(zip(range(1, NUM_CLASSES + 1), order, strict=True))}, skip_unknown)
        for order in itertools.permutations(range(1, NUM_CLASSES + 1))
    ]
    # The matching is chosen by the sum over classes that are in the ground truth or the prediction.
    return max(tried, key=lambda ious: sum(iou or 0 for iou in ious))


def best_of(metrics):
    """The measures that the closing sentence names."""
    return metrics["reported"].get("stage2_crf") or metrics["reported"]["stage2"]


def mean_of(ious):
    known = [iou for iou in ious if iou is not None]
    return sum(known) / len(known)


@pytest.mark.parametrize("kind", ["stage1", "stage2", "stage2_crf"])
def test_measures_of_predictions_equal_a_slow_count(run, scene, metrics, kind):
    if kind not in metrics["reported"]:
        pytest.skip("no CRF here")
    pairs = [(truth_of(scene, number), map_of(run.path / "predictions" / kind, number)) for number in VAL]
    expected = best_of_all_matchings(pairs)
    found = metrics["reported"][kind]
    assert list(found["iou"]) == ["background", *CLASSES]
    assert found["miou"] == pytest.approx(mean_of(expected))
    assert sum(value or 0 for value in found["iou"].values()) == pytest.approx(sum(iou or 0 for iou in expected))
    assert (found["num_images"], found["num_training"], found["coverage"]) == (NUM_VAL, 0, 1)


def painted_pairs(run, scene, numbers, cluster_of_mask):
    """Ground truth and painted proposals of photos; the best of a photo is painted last."""
    pairs = []
    for number in numbers:
        truth = truth_of(scene, number)
        painted = np.zeros(truth.shape, np.uint8)
        masks = run.masks()[run.masks()["image_id"] == f"{number:02d}"].sort_values("score")
        for mask_id in masks["mask_id"]:
            painted[MaskCodes.open(run).decode(mask_id)] = cluster_of_mask[mask_id]
        pairs.append((truth, painted))
    return pairs


@pytest.mark.parametrize(("part", "numbers"), [("reported", VAL), ("training", TRAIN)])
def test_measures_of_the_clustered_proposals_equal_a_slow_count(run, scene, metrics, part, numbers):
    pairs = painted_pairs(run, scene, numbers, run.class_of_mask())
    assert metrics[part]["proposals"]["miou"] == pytest.approx(mean_of(best_of_all_matchings(pairs)))


def test_pseudo_labels_are_judged_by_what_they_say(run, scene, metrics):
    made = read_json(run.path / "pseudo_labels.json")["photos"]
    pairs = []
    for number in TRAIN:
        truth = truth_of(scene, number)
        found = map_of(run.path / "pseudo_labels", number) if number in made else np.full(truth.shape, 255, np.uint8)
        pairs.append((truth, found))
    found = metrics["training"]["pseudo_labels"]
    assert found["miou"] == pytest.approx(mean_of(best_of_all_matchings(pairs, skip_unknown=True)))
    counted = [(truth != 255, labels != 255) for truth, labels in pairs]
    said = sum(int((there & sure).sum()) for there, sure in counted) / sum(int(there.sum()) for there, _ in counted)
    assert found["coverage"] == pytest.approx(said)
    assert said < 1


def test_before_the_filter_nothing_is_left_open(metrics):
    training = metrics["training"]
    assert training["unfiltered"]["coverage"] == 1
    assert training["proposals_on_kept"]["coverage"] == training["pseudo_labels"]["coverage"]
    assert {item["num_training"] for item in training.values()} == {NUM_TRAIN}


def test_several_seeds_begin_with_the_runs_own(metrics):
    seeds = metrics["clustering_seeds"]
    assert len(seeds["miou"]) == 2
    assert seeds["miou"][0] == pytest.approx(metrics["training"]["proposals"]["miou"])
    assert seeds["mean"] == pytest.approx(sum(seeds["miou"]) / 2)
    assert seeds["std"] == pytest.approx(abs(seeds["miou"][0] - seeds["miou"][1]) / 2**0.5)


def test_seeds_are_judged_by_their_own_clusters(evaluate_again, run, scene, monkeypatch):
    """Those of a consensus are not always the nearest centre's."""
    table = run.clusters()
    made_up = {id: place % NUM_CLASSES + 1 for place, id in enumerate(table.loc[table["fitted"], "mask_id"])}
    monkeypatch.setattr(evaluate, "recluster", lambda _context, seeds: dict.fromkeys(seeds, made_up))
    found = evaluate_again()["clustering_seeds"]["miou"]
    pairs = painted_pairs(run, scene, TRAIN, made_up)
    assert found == pytest.approx([mean_of(best_of_all_matchings(pairs))] * 2)


def test_proposals_are_localised(run, scene, metrics):
    """The best mask of a photo, against each piece of its one object and against all pieces together."""
    best = []
    for number in VAL:
        truth, mask = truth_of(scene, number), MaskCodes.open(run).decode(number * 10)
        counted, whole = truth != 255, (truth > 0) & (truth < 255)
        pieces, count = ndimage.label(whole)
        regions = [whole, *(pieces == piece for piece in range(1, count + 1) if (pieces == piece).sum() >= 200)]
        best.append(max((mask & region).sum() / ((mask & counted) | region).sum() for region in regions))
    assert metrics["masks"]["mean_best_iou"] == pytest.approx(np.mean(best))
    assert metrics["masks"]["corloc"] == pytest.approx(np.mean(np.array(best) >= 0.5))
    assert metrics["masks"]["num_images"] == NUM_VAL
    assert 0 < metrics["masks"]["mask_ap50"] <= 1


def test_counts_need_no_ground_truth(run, metrics):
    kept = run.kept()
    counts = metrics["counts"]
    assert (counts["photos"], counts["training_photos"]) == (NUM_TRAIN + NUM_VAL, NUM_TRAIN)
    assert (counts["masks"], counts["candidates"]) == (len(run.masks()), len(kept))
    assert counts["kept"] == int(kept["kept"].sum()) == counts["rules"]["kept"]
    assert sum(counts["rules"].values()) == len(kept)


@pytest.mark.parametrize(("split", "counts"), [("train", (8, 8)), ("all", (12, 8))])
def test_split_can_be_chosen_and_needs_no_training(run, scene, tmp_path, split, counts):
    shutil.copytree(run.path, tmp_path / "copy")
    changed = scene[1].with_overrides([f"predictions.split={split}", "evaluation.num_seeds=0"])
    assert redone(run_chain(tmp_path / "copy", scene[0], changed)) == ["predictions", "evaluation"]
    reported = read_json(tmp_path / "copy" / "metrics.json")["reported"]
    assert {(item["num_images"], item["num_training"]) for item in reported.values()} == {counts}


def test_photos_without_ground_truth_are_left_out(evaluate_again, scene, tmp_path):
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    for number in (1, 8, 9):
        (data / "SegmentationClass" / f"{number:02d}.png").unlink()
    found = evaluate_again(data=data)
    assert found["reported"]["stage2"]["num_images"] == NUM_VAL - 2
    assert found["training"]["stage2"]["num_images"] == NUM_TRAIN - 1
    assert found["masks"]["num_images"] == NUM_VAL - 2


@pytest.fixture
def without_truth_of(run, scene, tmp_path):
    """Finishes a copy of the run where photos have no ground truth; returns it, the data and the closing sentence."""

    def work(numbers):
        data = tmp_path / "voc"
        shutil.copytree(scene[0], data)
        for number in numbers:
            (data / "SegmentationClass" / f"{number:02d}.png").unlink()
        shutil.copytree(run.path, tmp_path / "copy")
        said = run_chain(tmp_path / "copy", data, scene[1].with_overrides(["evaluation.probe=true"]))
        assert redone(said) == ["evaluation"]
        return Run(tmp_path / "copy"), data, said["evaluation"]

    return work


def test_only_the_reported_photos_are_labelled(without_truth_of, metrics):
    """The run failed at its last stage, as no photo that it trained on had ground truth."""
    run, _, sentence = without_truth_of(TRAIN)
    found = read_json(run.path / "metrics.json")
    assert found["training"] == dict.fromkeys(metrics["training"])
    assert found["clustering_seeds"] is None
    assert found["with_labels"] == {"num_photos": 0, "linear": None, "supervised": None}
    assert (found["reported"], found["masks"]) == (metrics["reported"], metrics["masks"])
    assert sentence.startswith(f"mIoU {best_of(metrics)['miou']:.3f} on 4 photos, 0 of them trained on. (")


def test_only_the_training_photos_are_labelled(without_truth_of, metrics):
    """The run failed at its last stage, as no reported photo had ground truth."""
    run, _, sentence = without_truth_of(VAL)
    found = read_json(run.path / "metrics.json")
    assert found["reported"] == dict.fromkeys(metrics["reported"])
    assert found["masks"] == {**dict.fromkeys(metrics["masks"]), "num_images": 0}
    assert found["with_labels"] == {"num_photos": NUM_TRAIN, "linear": None, "supervised": None}
    assert (found["training"], found["clustering_seeds"]) == (metrics["training"], metrics["clustering_seeds"])
    trained = f"mIoU {metrics['training']['stage2']['miou']:.3f} on 8 photos trained on. ("
    assert sentence.startswith(f"No reported photo has ground truth: choose another predictions.split. {trained}")


def test_pixels_all_ignored_are_no_ground_truth(without_truth_of, scene):
    run, data, _ = without_truth_of([])
    for path in (data / "SegmentationClass").iterdir():
        Image.fromarray(np.full_like(np.array(Image.open(path)), 255)).save(path)
    said = run_chain(run.path, data, scene[1])
    assert "is ignored (255)" in said["evaluation"]
    found = read_json(run.path / "metrics.json")
    assert set(found["reported"].values()) == set(found["training"].values()) == {None}
    with pytest.raises(DatasetError, match=r"split 'auto' in .* is 255 everywhere.*Choose another --split"):
        report.evaluate(run, str(data))


def test_commands_tell_of_reported_photos_without_ground_truth(without_truth_of, scene, metrics, capsys):
    run, data, _ = without_truth_of(VAL)
    path = str(run.path)
    assert main(["status", "--run", path]) == 0
    assert "no reported photo has ground truth" in capsys.readouterr().out
    assert main(["evaluate", "--run", path, "--data", str(data)]) == 2
    assert "No photo of split 'auto'" in capsys.readouterr().err
    assert main(["evaluate", "--run", path, "--data", str(data), "--split", "train"]) == 0
    assert capsys.readouterr().out.startswith(f"mIoU {metrics['training']['stage2']['miou']:.3f}")
    # The photos of the run with ground truth, elsewhere: metrics.json is found and holds no measure of the masks.
    assert main(["evaluate", "--run", path, "--data", str(scene[0])]) == 0
    assert "of the proposals" not in capsys.readouterr().out


def test_source_without_labels_is_counted_only(evaluate_again, metrics):
    found = evaluate_again(has_labels=False, label_paths=())
    assert found.pop("ground_truth_left_out")["count"] == 0
    assert found == {"ground_truth": False, "counts": metrics["counts"]}


def test_prediction_that_is_perfect_scores_1(evaluate_again, scene, tmp_path):
    """Ground truth under other numbers, in place of the prediction."""
    for number in VAL:
        truth = truth_of(scene, number)
        truth[truth == 255] = 0
        relabelled = np.array([0, 3, 1, 2], np.uint8)[truth]
        image = Image.fromarray(relabelled, "P")
        image.putpalette([0, 0, 0] * 256)
        image.save(tmp_path / "copy" / "predictions" / "stage2" / "00000" / f"{number:06d}.png")
    found = evaluate_again("evaluation.num_seeds=0")["reported"]["stage2"]
    assert found["miou"] == found["pixel_accuracy"] == found["majority_miou"] == 1
    assert found["matching"] == {"0": "background", "3": "disc", "1": "square", "2": "stripes"}


def test_report_is_plain_json(run):
    text = (run.path / "metrics.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["ground_truth"] is True


class TestReportedNumbers:
    @pytest.mark.parametrize(
        ("split", "expected"),
        [("auto", VAL), ("val", VAL), ("train", TRAIN), ("trainval", range(12)), ("all", range(12))],
    )
    def test_with_splits(self, scene, split, expected):
        assert reported_numbers(open_source(str(scene[0])), split) == list(expected)

    def test_auto_without_splits_is_all(self, scene):
        assert reported_numbers(open_source(str(scene[0] / "JPEGImages")), "auto") == list(range(12))

    def test_unknown_split(self, scene):
        with pytest.raises(ConfigError, match=r"no split 'test'. There are: train, val, all"):
            reported_numbers(open_source(str(scene[0])), "test")


def test_nothing_is_measured_where_pseudo_labels_say_nothing(evaluate_again, run, scene, tmp_path):
    """Ground truth only where they are open: there is no IoU, which is no 0."""
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    for number in read_json(run.path / "pseudo_labels.json")["photos"]:
        truth, said = truth_of(scene, number), map_of(run.path / "pseudo_labels", number)
        Image.fromarray(np.where(said == 255, truth, 255)).save(data / "SegmentationClass" / f"{number:02d}.png")
    training = evaluate_again(data=data)["training"]
    assert (training["pseudo_labels"], training["proposals_on_kept"]) == (None, None)
    assert training["proposals"]["miou"] is not None


def test_ground_truth_that_is_ignored_everywhere_measures_nothing(evaluate_again, scene, tmp_path):
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    for path in (data / "SegmentationClass").iterdir():
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), 255)).save(path)
    found = evaluate_again("evaluation.probe=true", data=data)
    assert set(found["reported"].values()) == {None}
    assert found["with_labels"] == {"num_photos": 0, "linear": None, "supervised": None}
