from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from maskdistill.config import CrfConfig, FeatureConfig, ProposalConfig, RunConfig
from maskdistill.datasets.transforms import patch_grid
from maskdistill.errors import ConfigError
from maskdistill.features.backbone import load_backbone
from maskdistill.features.forward import Features
from maskdistill.masks import mask_iou
from maskdistill.proposals import scoring
from maskdistill.proposals.propose import Recipe, _drop_doubles, propose, propose_from_views
from maskdistill.proposals.views import ImageView, explore_request

PATCH = 8


def rectangles(shape, *boxes):
    """Labels 1, 2, ... inside the (top, bottom, left, right) boxes on a background of 0."""
    labels = np.zeros(shape, dtype=int)
    for number, (top, bottom, left, right) in enumerate(boxes, start=1):
        labels[top:bottom, left:right] = number
    return labels


def planted_view(labels, *, photo=None, mirrored=False, noise=0.05, seed=0):
    """Features that point the way of a patch's label; ``photo`` is (height, width), by default 8 pixels a patch."""
    rows, cols = labels.shape
    generator = np.random.default_rng(seed)
    vectors = 3 * np.eye(8)[labels.ravel()] + noise * generator.standard_normal((labels.size, 8))
    features = Features((rows, cols), patch_tokens={1: torch.from_numpy(vectors.astype(np.float32))})
    height, width = photo or (rows * PATCH, cols * PATCH)
    geometry = patch_grid(height, width, shorter_side=min(rows, cols) * PATCH, patch_size=PATCH, mode="resize")
    assert (geometry.rows, geometry.cols) == (rows, cols)
    return ImageView(features, geometry, mirrored)


def recipe(*, crf=None, **values):
    return Recipe("tokens", (1,), (1,), ProposalConfig(**{"num_objects": 1, **values}), crf or CrfConfig())


def in_pixels(labels, scale=PATCH):
    return np.kron(labels > 0, np.ones((scale, scale), bool))


SHAPE, BOX = (12, 16), (4, 8, 8, 12)
LABELS = rectangles(SHAPE, BOX)
SMALLER_MIRRORED = rectangles((9, 12), (3, 6, 3, 6))  # the same photo at three quarters of the size, turned


@pytest.mark.parametrize("refine_steps", [0, 1, 2])
def test_mask_is_the_drawn_rectangle(refine_steps):
    settings = recipe(views="none", smooth=False, refine_steps=refine_steps)
    result = propose_from_views(planted_view(LABELS), None, None, settings)
    assert len(result.proposals) == 1
    assert result.problem is None
    np.testing.assert_array_equal(result.proposals[0].mask, in_pixels(LABELS))
    np.testing.assert_array_equal(result.proposals[0].candidate.component, LABELS > 0)
    assert len(result.cuts) == 1
    assert result.diffusion is None


def test_smooth_mask_rounds_the_corners_only():
    mask = propose_from_views(planted_view(LABELS), None, None, recipe(views="none", smooth=True)).proposals[0].mask
    wrong = np.argwhere(mask != in_pixels(LABELS))
    corners = np.array([(row, col) for row in (32, 64) for col in (64, 96)])  # pixels
    distances = np.abs(wrong[:, None] + 0.5 - corners[None]).max(axis=2).min(axis=1)
    assert len(wrong) > 0
    assert distances.max() < PATCH / 2


def test_mask_has_the_photos_size():
    mask = propose_from_views(planted_view(LABELS, photo=(75, 100)), None, None, recipe(views="none")).proposals[0].mask
    assert mask.shape == (75, 100)
    expected = np.zeros((75, 100), bool)
    expected[25:50, 50:75] = True  # a third to two thirds of the height, a half to three quarters of the width
    assert mask_iou(mask, expected) > 0.95


@pytest.mark.parametrize("views", ["score", "merge"])
def test_mirrored_view_agrees(views):
    second = planted_view(SMALLER_MIRRORED, photo=(96, 128), mirrored=True, seed=1)
    item = propose_from_views(planted_view(LABELS), second, None, recipe(views=views, smooth=False)).proposals[0]
    assert item.parts["view_agreement"] > 0.95
    np.testing.assert_array_equal(item.mask, in_pixels(LABELS))


def test_view_that_is_not_turned_back_would_disagree():
    """The same features, said not to be mirrored: the agreement must come from turning them."""
    second = planted_view(SMALLER_MIRRORED, photo=(96, 128), mirrored=False, seed=1)
    item = propose_from_views(planted_view(LABELS), second, None, recipe(views="merge", smooth=False)).proposals[0]
    assert item.parts["view_agreement"] < 0.1
    np.testing.assert_array_equal(item.mask, in_pixels(LABELS))  # a view that disagrees is not averaged in


