"""What the masks of many photos leave: a result or a reason for each photo, and the record of the run."""

import dataclasses
import json
import zlib

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from six_photos import NUM_PHOTOS, interrupt_after

from maskdistill.config import ProposalConfig, RunConfig
from maskdistill.datasets import open_source
from maskdistill.errors import DatasetError
from maskdistill.features.backbone import load_backbone
from maskdistill.features.registry import choose_backbone
from maskdistill.masks import bounding_box
from maskdistill.proposals.thumbnails import THUMB_SIDE
from maskdistill.stages import mask_inputs, worker
from maskdistill.stages.pool import Workers
from maskdistill.stages.tasks import settle_features
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.run_folder import Run


def test_every_readable_photo_has_a_result_and_the_others_a_reason(start, tmp_path):
    summary = start()
    run = Run(tmp_path / "run")
    images, masks = run.images(), run.masks()
    assert (summary.num_photos, summary.num_done, summary.num_new, summary.complete) == (6, 6, 6, True)
    assert (summary.num_skipped, summary.num_masks) == (1, len(masks))
    assert images["readable"].tolist() == [True] * 6 + [False]
    assert images["path"].iloc[6].endswith("6-short.jpg")
    assert len(images["reason"].iloc[6]) > 10
    assert images["id"].tolist()[:6] == ["0", "1", "2", "3", "4", "5-grey"]
    # A photo without a mask says why.
    without = set(images["id"][:6]) - set(masks["image_id"])
    assert all(images.set_index("id")["problem"][id] for id in without)
    assert len(without) < 6


def test_result_is_coco_and_its_masks_have_the_photos_size(start, photos, tmp_path, capsys):
    start()
    run = Run(tmp_path / "run")
    coco = COCO(str(run.proposals_path))
    capsys.readouterr()
    assert len(coco.imgs) == NUM_PHOTOS
    assert len(coco.anns) > 0
    for annotation in coco.anns.values():
        photo = coco.imgs[annotation["image_id"]]
        with Image.open(photos / photo["file_name"]) as image:
            assert (photo["width"], photo["height"]) == image.size
        mask = coco.annToMask(annotation).astype(bool)
        assert mask.shape == (photo["height"], photo["width"])
        assert annotation["area"] == mask.sum() > 0
        assert tuple(annotation["bbox"]) == bounding_box(mask)
        assert 0 <= annotation["score"] <= 1
        np.testing.assert_array_equal(MaskCodes.open(run).decode(annotation["id"]), mask)


def test_table_of_masks_fits_the_json(start, tmp_path):
    start()
    run = Run(tmp_path / "run")
    annotations = {item["id"]: item for item in json.loads(run.proposals_path.read_text())["annotations"]}
    masks = run.masks()
    assert masks["mask_id"].tolist() == list(annotations)
    sizes = run.images().set_index("id")
    for row in masks.itertuples():
        annotation = annotations[row.mask_id]
        height, width = sizes.loc[row.image_id, ["height", "width"]]
        assert row.area == pytest.approx(annotation["area"] / (height * width))
        assert [row.bbox_x, row.bbox_y, row.bbox_w, row.bbox_h] == annotation["bbox"]
        assert row.score == annotation["score"]
        assert row.part_border == annotation["parts"]["border"]
    for _, group in masks.groupby("image_id"):
        assert group["rank"].tolist() == list(range(len(group)))
        assert group["score"].is_monotonic_decreasing


def test_thumbnail_is_small_and_shows_the_box(start, tmp_path):
    start()
    run = Run(tmp_path / "run")
    for row in run.masks().itertuples():
        with Image.open(run.thumbnail(row.mask_id)) as image:
            assert max(image.size) == THUMB_SIDE
            wide = row.bbox_w > 1.5 * row.bbox_h
            assert image.width > image.height or not wide


