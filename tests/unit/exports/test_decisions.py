"""What people decided, in the exports of a run."""

from run_to_export import CLUSTERS, choose, cluster, coco_of, judge, voc_of

from maskdistill.exports.run import export_run
from maskdistill.files import write_json
from maskdistill.review.decisions import adopt, exclude, rename
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import write_table


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