def test_second_view_that_finds_nothing_agrees_in_nothing():
    second = planted_view(rectangles((1, 3)), photo=(32, 96), mirrored=True)  # too few patches for a cut
    item = propose_from_views(planted_view(LABELS), second, None, recipe(views="merge")).proposals[0]
    assert item.parts["view_agreement"] == 0


def test_without_views_there_is_no_such_part():
    second = planted_view(SMALLER_MIRRORED, photo=(96, 128), mirrored=True)
    alone = propose_from_views(planted_view(LABELS), None, None, recipe(views="merge")).proposals[0]
    switched_off = propose_from_views(planted_view(LABELS), second, None, recipe(views="none")).proposals[0]
    assert "view_agreement" not in alone.parts
    assert "view_agreement" not in switched_off.parts


def test_two_objects():
    labels = rectangles((12, 16), (1, 6, 1, 6), (6, 11, 9, 13))
    result = propose_from_views(planted_view(labels), None, None, recipe(views="none", smooth=False, num_objects=2))
    assert len(result.proposals) == 2
    scores = [item.score for item in result.proposals]
    assert scores == sorted(scores, reverse=True)
    masks = {int(labels[item.candidate.seed]): item.mask for item in result.proposals}
    for number in (1, 2):
        np.testing.assert_array_equal(masks[number], in_pixels(labels == number))


@pytest.mark.parametrize(("max_overlap", "count"), [(0.2, 1), (0.5, 2)])
def test_double_is_dropped_and_the_better_one_kept(max_overlap, count):
    base = propose_from_views(planted_view(LABELS), None, None, recipe(views="none", smooth=False)).proposals[0]
    shifted = replace(base, mask=np.roll(base.mask, 16, axis=0), score=base.score / 2)  # IoU 1/3
    kept = _drop_doubles([shifted, base], ProposalConfig(max_overlap=max_overlap))
    assert kept == [base, shifted][:count]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("views", ["none", "merge"])
def test_score_and_parts_lie_between_0_and_1(seed, views):
    """Also on features that are little more than noise."""
    second = planted_view(SMALLER_MIRRORED, photo=(96, 128), mirrored=True, noise=4, seed=seed + 10)
    result = propose_from_views(
        planted_view(LABELS, noise=4, seed=seed), second, None, recipe(views=views, num_objects=3)
    )
    assert result.proposals
    for item in result.proposals:
        assert 0 <= item.score <= 1
        assert item.score == pytest.approx(scoring.combine(item.parts))
        assert all(0 <= value <= 1 for value in item.parts.values()), item.parts
        assert {"eigengap", "contrast", "area", "border"} <= set(item.parts)


def test_clear_object_scores_more_than_noise():
    clear = propose_from_views(planted_view(LABELS), None, None, recipe(views="none")).proposals[0].score
    noisy = propose_from_views(planted_view(LABELS, noise=8), None, None, recipe(views="none")).proposals[0].score
    assert clear > noisy


def test_same_features_give_the_same_result():
    view = planted_view(LABELS, noise=2)
    second = planted_view(SMALLER_MIRRORED, photo=(96, 128), mirrored=True, noise=2)
    runs = [propose_from_views(view, second, None, recipe(num_objects=3)) for _ in range(2)]
    assert [item.score for item in runs[0].proposals] == [item.score for item in runs[1].proposals]
    for one, other in zip(runs[0].proposals, runs[1].proposals, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)


def keys_view(keys, query):
    """A 12 x 16 view with tokens of LABELS and these keys, (heads, N, d)."""
    view = planted_view(LABELS)
    features = Features(SHAPE, view.features.patch_tokens, keys=keys, cls_query=query)
    return ImageView(features, view.geometry)


def published(**values):
    return recipe(engine="published", views="none", num_heads=2, **values)


def test_published_engine_finds_the_drawn_rectangle():
    """Keys of the object point one way and its surroundings the other; CLS looks at the object."""
    sign = torch.from_numpy(np.where(LABELS.ravel() > 0, 1.0, -1.0).astype(np.float32))
    keys = sign.view(1, -1, 1).expand(2, -1, 4)
    result = propose_from_views(keys_view(keys, torch.ones(2, 4)), None, None, published())
    assert len(result.proposals) == 1
    np.testing.assert_array_equal(result.proposals[0].mask, in_pixels(LABELS))
    assert "eigengap" not in result.proposals[0].parts
    assert LABELS[result.diffusion.seed] == 1
    assert result.cuts == ()