def test_photo_that_fails_while_it_is_read_is_noted_and_the_run_goes_on(start, photos, tmp_path, seen):
    """A PNG whose header and end are sound and whose pixels are not: inspection does not decode it."""
    damaged = bytearray((photos / "1.png").read_bytes())
    place = damaged.index(b"IDAT") + 4
    length = int.from_bytes(damaged[place - 8 : place - 4], "big")
    damaged[place : place + length] = bytes(length)
    damaged[place + length : place + length + 4] = zlib.crc32(damaged[place - 4 : place + length]).to_bytes(4, "big")
    (photos / "1.png").write_bytes(damaged)
    summary = start()
    images = Run(tmp_path / "run").images().set_index("id")
    assert len(seen) == NUM_PHOTOS
    assert (summary.num_skipped, summary.complete) == (2, True)
    assert not images.loc["1", "readable"]
    assert images.loc["1", "reason"]
    assert "1" not in set(Run(tmp_path / "run").masks()["image_id"])


def test_photo_that_went_away_is_noted(start, photos, tmp_path):
    source = open_source(photos)
    (photos / "3.png").unlink()
    assert start(source=source).complete
    images = Run(tmp_path / "run").images().set_index("id")
    assert images["readable"].tolist() == [True, True, True, False, True, True, False]
    assert images.loc["3", "reason"]


def test_started_run_knows_its_limit(start, photos, tmp_path, monkeypatch):
    """So that it goes on with the same photos, also where nobody repeats the limit."""
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        start(source=open_source(photos).limited(3))
    assert Run(tmp_path / "run").info()["limit"] == 3


def test_run_that_goes_on_keeps_why_it_took_its_weights(start, config, tmp_path, monkeypatch):
    """Going on, a run asks for its weights by name; it was "auto" that chose them, for another reason."""
    start()
    run = Run(tmp_path / "run")
    chosen = {"requested": "auto", "name": "tiny", "reason": "no network", "weights": "Random."}
    run.write_info({**run.info(), "backbone": chosen})
    resolve = mask_inputs.choose_backbone
    by_name = lambda _name, architecture: resolve(config.features.backbone, architecture)  # noqa: E731
    monkeypatch.setattr(mask_inputs, "choose_backbone", by_name)
    features = dataclasses.replace(config.features, backbone="tiny")
    monkeypatch.setattr(worker, "load_backbone", lambda _features: load_backbone(config.features))
    start(config=dataclasses.replace(config, features=features, seed=1, proposals=ProposalConfig(tau=0.3)))
    backbone = run.info()["backbone"]
    assert (backbone["requested"], backbone["reason"]) == ("auto", "no network")


def test_record_of_the_run(start, config, photos, tmp_path):
    start(preset="quick")
    info = Run(tmp_path / "run").info()
    assert (info["data"], info["preset"]) == (str(photos), "quick")
    assert info["source"] == {"kind": "folder", "classes": [], "has_labels": False, "label_values": "ids"}
    assert info["backbone"]["name"] == "tiny"
    assert RunConfig.from_dict(info["config"]) == config
    assert {"maskdistill", "python", "torch", "timm"} <= set(info["versions"])


def test_settled_config_holds_no_auto(config, tmp_path, monkeypatch):
    def ask_here(features, _workers):  # not in a process of its own
        return settle_features(features)

    monkeypatch.setattr(mask_inputs, "ask_features", ask_here)
    features = dataclasses.replace(config.features, precision="auto", batch_size=0, shorter_side=0)
    choice = choose_backbone(features.backbone, features.architecture)
    wanted = dataclasses.replace(config, features=features)
    settled = mask_inputs._settle(wanted, choice, Run(tmp_path / "none"), Workers(1))
    assert settled.features.precision in ("float32", "bfloat16", "float16")
    assert settled.features.batch_size >= 1
    assert settled.features.shorter_side == choice.spec.shorter_side
    assert settled.features.backbone == config.features.backbone
    assert settled.proposals == config.proposals


def test_source_whose_files_were_all_skipped(start, photos, tmp_path):
    source = dataclasses.replace(open_source(photos), photos=())
    with pytest.raises(DatasetError, match=r"No usable photo in .*photos: all 1 files were skipped"):
        start(source=source)
