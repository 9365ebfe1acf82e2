"""The presets, those of the published figures first of all."""

import dataclasses
import math

import numpy as np
import pytest

from maskdistill.clustering.embedding_candidates import candidate_embeddings
from maskdistill.clustering.embedding_space import unit_rows
from maskdistill.config import FilterConfig, RunConfig, load_preset, preset_names
from maskdistill.errors import ConfigError
from maskdistill.stages.cluster import find_clusters


def test_scenes_is_quick_with_a_larger_second_view_and_more_of_the_pool():
    quick, scenes = load_preset("quick"), load_preset("scenes")
    assert scenes.proposals.chooses_from_pool
    assert scenes.proposals.view_scale > 1 > quick.proposals.view_scale
    assert scenes.proposals.pool_keep > quick.proposals.pool_keep
    assert (scenes.features, scenes.foreground) == (quick.features, quick.foreground)


def test_every_preset_loads():
    assert {"quick", "paper-voc", "paper-coco"} <= set(preset_names())
    for name in preset_names():
        assert RunConfig.from_dict(load_preset(name).to_dict()) == load_preset(name)


@pytest.mark.parametrize(("name", "num_classes", "num_photos"), [("paper-voc", 20, 10_582), ("paper-coco", 80, 19_817)])
class TestPublishedPresets:
    def test_masks(self, name, num_classes, num_photos):
        config = load_preset(name)
        assert (config.features.backbone, config.features.shorter_side) == ("dino_vits16", 640)
        assert config.features.fit == "pad"
        values = config.proposals
        assert (values.engine, values.num_objects, values.views) == ("published", 1, "none")
        assert (values.num_heads, values.topk, values.mass) == (5, 0.4, 0.5)
        assert not config.crf.enabled

    def test_clusters(self, name, num_classes, num_photos):
        config = load_preset(name)
        assert (config.embeddings.margin, config.embeddings.mirror, config.embeddings.background) == (0, False, "keep")
        values = config.clusters
        assert (values.num_classes, values.method, values.minibatch_from) == (num_classes, "kmeans", 0)
        assert (values.dimensions, values.whiten, values.normalise, values.overcluster) == (-1, True, True, 0)

    def test_the_embedding_is_the_last_blocks_cls_token_and_no_pca_can_be_fitted(self, name, num_classes, num_photos):
        config = load_preset(name)
        generator = np.random.default_rng(0)
        vectors = {f"cls{block}": generator.normal(size=(300, 6)) for block in config.embeddings.blocks}
        vectors |= {f"{kind}{block}": generator.normal(size=(300, 6)) for kind in ("photo", "crop") for block in (12,)}
        settings = dataclasses.replace(config.clusters, num_seeds=1)
        found = find_clusters(candidate_embeddings(vectors), settings, seed=0)
        assert found.clustering.num_classes == num_classes
        placed = found.space.transform(unit_rows(vectors["cls12"]))
        scaled = unit_rows(vectors["cls12"]) / unit_rows(vectors["cls12"]).std(axis=0)
        np.testing.assert_allclose(placed, scaled / np.linalg.norm(scaled, axis=1, keepdims=True), atol=1e-5)

    def test_first_model(self, name, num_classes, num_photos):
        values = load_preset(name).stage1
        assert (values.model, values.weights) == ("mask_rcnn", "")
        assert (values.optimizer, values.learning_rate, values.momentum) == ("sgd", 0.02, 0.9)
        assert (values.batch_size, values.image_side) == (16, 800)
        steps_per_epoch = math.ceil(num_photos / values.batch_size)
        assert abs(values.epochs * steps_per_epoch - 24_000) <= steps_per_epoch / 2  # no other number comes nearer
        for milestone, step in zip(values.milestones, (18_000, 22_000), strict=True):
            assert abs(milestone * steps_per_epoch - step) <= steps_per_epoch / 2

    def test_filter_and_label_maps(self, name, num_classes, num_photos):
        config = load_preset(name)
        neutral = FilterConfig(min_score=0.9, min_iou=0, min_agreement=0, max_distance=1, min_area=0, max_area=1)
        neutral = dataclasses.replace(neutral, max_border=1, keep_share=1, min_per_cluster=0, empty_photos="best")
        assert config.filter == neutral
        assert (config.labels.masks, config.labels.classes) == ("stage1", "stage1")
        assert (config.labels.min_probability, config.labels.border_band, config.labels.ignore_dropped) == (0, 0, False)

    def test_final_model(self, name, num_classes, num_photos):
        values = load_preset(name).stage2
        assert (values.model, values.weights, values.frozen_stages) == ("deeplabv3", "", 2)
        assert (values.optimizer, values.learning_rate, values.momentum) == ("sgd", 0.002, 0.9)
        assert (values.weight_decay, values.batch_size, values.epochs) == (1e-4, 16, 45)
        assert (values.schedule, values.milestones) == ("step", (40,))
        assert (values.hard_pixels, values.image_side, values.class_balance) == (0.2, 512, 0)

    def test_crf(self, name, num_classes, num_photos):
        config = load_preset(name)
        assert config.predictions.crf
        values = config.crf
        assert (values.iterations, values.gaussian_weight, values.gaussian_sigma) == (10, 3, 1)
        assert (values.bilateral_weight, values.bilateral_sigma_xy, values.bilateral_sigma_rgb) == (4, 67, 3)


def test_unknown_preset_lists_what_there_is():
    with pytest.raises(ConfigError, match=r"No preset 'fast'\. There are: .*quick"):
        load_preset("fast")
