import shutil

import numpy as np
import pytest
from tiny_run import NUM_TRAIN, WITHOUT_MAP, assert_same_artifacts, contents_of, interrupt_stage, redone, run_chain

from maskdistill.datasets import open_source, read_photo
from maskdistill.errors import ConfigError, RunError
from maskdistill.evaluation import report
from maskdistill.files import write_json
from maskdistill.masks import decode_mask
from maskdistill.models.predictor import load_model
from maskdistill.models.training.checkpoint import read_tensors
from maskdistill.proposals.crf import refine_classes
from maskdistill.pseudo_labels.label_maps import read_label_png, write_label_png
from maskdistill.stages import rounds
from maskdistill.stages.chain import Options
from maskdistill.stages.plan import Plan, read_record
from maskdistill.stages.rounds import compare_labels, view_photos
from maskdistill.storage.label_folder import LabelFolder
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run

TRAINING = ["stage2.epochs=8", "stage2.whole_patches=false"]  # so that the label of one pixel more moves the weights
PLAIN = ("rounds.crf=false", "rounds.stop_at=1")
TWO = ("rounds.count=2", *PLAIN)
AFTER_STAGE2 = list(WITHOUT_MAP[WITHOUT_MAP.index("rounds") :])


@pytest.fixture(scope="module")
def drawn(scene):
    """Folder of drawn photos, and settings; to look at only."""
    return scene[0], scene[1].with_overrides(TRAINING)


@pytest.fixture(scope="module")
def without(finished, drawn, tmp_path_factory):
    """A run without rounds, to look at only, and what its stages said."""
    path = tmp_path_factory.mktemp("without") / "run"
    shutil.copytree(finished[0].path, path)
    said = run_chain(path, *drawn)
    return Run(path), said


@pytest.fixture
def go_on(without, drawn, tmp_path):
    """Works on a copy of the run without rounds; settings may be changed by assignments."""
    path = tmp_path / "run"
    shutil.copytree(without[0].path, path)

    def go_on(*assignments, data=drawn[0], **options):
        return run_chain(path, data, drawn[1].with_overrides(list(assignments)), **options)

    go_on.run = Run(path)
    return go_on


@pytest.fixture(scope="module")
def twice(without, drawn, tmp_path_factory):
    """A run with two rounds, to look at only, and what its stages said."""
    path = tmp_path_factory.mktemp("twice") / "run"
    shutil.copytree(without[0].path, path)
    said = run_chain(path, drawn[0], drawn[1].with_overrides(list(TWO)))
    return Run(path), said


def rounds_of(run):
    """Every file that the stage writes, its labels, weights and records."""
    found = {name: content for name, content in contents_of(run).items() if name.startswith("rounds")}
    assert {"rounds.json", "rounds/2/round.json", "rounds/2/model.safetensors"} <= found.keys()
    return found


def weights(run, model):
    return {name: value.numpy() for name, value in read_tensors(run.path / model / "model.safetensors")[0].items()}


def context_of(run, drawn, *assignments):
    config = drawn[1].with_overrides(list(assignments))
    return Plan(run, open_source(str(drawn[0])), config).context("rounds", Options(num_workers=1, quiet=True))


class TestNoRounds:
    def test_nothing_is_done(self, without):
        run, said = without
        assert said["rounds"].startswith("No round is asked for.")
        assert not (run.path / "rounds").exists()
        assert run.final_model == "stage2"
        assert read_json(run.rounds_path)["rounds"] == []

    def test_a_run_of_before_there_was_the_stage_keeps_its_results(self, go_on):
        go_on.run.stage_path("rounds").unlink()
        go_on.run.rounds_path.unlink()
        assert read_record(go_on.run, "predictions")["made_from"]["from"].keys() == {"stage2"}
        before = contents_of(go_on.run)
        assert redone(go_on()) == ["rounds"]
        after = contents_of(go_on.run)
        assert {name: after[name] for name in before} == before

    @pytest.mark.parametrize("assignment", ["rounds.crf=false", "rounds.stop_at=0.5", "crf.iterations=3"])
    def test_their_settings_decide_nothing_else(self, go_on, assignment):
        assert "stage2" not in redone(go_on(assignment, wanted=("rounds",)))
        assert go_on.run.final_model == "stage2"

    def test_they_leave_nothing_of_earlier_ones(self, go_on, without):
        assert redone(go_on(*TWO)) == AFTER_STAGE2
        assert redone(go_on()) == AFTER_STAGE2
        assert_same_artifacts(go_on.run, without[0])
        assert not list((go_on.run.path / "rounds").glob("*"))


