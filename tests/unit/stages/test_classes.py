import shutil

import numpy as np
import pandas as pd
import pytest
from tiny_run import contents_of, redone, run_chain

from maskdistill.errors import RunError
from maskdistill.files import write_json
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.review.decisions import Action, Mark, Scope, decide, exclude, merge, read_classes, rename, split, undo
from maskdistill.stages import train
from maskdistill.stages.plan import read_record
from maskdistill.stages.select import write_kept
from maskdistill.stages.status import stage_states
from maskdistill.storage.label_folder import LabelFolder
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run, write_table

FROM_CLASSES = ["classes", "stage1", "candidates", "filter", "pseudo_labels", "stage2"]
AFTER_FILTER = ["pseudo_labels", "stage2", "rounds", "predictions", "evaluation"]
NO_RULE = ["filter.min_iou=0", "labels.border_band=0"]


@pytest.fixture
def again(finished, scene, tmp_path):
    """Works on a copy of the finished run; settings may be changed by assignments."""
    path = tmp_path / "again"
    shutil.copytree(finished[0].path, path)

    def go_on(*assignments, **options):
        return redone(run_chain(path, scene[0], scene[1].with_overrides(list(assignments)), **options))

    go_on.run = Run(path)
    return go_on


def mark_of(run, mask_id, action, cluster=None):
    row = run.masks().set_index("mask_id").loc[mask_id]
    box = tuple(int(row[f"bbox_{name}"]) for name in "xywh")
    return Mark(int(mask_id), row["image_id"], box, Action(action), cluster)


def say(run, mask_ids, action, cluster=None, scope=Scope.LABELS):
    marks = [mark_of(run, mask_id, action, cluster) for mask_id in mask_ids]
    return decide(run, "ann", marks, scope=scope)


def states(run):
    return {item.name: (item.state, item.why) for item in stage_states(run) if item.name != "projection"}


def stale(run):
    return {name: why for name, (state, why) in states(run).items() if state != "done"}


def members(run, cluster):
    table = run.clusters()
    return table.loc[table["cluster"] == cluster, "mask_id"].tolist()


class TestWithoutDecisions:
    def test_classes_are_the_clusters(self, finished):
        run, said = finished
        assert said["classes"].startswith(f"3 classes of {len(run.clusters())} masks, as clustered.")
        assert run.classes().equals(run.clusters())
        assert run.class_of_mask() == run.classes().set_index("mask_id")["cluster"].to_dict()
        record = read_json(run.path / "classes.json")
        assert record == {
            "num_classes": 3,
            "used": [1, 2, 3],
            "clusters": read_record(run, "clusters")["fingerprint"],
            "adopted": 0,
            "names": {},
            "excluded": [],
            "rejected": [],
            "left_out": [],
            "num_edits": 0,
        }
        assert run.num_classes == 3

    def test_the_first_model_stands_on_the_clusters(self, finished):
        run = finished[0]
        clusters = read_record(run, "clusters")["fingerprint"]
        assert read_record(run, "stage1")["made_from"]["from"] == {"clusters": clusters}
        assert "decisions" not in read_record(run, "filter")["made_from"]

    def test_a_run_of_before_this_stage_stays_as_it_is(self, again):
        run = again.run
        for path in (run.classes_path, run.path / "classes.json", run.stage_path("classes")):
            path.unlink()
        assert stale(run) == {"classes": ""}
        assert run.num_classes == 3
        assert run.classes().equals(run.clusters())
        assert again() == ["classes"]

    def test_what_changes_no_class_makes_nothing_stale(self, again):
        run = again.run
        rename(run, "ann", 1, "sheep")
        say(run, members(run, 1)[:2], "accept", scope=Scope.CLUSTERS)
        undo(run, "ann", scope=Scope.CLUSTERS)
        exclude(run, "ann", 1, True)
        exclude(run, "ann", 1, False)
        assert stale(run) == {}
        assert again() == []