def test_whole_photo_is_named():
    result = propose_from_views(keys_view(torch.ones(2, 192, 4), torch.ones(2, 4)), None, None, published())
    assert result.proposals[0].mask.all()
    assert "covers 100% of the photo, nearly all of it" in result.problem
    assert "try the engine 'ncut'" in result.problem


def test_nothing_found_is_named():
    result = propose_from_views(keys_view(torch.zeros(2, 192, 4), torch.ones(2, 4)), None, None, published())
    assert result.proposals == ()
    assert result.problem.startswith("No object was found. ")
    assert "try the engine 'ncut'" in result.problem


def test_photo_of_too_few_patches_is_named():
    result = propose_from_views(
        planted_view(rectangles((1, 3)), photo=(8, 24)), None, None, recipe(views="none", tau=0.3)
    )
    assert result.proposals == ()
    assert result.problem == "No object was found. Try the feature 'keys', a tau above 0.3, or foreground 'largest'."


@pytest.mark.parametrize(("smooth", "refine_steps"), [(False, 0), (False, 2), (True, 2)])
def test_single_patch_is_named(smooth, refine_steps):
    labels = rectangles(SHAPE, (5, 6, 7, 8))
    settings = recipe(views="none", smooth=smooth, refine_steps=refine_steps)
    result = propose_from_views(planted_view(labels), None, None, settings)
    assert result.proposals[0].mask.sum() <= PATCH**2
    assert result.problem.startswith("The mask is a single patch. Try the feature 'keys'")


class TestCrf:
    @pytest.fixture
    def refined(self, monkeypatch):
        """Runs ``propose`` with a CRF that shifts the mask by so many pixels; returns the proposal."""

        def run(shift, **values):
            def refine(image, probability, config):
                assert image.shape == (*probability.shape, 3)
                assert 0 <= probability.min() < 0.5 < probability.max() <= 1
                return np.roll(probability > 0.5, shift, axis=1).astype(np.float32)

            monkeypatch.setattr("maskdistill.proposals.pixel_masks.refine_probability", refine)
            settings = recipe(views="none", smooth=False, crf=CrfConfig(enabled=True, **values))
            return propose_from_views(planted_view(LABELS), None, Image.new("RGB", (128, 96)), settings).proposals[0]

        return run

    def test_refined_mask_is_taken(self, refined):
        item = refined(8)  # 8 of 32 pixels: IoU 24 / 40
        np.testing.assert_array_equal(item.mask, np.roll(in_pixels(LABELS), 8, axis=1))
        np.testing.assert_array_equal(item.before_crf, in_pixels(LABELS))
        assert item.parts["crf_agreement"] == pytest.approx(0.6)
        assert not item.crf_rejected

    def test_mask_that_changed_too_much_is_not_taken(self, refined):
        item = refined(8, min_agreement=0.7)
        np.testing.assert_array_equal(item.mask, in_pixels(LABELS))
        assert item.parts["crf_agreement"] == pytest.approx(0.6)
        assert item.crf_rejected

    def test_is_left_out_when_switched_off_or_without_the_photo(self):
        for image, enabled in ((None, True), (Image.new("RGB", (128, 96)), False)):
            settings = recipe(views="none", crf=CrfConfig(enabled=enabled))
            item = propose_from_views(planted_view(LABELS), None, image, settings).proposals[0]
            assert "crf_agreement" not in item.parts
            assert item.before_crf is None


