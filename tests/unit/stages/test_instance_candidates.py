"""Single objects as candidates: what is made of them, what people decided before, and what becomes stale."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from tiny_run import NUM_TRAIN, redone, run_chain

from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError
from maskdistill.exports.run import export_run
from maskdistill.masks import mask_iou
from maskdistill.pseudo_labels.candidates import SAME_OBJECT
from maskdistill.pseudo_labels.filter import ACCEPTED
from maskdistill.review.decisions import Action, Mark, Scope, decide
from maskdistill.review.mask_table import read_mask_table
from maskdistill.stages.plan import Plan
from maskdistill.stages.stage_list import with_needs
from maskdistill.stages.status import stage_states
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run, write_table


class TestCandidates:
    """The single objects as what the filter judges."""

    AS_CANDIDATES = "candidates.objects=instances"

    @pytest.fixture(scope="class")
    def judged(self, tmp_path_factory, with_instances, scene, instance_settings):
        """The same run up to the label maps, its candidates the single objects; to look at only."""
        path = tmp_path_factory.mktemp("judged") / "run"
        shutil.copytree(with_instances.path, path)
        config = instance_settings.with_overrides([self.AS_CANDIDATES])
        said = run_chain(path, scene[0], config, wanted=("pseudo_labels",))
        return Run(path), said, config

    def test_are_made_of_them_and_nothing_before_is_made_again(self, judged):
        run, said, _ = judged
        assert redone(said) == ["candidates", "filter", "pseudo_labels"]
        assert "single objects as candidates" in said["candidates"]
        table, codes = run.candidates(), MaskCodes.open(run, "candidates")
        objects = {}
        for item in read_json(run.instances.codes_path)["annotations"]:
            objects.setdefault(item["image_id"], []).append(item["segmentation"])
        proposals = {item["id"]: item["segmentation"] for item in read_json(run.codes_path)["annotations"]}
        as_found = [codes.code(row.mask_id) in objects[row.image] for row in table.itertuples()]
        as_proposed = [proposals.get(row.mask_id) == codes.code(row.mask_id) for row in table.itertuples()]
        assert all(one or other for one, other in zip(as_found, as_proposed, strict=True))
        assert sum(as_found) > NUM_TRAIN / 2
        assert set(run.classes()["mask_id"]) >= set(table.loc[table["origin"] == "proposal", "mask_id"])
        assert set(table["image"]) == set(range(NUM_TRAIN))
        np.testing.assert_array_less(table["score"], np.sqrt(table["object_score"]) + 1e-6)

    def test_pages_read_them_as_any_others(self, judged):
        run = judged[0]
        frame = read_mask_table(run).frame
        table = run.candidates()
        assert frame.loc[frame["candidate"], "mask_id"].tolist() == sorted(table["mask_id"])
        assert set(frame["origin"]) <= {"proposal", "instances"}
        assert (frame.loc[frame["candidate"], "kept"].to_numpy() == run.kept().sort_values("mask_id")["kept"]).all()

    def test_exports_hold_their_scores(self, judged, tmp_path):
        export_run(judged[0], "coco", tmp_path / "coco")
        found = json.loads((tmp_path / "coco/annotations/instances.json").read_text())["annotations"]
        known = {item["mask_id"]: item["attributes"] for item in found}
        for mask_id, score in judged[0].candidates().set_index("mask_id")["object_score"].items():
            assert known[mask_id]["object_score"] == pytest.approx(score)

    def test_status_says_what_is_stale_once_the_objects_are_others(self, judged, scene, instance_settings, tmp_path):
        path = tmp_path / "run"
        shutil.copytree(judged[0].path, path)
        run = Run(path)
        assert [item.state for item in stage_states(run, until="pseudo_labels")] == ["done"] * 10
        info = run.info()
        run.write_info(info | {"config": judged[2].with_overrides(["instances.most=2"]).to_dict()})
        stale = {item.name: item.why for item in stage_states(run, until="pseudo_labels") if item.state == "stale"}
        assert list(stale) == ["instances", "candidates", "filter", "pseudo_labels"]
        assert stale["instances"] == "instances.most was changed"
        run.write_info(info | {"config": instance_settings.to_dict()})
        states = {item.name: item for item in stage_states(run, until="pseudo_labels")}
        assert states["instances"].state == "done"
        assert states["candidates"].why == "candidates.objects was changed"

    def test_what_people_decided_about_proposals_holds(self, judged, scene, tmp_path):
        path = tmp_path / "run"
        shutil.copytree(judged[0].path, path)
        run, config = Run(path), judged[2].with_overrides(["filter.min_score=0.99"])
        masks = run.masks().set_index("mask_id")
        accepted, rejected = masks.index[0], masks.index[masks.index >= 10][0]
        for mask_id, action, scope in ((accepted, "accept", Scope.LABELS), (rejected, "reject", Scope.CLUSTERS)):
            box = tuple(int(masks.at[mask_id, f"bbox_{name}"]) for name in "xywh")
            decide(run, "ann", [Mark(int(mask_id), masks.at[mask_id, "image_id"], box, Action(action))], scope=scope)
        run_chain(path, scene[0], config, wanted=("filter",))
        assert run.kept().set_index("mask_id").at[accepted, "rule"] == ACCEPTED
        lost, codes = MaskCodes.open(run).decode(int(rejected)), MaskCodes.open(run, "candidates")
        there = run.candidates().query("image == 1")["mask_id"].tolist()
        assert rejected not in there
        assert max((mask_iou(lost, codes.decode(mask_id)) for mask_id in there), default=0) < SAME_OBJECT

    def test_photo_without_objects_keeps_what_the_model_draws_of_its_proposals(self, judged, scene, tmp_path):
        path = tmp_path / "run"
        shutil.copytree(judged[0].path, path)
        run = Run(path)
        found = pd.read_parquet(run.instances.masks_path)
        write_table(run.instances.masks_path, found[found["image"] != 1])
        (path / "stages" / "candidates.json").unlink()
        run_chain(path, scene[0], judged[2], wanted=("candidates",))
        table = run.candidates()
        of_photo = table[(table["image"] == 1) & (table["origin"] == "proposal")]
        assert len(of_photo)
        assert of_photo["object_score"].isna().all()
        assert (of_photo["score"] > 0).any()

    def test_runs_made_before_are_not_stale(self, finished, scene):
        plan = Plan(finished[0], open_source(str(scene[0])), scene[1].with_overrides(["candidates.objects=auto"]))
        assert plan.is_done("candidates")
        assert "objects" not in plan.made_from("candidates")["settings"]["candidates"]

    def test_candidates_alone_do_without_the_stage(self, scene, instance_settings):
        on = instance_settings.with_overrides([self.AS_CANDIDATES])
        assert "instances" not in with_needs(["filter"], instance_settings)
        assert "instances" in with_needs(["filter"], on)
        assert "instances" not in with_needs(["filter"], scene[1].with_overrides(["candidates.objects=auto"]))

    def test_without_the_stage_they_are_refused(self, instance_settings):
        with pytest.raises(ConfigError, match=r"instances\.enabled"):
            instance_settings.with_overrides([self.AS_CANDIDATES, "instances.enabled=off"])

    def test_where_it_made_none_the_proposals_are_judged(self, scene, instance_settings, tmp_path):
        config = instance_settings.with_overrides([self.AS_CANDIDATES, "proposals.pool=off"])
        said = run_chain(tmp_path / "run", scene[0], config, wanted=("filter",))
        assert "No single objects: Left out" in said["candidates"]
        assert "object_score" not in Run(tmp_path / "run").candidates()