class TestClusterDecisions:
    def test_make_stale_what_hangs_on_them_and_say_so(self, again):
        run = again.run
        exclude(run, "ann", 2, True)
        assert list(stale(run).items())[:4] == [
            ("classes", "decisions were changed"),
            ("stage1", "decisions were changed"),
            ("candidates", "stage1 is stale"),
            ("filter", "candidates is stale"),
        ]
        assert again()[: len(FROM_CLASSES)] == FROM_CLASSES
        assert stale(run) == {}
        classes = read_record(run, "classes")["fingerprint"]
        assert read_record(run, "stage1")["made_from"]["from"] == {"classes": classes}
        exclude(run, "ann", 3, True)
        assert list(stale(run).items())[:2] == [("classes", "decisions were changed"), ("stage1", "classes is stale")]
        info = run.info()
        info["config"]["clusters"]["num_rounds"] = 7
        run.write_info(info)
        found = stale(run)
        assert found["clusters"] == "clusters.num_rounds was changed"
        assert found["classes"] == found["stage1"] == "clusters is stale"

    def test_undone_all_is_as_before(self, again, finished):
        run = again.run
        merge(run, "ann", [1, 3])
        again()
        undo(run, "ann", scope=Scope.CLUSTERS)
        assert stale(run)["stage1"] == "decisions were changed"
        assert again()[: len(FROM_CLASSES)] == FROM_CLASSES
        found, wanted = contents_of(run), contents_of(finished[0])
        assert {name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)} == {"run.sqlite"}

    def test_excluded_clusters_and_rejected_masks_are_background(self, again):
        run = again.run
        exclude(run, "ann", 2, True)
        rejected = members(run, 1)[:1]
        say(run, rejected, "reject", scope=Scope.CLUSTERS)
        again()
        out = {*members(run, 2), *rejected}
        assert set(run.classes()["mask_id"]) == set(run.clusters()["mask_id"]) - out
        proposals = run.candidates().query("origin == 'proposal'")
        assert not out & set(proposals["mask_id"])
        assert set(proposals["cluster"]) == {1, 3}
        record = read_json(run.path / "classes.json")
        assert (record["used"], record["excluded"], record["rejected"]) == ([1, 3], [2], rejected)
        assert record["num_edits"] == 2
        assert [item["id"] for item in read_json(run.path / "candidates.json")["categories"]] == [1, 3]
        samples = run.path / "stage1" / "samples"
        taught = [np.unique(read_label_png(path)) for path in (samples / "target").glob("*.png")]
        assert set(np.concatenate(taught)) <= {0, 1, 3}
        assert read_json(samples / "samples.json")["num_classes"] == 3

    def test_a_photo_that_rejections_leave_without_a_mask_is_not_learnt_from(self, again, finished, scene):
        (_, said), run = finished, again.run
        table = run.clusters()
        photo = int(table["mask_id"].min()) // 10
        mask_ids = table.loc[table["mask_id"] // 10 == photo, "mask_id"].tolist()
        say(run, mask_ids, "reject", scope=Scope.CLUSTERS)
        assert "on 8 photos" in said["stage1"]
        assert "on 7 photos" in run_chain(run.path, *scene, wanted=("stage1",))["stage1"]

    def test_numbers_with_a_gap_go_through_all_stages(self, again):
        run = again.run
        merge(run, "ann", [1, 2])
        largest = members(run, 1) + members(run, 2)
        split(run, "bob", 1, [largest[::2], largest[1::2]])
        again()
        assert run.num_classes == 4
        assert set(run.classes()["cluster"]) == {1, 3, 4}
        assert read_json(run.path / "stage2" / "samples" / "samples.json")["num_classes"] == 4
        maps = [read_label_png(run.pseudo_label(number)) for number in run.labelled()]
        assert set(np.unique(np.concatenate([labels.ravel() for labels in maps]))) <= {0, 1, 3, 4, 255}
        measured = read_json(run.path / "metrics.json")["training"]
        assert 0 <= measured["stage2"]["miou"] <= 1

    def test_distances_are_to_the_centres_of_the_new_classes(self, again):
        run = again.run
        before = run.clusters()
        merge(run, "ann", [1, 2])
        again(wanted=("classes",))
        table, vectors = run.classes(), np.load(run.path / "embeddings.npy").astype(np.float64)
        fitted = table["fitted"].to_numpy()
        centres = {
            number: vectors[fitted & (table["cluster"] == number).to_numpy()].mean(axis=0)
            for number in set(table["cluster"])
        }
        for row, vector in zip(table.itertuples(), vectors, strict=True):
            distances = {number: np.linalg.norm(vector - centre) for number, centre in centres.items()}
            own = distances.pop(row.cluster)
            assert row.distance == pytest.approx(own, abs=1e-4)
            assert row.margin == pytest.approx(min(distances.values()) - own, abs=1e-4)
        assert not np.allclose(table["distance"], before["distance"])

    def test_a_class_of_photos_that_nothing_was_fitted_to_has_a_centre_too(self, again):
        run = again.run
        table = run.clusters()
        cluster = table.loc[~table["fitted"], "cluster"].value_counts().index[0]
        inside = table[table["cluster"] == cluster]
        fitted, others = (inside.loc[inside["fitted"] == which, "mask_id"].tolist() for which in (True, False))
        split(run, "ann", int(cluster), [fitted, others])
        again(wanted=("classes",))
        assert np.isfinite(run.classes()["distance"]).all()

    def test_nothing_left_is_an_error(self, again):
        for cluster in (1, 2, 3):
            exclude(again.run, "ann", cluster, True)
        with pytest.raises(RunError, match="People rejected every mask of .*, or excluded its cluster"):
            again()

    def test_another_clustering_lets_them_rest(self, again):
        run = again.run
        exclude(run, "ann", 2, True)
        again("seed=1", wanted=("candidates",))
        assert read_classes(run).dormant == 1
        assert "clusters" in read_record(run, "stage1")["made_from"]["from"]
        again(wanted=("candidates",))
        assert "classes" in read_record(run, "stage1")["made_from"]["from"]
        assert read_json(run.path / "classes.json")["excluded"] == [2]


class TestLabelDecisions:
    def test_make_the_filter_stale_and_nothing_before_it(self, again):
        run = again.run
        kept = run.kept()
        say(run, kept.loc[kept["kept"], "mask_id"].tolist()[:2], "reject")
        assert list(stale(run).items())[:2] == [
            ("filter", "decisions were changed"),
            ("pseudo_labels", "filter is stale"),
        ]
        assert again() == ["filter", "pseudo_labels", "stage2", "rounds", "predictions", "evaluation"]
        assert stale(run) == {}

    def test_on_photos_that_training_does_not_see_change_nothing(self, again):
        run = again.run
        table = run.clusters()
        say(run, table.loc[~table["fitted"], "mask_id"].tolist(), "reject")
        assert stale(run) == {}

    def test_decide_over_every_rule(self, again):
        run = again.run
        kept = run.kept().merge(run.candidates()[["mask_id", "origin"]], on="mask_id").query("origin == 'proposal'")
        dropped, good = kept.loc[~kept["kept"], "mask_id"].tolist(), kept.loc[kept["kept"], "mask_id"].tolist()
        assert dropped
        say(run, dropped[:1], "accept")
        say(run, good[:1], "reject")
        say(run, good[1:2], "relabel", 3)
        again(wanted=("filter",))
        found = run.kept().set_index("mask_id")
        assert found.loc[dropped[0], ["kept", "rule", "decision"]].tolist() == [True, "accepted by a person", 1]
        assert found.loc[good[0], ["kept", "rule", "decision"]].tolist() == [False, "rejected by a person", -1]
        assert found.loc[good[1], ["kept", "decision", "relabel"]].tolist() == [True, 1, 3]
        others = ~found.index.isin([dropped[0], *good[:2]])
        assert not found.loc[others, ["decision", "relabel"]].to_numpy().any()

    @pytest.mark.parametrize("classes", ["stage1", "clusters"])
    def test_a_relabelled_mask_is_painted_in_its_new_class(self, again, classes):
        run = again.run
        settings = [*NO_RULE, f"labels.classes={classes}"]
        again(*settings, wanted=("pseudo_labels",))
        table = run.candidates().query("origin == 'proposal'")
        row = table.loc[table.groupby("image")["mask_id"].transform("count").idxmin()]
        taken = {row["label"], row["cluster"]}
        wanted = next(number for number in (1, 2, 3) if number not in taken)
        before = read_label_png(run.pseudo_label(row["image"]))
        say(run, [row["mask_id"]], "relabel", wanted)
        again(*settings, wanted=("pseudo_labels",))
        after = read_label_png(run.pseudo_label(row["image"]))
        changed = after != before
        assert changed.any()
        assert set(np.unique(after[changed])) == {wanted}
        say(run, [row["mask_id"]], "clear")
        again(*settings, wanted=("pseudo_labels",))
        np.testing.assert_array_equal(read_label_png(run.pseudo_label(row["image"])), before)

    def test_an_object_that_the_model_saw_itself_can_be_rejected(self, again, scene):
        """The mark on it outlives a number that another object has by now."""
        run = again.run
        table = run.candidates()
        seen = table.iloc[[0]].assign(mask_id=9, origin="stage1")
        write_table(run.candidates_path, pd.concat([table, seen]))
        coco = read_json(run.candidate_masks_path)
        coco["annotations"].append({**coco["annotations"][0], "id": 9, "bbox": [50, 40, 10, 10]})
        write_json(run.candidate_masks_path, coco)
        mark = Mark(8, seen["image_id"].iloc[0], (50, 40, 10, 9), Action.REJECT)
        decide(run, "ann", [mark], scope=Scope.LABELS)
        write_kept(run, run, scene[1].filter)
        found = run.kept().set_index("mask_id")["decision"]
        assert found[found != 0].to_dict() == {9: -1}

    def test_hold_in_further_rounds(self, again):
        run = again.run
        mask_id = int(run.candidates().query("origin == 'proposal'")["mask_id"].iloc[0])
        say(run, [mask_id], "reject")
        assert "rounds" in again("rounds.count=1", "rounds.crf=false", "rounds.stop_at=1.0", wanted=("rounds",))
        found = LabelFolder(run.path / "rounds" / "1").kept().set_index("mask_id")
        assert found.at[mask_id, "rule"] == "rejected by a person"


class TestClustersOfBadMasks:
    @pytest.fixture
    def doubtful(self, again, monkeypatch):
        """The masks of cluster 1 stand out far less than the others."""
        bad = set(members(again.run, 1))
        known = {mask_id: 0.1 if mask_id in bad else 0.8 for mask_id in again.run.clusters()["mask_id"].tolist()}
        monkeypatch.setattr("maskdistill.stages.cluster.mask_prominence", lambda _context: known)
        return bad

    def test_they_are_named_and_stay_classes_unless_asked(self, again, doubtful):
        again("clusters.num_rounds=7", wanted=("stage1",))
        record = read_json(again.run.path / "clusters.json")
        named = {int(number) for number in record["doubtful"]}
        assert named
        assert {*members(again.run, next(iter(named)))} & doubtful
        assert record["left_out"] == []
        assert record["num_classes"] == 3
        assert read_json(again.run.path / "classes.json")["left_out"] == []

    def test_left_out_they_are_beside_k_and_nothing_is_learnt_of_their_photos(self, again, doubtful, monkeypatch):
        learnt = []
        monkeypatch.setattr(train, "_train", lambda lesson: learnt.append(lesson.numbers) or "")
        again("clusters.leave_out_doubtful=true", wanted=("stage1",))
        record, classes = read_json(again.run.path / "clusters.json"), read_json(again.run.path / "classes.json")
        left_out = set(record["left_out"])
        assert left_out == {int(number) for number in record["doubtful"]}
        assert record["num_classes"] == 3 + len(left_out)
        assert set(classes["used"]) == set(range(1, record["num_classes"] + 1)) - left_out
        masks = {mask_id for number in left_out for mask_id in members(again.run, number)}
        assert set(classes["left_out"]) == masks
        assert not masks & set(again.run.classes()["mask_id"])
        kept = set(again.run.classes()["mask_id"] // 10)
        assert set(learnt[0]) == set(range(8)) & kept
        assert len(learnt[0]) < 8

    def test_a_person_takes_one_back(self, again, doubtful):
        again("clusters.leave_out_doubtful=true", wanted=("classes",))
        (number, *_) = read_json(again.run.path / "clusters.json")["left_out"]
        assert read_classes(again.run).left_out >= {number}
        exclude(again.run, "ann", number, False)
        assert number not in read_classes(again.run).excluded
        assert again("clusters.leave_out_doubtful=true", wanted=("classes",)) == ["classes"]
        assert number in read_json(again.run.path / "classes.json")["used"]
        exclude(again.run, "ann", number, True)
        assert number not in set(read_classes(again.run).cluster)