class TestTwoRounds:
    def test_each_leaves_its_labels_and_a_model_and_the_last_is_final(self, twice, without):
        run, said = twice
        assert redone(said) == AFTER_STAGE2
        assert said["rounds"].startswith("2 rounds trained; labels kept from each to the next: ")
        assert sorted(path.name for path in (run.path / "rounds").iterdir()) == ["1", "2"]
        assert run.final_model == "rounds/2"
        models = [weights(run, model) for model in ("stage2", "rounds/1", "rounds/2")]
        assert all(np.array_equal(models[0][name], value) for name, value in weights(without[0], "stage2").items())
        for one, other in ((0, 1), (1, 2)):
            assert any(not np.array_equal(models[one][name], value) for name, value in models[other].items())

    def test_record(self, twice):
        run, _ = twice
        found = read_json(run.rounds_path)
        assert found["model"] == "rounds/2"
        folders = [LabelFolder(path) for path in (run.path, run.path / "rounds/1", run.path / "rounds/2")]
        for before, now, item in zip(folders[:2], folders[1:], found["rounds"], strict=True):
            assert item["candidates"] == len(now.candidates())
            assert item["kept"] == now.kept()["kept"].sum()
            assert item["photos"] == len(now.labelled())
            assert item["agreement"] == compare_labels(before, now) < 1
            assert item["trained"]

    def test_labels_are_the_kept_masks_as_the_model_before_draws_them(self, twice, drawn):
        """By the first model's own stages, which are tested elsewhere, asked of another folder."""
        run, _ = twice
        for folder, model in ((run.path / "rounds/1", "stage2"), (run.path / "rounds/2", "rounds/1")):
            labels = LabelFolder(folder)
            table = labels.candidates().merge(labels.kept(), on="mask_id").set_index("mask_id")
            assert set(table["origin"]) <= {"proposal", model}
            assert (table["kept"] == ~(table["iou"] < drawn[1].filter.min_iou)).all()
            codes = {item["id"]: item["segmentation"] for item in read_json(folder / "candidates.json")["annotations"]}
            predictor = context_of(run, drawn).predictor(model)
            photos = open_source(str(drawn[0])).photos
            for number in labels.labelled():
                predicted = predictor.probabilities(photos[number]).argmax(axis=0)
                expected = np.zeros(predicted.shape, np.uint8)
                rows = table[table["image"] == number]
                for mask_id in rows.index[~rows["kept"]]:
                    expected[decode_mask(codes[mask_id])] = 255
                for mask_id, row in rows[rows["kept"]].sort_values("score").iterrows():
                    mask = decode_mask(codes[mask_id])
                    expected[mask] = row["label"]
                    if row["origin"] == model:
                        assert (predicted[mask] == row["label"]).all()
                np.testing.assert_array_equal(read_label_png(labels.pseudo_label(number)), expected)

    def test_predictions_and_report_are_of_the_last_round_beside_stage_2(self, twice, without):
        run, _ = twice
        made = read_json(run.path / "predictions.json")
        assert made["model"] == "rounds/2"
        kinds = {"stage1", "stage2", "rounds", *(["rounds_crf"] if made["crf"] else [])}
        assert {path.name for path in (run.path / "predictions").iterdir()} == kinds
        metrics, before = (read_json(item.path / "metrics.json") for item in (run, without[0]))
        assert metrics["reported"].keys() == kinds | {"proposals"}
        assert metrics["training"].keys() == before["training"].keys() | {"rounds"}
        for kind in ("stage1", "stage2"):
            assert metrics["reported"][kind] == before["reported"][kind]

    def test_the_final_model_labels_new_photos(self, twice, drawn):
        run, _ = twice
        photo = open_source(str(drawn[0])).photos[NUM_TRAIN]
        labels = load_model(run).probabilities(photo).argmax(axis=0)
        np.testing.assert_array_equal(labels, read_label_png(run.prediction("rounds", NUM_TRAIN)))
        last, second = (read_json(run.path / "metrics.json")["reported"][kind]["miou"] for kind in ("rounds", "stage2"))
        assert report.evaluate(run)["miou"] == pytest.approx(last, abs=1e-9)
        assert report.evaluate(run, stage="stage2")["miou"] == pytest.approx(second, abs=1e-9)

    def test_a_second_run_is_the_same_and_has_nothing_to_do(self, twice, go_on):
        go_on(*TWO)
        assert_same_artifacts(go_on.run, twice[0])
        assert redone(go_on(*TWO)) == []

    def test_a_third_goes_on_from_the_second(self, twice, go_on, monkeypatch):
        go_on(*TWO, wanted=("rounds",))
        monkeypatch.setattr(rounds, "write_label_maps", counted := Counted(rounds.write_label_maps))
        go_on("rounds.count=3", *PLAIN, wanted=("rounds",))
        assert [folder.path.name for _, folder, _ in counted.calls] == ["3"]
        assert go_on.run.final_model == "rounds/3"
        go_on(*TWO, wanted=("rounds",))
        assert rounds_of(go_on.run) == rounds_of(twice[0])

    def test_other_labels_make_other_rounds(self, go_on, twice):
        go_on(*TWO, wanted=("rounds",))
        said = go_on("labels.border_band=1", "rounds.count=1", *PLAIN, wanted=("rounds",))
        assert redone(said) == ["pseudo_labels", "stage2", "rounds"]
        assert [path.name for path in (go_on.run.path / "rounds").iterdir()] == ["1"]
        key, old = (read_json(run.path / "rounds/1/round.json")["key"] for run in (go_on.run, twice[0]))
        assert key != old

    def test_a_new_stage_2_is_final_until_its_rounds_are_done(self, go_on):
        go_on(*TWO, wanted=("rounds",))
        go_on("stage2.epochs=1", *TWO, wanted=("stage2",))
        assert go_on.run.final_model == "stage2"

    def test_lost_weights_are_told(self, go_on):
        go_on(*TWO, wanted=("rounds",))
        (go_on.run.path / "rounds/2/model.safetensors").unlink()
        with pytest.raises(RunError, match=r"rounds/2/model\.safetensors .*maskdistill run .*--until rounds"):
            load_model(go_on.run)
        assert redone(go_on(*TWO, wanted=("rounds",))) == ["rounds"]
        assert load_model(go_on.run).num_classes == 3