class TestRecipe:
    @pytest.fixture
    def backbone(self, tiny_weights):
        return load_backbone(FeatureConfig(**tiny_weights))

    def test_auto_takes_the_backbones_defaults(self, backbone):
        settings = Recipe.resolve(ProposalConfig(), CrfConfig(), backbone)
        assert settings.feature == backbone.spec.mask_feature
        assert settings.blocks == backbone.blocks(backbone.spec.mask_blocks)
        assert settings.refine_blocks == backbone.blocks(backbone.spec.refine_blocks)

    def test_settings_win_over_defaults(self, backbone):
        config = ProposalConfig(feature="keys", blocks=(1,), refine_blocks=(1, 2))
        settings = Recipe.resolve(config, CrfConfig(), backbone)
        assert (settings.feature, settings.blocks, settings.refine_blocks) == ("keys", (1,), (1, 2))

    @pytest.mark.parametrize("values", [{"blocks": (3,)}, {"refine_blocks": (1, 0)}])
    def test_block_that_is_not_there_is_refused(self, backbone, values):
        with pytest.raises(ConfigError, match="has blocks 1 to 2, got"):
            Recipe.resolve(ProposalConfig(**values), CrfConfig(), backbone)

    @pytest.mark.parametrize(
        ("values", "blocks", "last_qk"),
        [
            ({"feature": "tokens", "blocks": (1,), "refine_blocks": (2,)}, (1, 2), True),
            ({"feature": "tokens", "blocks": (1,), "refine_blocks": (2,), "foreground": "border"}, (1, 2), False),
            ({"feature": "keys", "blocks": (1,), "refine_blocks": (2,), "foreground": "border"}, (2,), False),
            ({"engine": "published", "feature": "tokens", "blocks": (1,), "refine_blocks": (2,)}, (2,), True),
        ],
    )
    def test_asks_for_what_it_reads_and_no_more(self, backbone, values, blocks, last_qk):
        request = Recipe.resolve(ProposalConfig(**values), CrfConfig(), backbone).request
        assert (request.token_blocks, request.last_qk, request.cls_blocks) == (blocks, last_qk, ())
        assert request.projections == ((("keys", 1),) if values["feature"] == "keys" else ())

    def test_another_feature_than_the_backbones_is_that_of_the_last_block(self, backbone):
        other = {"tokens": "keys", "keys": "tokens"}[backbone.spec.mask_feature]
        assert Recipe.resolve(ProposalConfig(feature=other), CrfConfig(), backbone).blocks == (backbone.depth,)

    @pytest.mark.parametrize("feature", ["tokens", "keys", "queries", "values"])
    @pytest.mark.parametrize("engine", ["ncut", "published"])
    @pytest.mark.parametrize("views", ["none", "merge"])
    @pytest.mark.parametrize("fit", ["resize", "pad"])
    def test_its_request_is_enough_for_a_real_photo(self, backbone, tmp_path, feature, engine, views, fit):
        proposals = ProposalConfig(feature=feature, engine=engine, views=views, num_heads=2, num_objects=2)
        config = RunConfig(features=FeatureConfig(shorter_side=32, fit=fit), proposals=proposals)
        Image.effect_noise((50, 38), 80).convert("RGB").save(tmp_path / "photo.png")
        result = propose(tmp_path / "photo.png", backbone, config)
        assert all(item.mask.shape == (38, 50) for item in result.proposals)
        assert all(("view_agreement" in item.parts) == (views != "none") for item in result.proposals)

    def test_explorers_request_serves_every_setting(self, backbone):
        request = explore_request(backbone)
        assert request.last_qk
        assert request.token_blocks == (1, 2)


@pytest.mark.parametrize(("views", "expected"), [("none", None), ("score", 0.6), ("merge", 0.6)])
def test_size_of_the_second_look(views, expected):
    assert recipe(views=views, view_scale=0.6).view_scale == expected


def test_mirrored_view_of_a_padded_photo_agrees():
    """Content of 33 pixels on five patches, the last one padding but for one pixel; the mirror image has no padding."""
    geometry = patch_grid(32, 33, shorter_side=32, patch_size=PATCH, mode="pad")
    assert (geometry.rows, geometry.cols, geometry.resized_width) == (4, 5, 33)
    first = ImageView(planted_view(rectangles((4, 5), (1, 3, 2, 4))).features, geometry)  # pixels 16 to 32 of 33
    whole = patch_grid(32, 33, shorter_side=32, patch_size=PATCH, mode="resize")
    second = ImageView(planted_view(rectangles((4, 4), (1, 3, 0, 2))).features, whole, mirrored=True)  # its right half
    item = propose_from_views(first, second, None, recipe(views="score")).proposals[0]
    assert item.parts["view_agreement"] > 0.8


def test_second_look_that_takes_the_other_side_agrees_by_half():
    """The same split of a photo whose sides cover the border alike: the looks differ in what they call the object."""
    settings = recipe(views="merge", smooth=False, foreground="largest")
    first = planted_view(rectangles((12, 16), (0, 12, 0, 7)))
    second = planted_view(rectangles((9, 12), (0, 9, 0, 5)), mirrored=True)  # turned back: the right side
    alone = propose_from_views(first, None, None, recipe(views="none", smooth=False, foreground="largest")).proposals[0]
    item = propose_from_views(first, second, None, settings).proposals[0]
    assert 0.3 < item.parts["view_agreement"] <= 0.5
    np.testing.assert_array_equal(item.mask, alone.mask)
