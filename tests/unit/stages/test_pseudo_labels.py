"""Candidates, which of them the filter keeps, and the label maps that are painted from them."""

import shutil

import numpy as np
import pytest
from tiny_run import CLASSES, NUM_TRAIN, assert_fits_photos, label_maps, run_chain

from maskdistill.masks import decode_mask, mask_iou
from maskdistill.pseudo_labels.filter import RULES
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run


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
            assert table[name].between(1, len(CLASSES)).all()

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
        assert [item["id"] for item in coco["categories"]] == list(range(1, len(CLASSES) + 1))
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