class Counted:
    """A function that remembers its calls."""

    def __init__(self, function):
        self.function, self.calls = function, []

    def __call__(self, *arguments):
        self.calls.append(arguments)
        return self.function(*arguments)


class TestStop:
    def test_labels_that_agree_enough_end_it_without_a_training(self, go_on, twice):
        first, second = (item["agreement"] for item in read_json(twice[0].rounds_path)["rounds"])
        assert second > first
        said = go_on("rounds.count=5", "rounds.crf=false", f"rounds.stop_at={(first + second) / 2}")
        assert said["rounds"].startswith("1 round trained")
        assert "too much like those before" in said["rounds"]
        assert [item["trained"] for item in read_json(go_on.run.rounds_path)["rounds"]] == [True, False]
        assert go_on.run.final_model == "rounds/1"
        assert [path.name for path in (go_on.run.path / "rounds").iterdir()] == ["1"]
        assert all(
            np.array_equal(weights(go_on.run, "rounds/1")[name], value)
            for name, value in weights(twice[0], "rounds/1").items()
        )

    def test_the_first_may_agree_already(self, go_on):
        go_on("rounds.count=5", "rounds.crf=false", "rounds.stop_at=0.01")
        assert go_on.run.final_model == "stage2"
        assert "rounds" not in read_json(go_on.run.path / "metrics.json")["reported"]
        assert read_json(go_on.run.path / "predictions.json")["model"] == "stage2"

    def test_a_stricter_rule_goes_on_where_it_ended(self, go_on, twice):
        go_on("rounds.count=2", "rounds.crf=false", "rounds.stop_at=0.01", wanted=("rounds",))
        go_on(*TWO, wanted=("rounds",))
        assert rounds_of(go_on.run) == rounds_of(twice[0])


class TestCompareLabels:
    def make(self, folder, maps):
        labels = LabelFolder(folder)
        for number, values in maps.items():
            write_label_png(labels.pseudo_label(number), np.array(values, np.uint8))
        write_json(folder / "pseudo_labels.json", {"photos": list(maps)})
        return labels

    def test_share_of_what_is_labelled_in_either(self, tmp_path):
        before = self.make(tmp_path / "a", {0: [[0, 1, 2, 255, 255]], 1: [[3, 3]], 4: [[255, 255]]})
        now = self.make(tmp_path / "b", {0: [[0, 1, 3, 4, 255]], 2: [[1, 255, 1]], 4: [[255, 255]]})
        assert compare_labels(before, now) == compare_labels(now, before) == 2 / (4 + 2 + 2)
        assert compare_labels(before, before) == 1

    def test_nothing_labelled_is_no_change(self, tmp_path):
        assert compare_labels(self.make(tmp_path / "a", {}), self.make(tmp_path / "b", {0: [[255]]})) == 1


# Signs of progress in a round: 8 photos predicted, 6 label maps, 16 steps.
MORE_MOMENTS = [pytest.param(count, marks=pytest.mark.slow) for count in (1, 12, 55)]


@pytest.mark.parametrize("count", [20, 42, *MORE_MOMENTS])
def test_interrupted_anywhere_it_ends_with_the_same_files(go_on, twice, monkeypatch, count):
    interrupt_stage(monkeypatch, "rounds", count)
    with pytest.raises(KeyboardInterrupt):
        go_on(*TWO)
    assert go_on.run.final_model == "stage2"
    assert not go_on.run.stage_path("rounds").exists()
    assert redone(go_on(*TWO, wanted=("rounds",))) == ["rounds"]
    assert rounds_of(go_on.run) == rounds_of(twice[0])


@pytest.mark.parametrize("name", ["write_kept", "write_label_maps", "compare_labels", "write_json", "train_stage"])
def test_killed_between_two_steps_of_the_second_round(go_on, twice, monkeypatch, name):
    function, left = getattr(rounds, name), [2]

    def once(*arguments, **options):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    monkeypatch.setattr(rounds, name, once)
    with pytest.raises(KeyboardInterrupt):
        go_on(*TWO)
    monkeypatch.undo()
    go_on(*TWO, wanted=("rounds",))
    assert rounds_of(go_on.run) == rounds_of(twice[0])


def test_interrupted_rounds_of_other_settings_leave_nothing_behind(go_on, twice, monkeypatch):
    interrupt_stage(monkeypatch, "rounds", 40)
    with pytest.raises(KeyboardInterrupt):
        go_on("labels.border_band=1", "rounds.count=4", *PLAIN)
    go_on(*TWO, wanted=("rounds",))
    assert rounds_of(go_on.run) == rounds_of(twice[0])


def test_without_ground_truth_the_rounds_are_the_same(go_on, twice, drawn, tmp_path):
    data = tmp_path / "voc"
    shutil.copytree(drawn[0], data)
    shutil.rmtree(data / "SegmentationClass")
    (data / "classes.txt").unlink()
    assert redone(go_on(*TWO, data=data, wanted=("rounds",))) == ["rounds"]
    assert rounds_of(go_on.run) == rounds_of(twice[0])


class TestCrf:
    def test_what_becomes_labels_is_refined(self, go_on, drawn):
        pytest.importorskip("pydensecrf")
        context = context_of(go_on.run, drawn, "rounds.count=1")
        found = dict(view_photos(context, "stage2", context.training_numbers))
        assert sorted(found) == context.training_numbers
        for number in (0, 3):
            photo = context.photo(number)
            plain = context.predictor("stage2").probabilities(photo)
            expected = refine_classes(np.asarray(read_photo(photo)), plain, context.config.crf)
            np.testing.assert_array_equal(found[number], expected)
        unrefined = dict(view_photos(context_of(go_on.run, drawn, *TWO), "stage2", [3]))
        np.testing.assert_array_equal(unrefined[3], plain)

    def test_its_settings_make_other_rounds_where_it_is_used(self, go_on):
        pytest.importorskip("pydensecrf")
        asked = ("rounds.count=1", "rounds.stop_at=1")
        go_on(*asked, wanted=("rounds",))
        assert redone(go_on(*asked, "crf.iterations=1", wanted=("rounds",))) == ["rounds"]
        go_on(*TWO, wanted=("rounds",))
        assert redone(go_on(*TWO, "crf.iterations=1", wanted=("rounds",))) == []

    def test_without_its_package_it_is_told(self, go_on, monkeypatch):
        monkeypatch.setattr(rounds, "crf_available", lambda: False)
        with pytest.raises(ConfigError, match=r"pip install pydensecrf2, or set rounds\.crf=false\."):
            go_on("rounds.count=1", wanted=("rounds",))
        go_on("rounds.count=0", wanted=("rounds",))


def test_status_tells_of_the_rounds(twice):
    from maskdistill.stages.status import stage_states

    found = {item.name: item for item in stage_states(twice[0])}
    assert found["rounds"].text.startswith("done: 2 trained; labels kept: ")
    assert found["predictions"].state == "done"
    miou = read_json(twice[0].path / "metrics.json")["reported"]
    miou = (miou.get("rounds_crf") or miou["rounds"])["miou"]
    assert found["evaluation"].text.startswith(f"done: mIoU {miou:.3f}")
