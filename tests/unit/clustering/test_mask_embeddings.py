from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from maskdistill.clustering.mask_embeddings import embed_masks
from maskdistill.config import EmbeddingConfig, FeatureConfig
from maskdistill.datasets.transforms import crop_to_pixels, patch_grid
from maskdistill.errors import ConfigError
from maskdistill.features.backbone import load_backbone
from maskdistill.features.forward import FeatureRequest

HEIGHT, WIDTH = 40, 56
CONFIG = EmbeddingConfig(margin=0.1, crop_side=32, mirror=False)
GEOMETRY = patch_grid(HEIGHT, WIDTH, shorter_side=20, patch_size=4, mode="resize")  # 5 x 7 patches of 8 pixels
BLOCKS = (1, 2)


@pytest.fixture
def backbone(tiny_weights):
    return load_backbone(FeatureConfig(**tiny_weights))


def smooth_photo(seed=0):
    """Large waves: a resized crop of it hardly depends on the rounding of pixels."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / 8
    phases = np.random.default_rng(seed).uniform(0, 6, (3, 2))
    waves = [np.sin(y + phase[0]) + np.cos(0.7 * x + phase[1]) for phase in phases]
    return Image.fromarray((127 + 60 * np.stack(waves, axis=-1)).astype(np.uint8))


def box_mask(top, bottom, left, right):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def blob():
    """Not a box, not symmetric."""
    return box_mask(8, 30, 10, 20) | box_mask(8, 14, 10, 34)


def random_tokens(width=6, seed=0):
    return np.random.default_rng(seed).normal(size=(GEOMETRY.rows, GEOMETRY.cols, width)).astype(np.float16)


def embed(backbone, masks, image=None, config=CONFIG, tokens=None, blocks=BLOCKS):
    tokens = random_tokens(3 * len(blocks)) if tokens is None else tokens
    return embed_masks(backbone, image or smooth_photo(), masks, tokens, GEOMETRY, config, blocks)


def look_at(backbone, box, image=None, side=32):
    """Features of a part of the photo."""
    pixels = crop_to_pixels(image or smooth_photo(), box, side, mean=backbone.mean, std=backbone.std)
    return backbone.forward(pixels[None], FeatureRequest(token_blocks=BLOCKS, cls_blocks=BLOCKS))[0]


def test_names_and_shapes(backbone):
    found = embed(backbone, [blob(), box_mask(0, 9, 0, 9), box_mask(30, 40, 50, 56)])
    assert set(found) == {"cls1", "cls2", "crop1", "crop2", "photo1", "photo2"}
    assert all(found[name].shape == (3, 32) for name in ("cls1", "cls2", "crop1", "crop2"))
    assert found["photo1"].shape == found["photo2"].shape == (3, 3)
    assert all(values.dtype == np.float32 for values in found.values())


def test_chosen_blocks(backbone):
    found = embed(backbone, [blob()], config=replace(CONFIG, blocks=(1,)), tokens=random_tokens(3), blocks=(2,))
    assert set(found) == {"cls1", "crop2", "photo2"}
    with pytest.raises(ConfigError, match="has blocks 1 to 2, got 3"):
        embed(backbone, [blob()], config=replace(CONFIG, blocks=(1, 3)))


def test_more_masks_than_one_pass_takes_stay_in_order(backbone):
    masks = [box_mask(number, 12 + number, 2 * number, 12 + 3 * number) for number in range(11)]
    together = embed(backbone, masks)
    for number in (0, 7, 8, 10):
        alone = embed(backbone, [masks[number]])
        for name, values in alone.items():
            np.testing.assert_allclose(together[name][number], values[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("mask", "margin", "box"),
    [
        (box_mask(10, 30, 10, 20), 0.1, (9, 8, 21, 32)),
        (box_mask(10, 30, 10, 20), 0.0, (10, 10, 20, 30)),
        (box_mask(10, 15, 10, 20), 0.25, (7.5, 8.75, 22.5, 16.25)),
        (box_mask(0, 20, 36, 56), 0.1, (34, 0, 56, 22)),  # at the upper right corner of the photo
        (box_mask(5, 40, 1, 11), 0.5, (0, 0, 16, 40)),  # beyond three edges
        (box_mask(3, 4, 5, 6), 0.0, (5, 3, 6, 4)),  # one pixel
    ],
)
def test_crop_is_the_box_of_the_mask_with_its_margin_inside_the_photo(backbone, mask, margin, box):
    found = embed(backbone, [mask], config=replace(CONFIG, margin=margin))
    features = look_at(backbone, box)
    for block in BLOCKS:
        np.testing.assert_array_equal(found[f"cls{block}"][0], features.cls_tokens[block])


def test_scattered_mask_has_one_box(backbone):
    scattered = embed(backbone, [box_mask(5, 6, 10, 11) | box_mask(24, 25, 39, 40)])
    np.testing.assert_array_equal(scattered["cls2"], embed(backbone, [box_mask(5, 25, 10, 40)])["cls2"])


@pytest.mark.parametrize(("crop_side", "read"), [(32, 32), (33, 32), (35, 36), (28, 28)])
def test_crop_side_is_rounded_to_whole_patches(backbone, crop_side, read):
    found = embed(backbone, [box_mask(10, 30, 10, 20)], config=replace(CONFIG, crop_side=crop_side))
    np.testing.assert_array_equal(found["cls2"][0], look_at(backbone, (9, 8, 21, 32), side=read).cls_tokens[2])


def test_pooled_crop_tokens_equal_a_loop(backbone):
    """The box of 24 x 32 pixels lies on 8 x 8 patches: three by four pixels each."""
    mask = blob()
    found = embed(backbone, [mask], config=replace(CONFIG, margin=0.0))
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left, height, width = rows[0], cols[0], len(rows), len(cols)
    tokens = look_at(backbone, (left, top, left + width, top + height)).patch_tokens
    for block in BLOCKS:
        total, weight = np.zeros(32), 0.0
        for row in range(8):
            for col in range(8):
                inside = [
                    mask[y, x]
                    for y in range(top, top + height)
                    for x in range(left, left + width)
                    if row * height < 8 * (y - top + 0.5) <= (row + 1) * height
                    and col * width < 8 * (x - left + 0.5) <= (col + 1) * width
                ]
                weight += np.mean(inside)
                total += np.mean(inside) * tokens[block][8 * row + col].numpy()
        np.testing.assert_allclose(found[f"crop{block}"][0], total / weight, rtol=1e-4, atol=1e-4)


def test_pooled_photo_tokens_equal_a_loop(backbone):
    tokens = random_tokens()
    mask = blob()
    found = embed(backbone, [mask], tokens=tokens)
    total, weight = np.zeros(6), 0
    for y in range(HEIGHT):
        for x in range(WIDTH):
            if mask[y, x]:
                total += tokens[y // 8, x // 8]
                weight += 1
    np.testing.assert_allclose(found["photo1"][0], total[:3] / weight, rtol=1e-5)
    np.testing.assert_allclose(found["photo2"][0], total[3:] / weight, rtol=1e-5)


def test_thin_mask_still_has_weight(backbone):
    found = embed(backbone, [box_mask(0, 40, 31, 32), box_mask(17, 18, 20, 21)])
    tokens = random_tokens().astype(np.float32)
    np.testing.assert_allclose(found["photo1"][0], tokens[:, 3, :3].mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found["photo1"][1], tokens[2, 2, :3], rtol=1e-4)


def test_mirror_image_has_the_same_crop_vectors(backbone):
    mask, image = blob(), smooth_photo()
    mirrored = np.ascontiguousarray(mask[:, ::-1]), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    gaps = {}
    for mirror in (False, True):
        config = replace(CONFIG, mirror=mirror)
        found, other = embed(backbone, [mask], image, config), embed(backbone, [mirrored[0]], mirrored[1], config)
        gaps[mirror] = {name: np.linalg.norm(found[name] - other[name]) for name in found if "photo" not in name}
    assert set(gaps[True]) == {"cls1", "cls2", "crop1", "crop2"}
    for name, gap in gaps[True].items():
        assert gap < gaps[False][name] / 10  # not 0: resizing rounds to whole colour values


def test_mirror_average_by_hand(backbone):
    """The mirrored crop is pooled where the mirrored mask is."""
    mask, box = blob(), (10, 8, 34, 30)
    found = embed(backbone, [mask], config=replace(CONFIG, margin=0.0, mirror=True))
    once = embed(backbone, [mask], config=replace(CONFIG, margin=0.0))
    pixels = crop_to_pixels(smooth_photo(), box, 32, mean=backbone.mean, std=backbone.std).flip(-1)
    features = backbone.forward(pixels[None], FeatureRequest(token_blocks=(2,), cls_blocks=(2,)))[0]
    np.testing.assert_allclose(found["cls2"][0], (once["cls2"][0] + features.cls_tokens[2].numpy()) / 2, rtol=1e-5)
    part = Image.fromarray(mask.astype(np.float32)).resize((8, 8), Image.Resampling.BOX, box=box)
    weights = np.array(part)[:, ::-1].ravel()
    pooled = np.average(features.patch_tokens[2].numpy(), axis=0, weights=weights)
    np.testing.assert_allclose(found["crop2"][0], (once["crop2"][0] + pooled) / 2, rtol=1e-3, atol=1e-4)


def test_empty_mask_counts_as_the_whole_photo(backbone):
    found = embed(backbone, [np.zeros((HEIGHT, WIDTH), bool)])
    whole = embed(backbone, [np.ones((HEIGHT, WIDTH), bool)])
    for name in found:
        np.testing.assert_array_equal(found[name], whole[name])
    np.testing.assert_array_equal(found["cls2"][0], look_at(backbone, (0, 0, WIDTH, HEIGHT)).cls_tokens[2])


def test_mean_colour_hides_what_is_outside_the_mask(backbone):
    mask, config = blob(), replace(CONFIG, background="mean")
    pixels = np.array(smooth_photo())
    pixels[~mask] = [round(255 * value) for value in backbone.mean]
    by_hand = embed(backbone, [mask], Image.fromarray(pixels))
    other = np.array(smooth_photo())
    other[~mask] = 0
    for image in (smooth_photo(), Image.fromarray(other)):
        found = embed(backbone, [mask], image, config)
        for name in ("cls1", "cls2", "crop1", "crop2"):
            np.testing.assert_array_equal(found[name], by_hand[name])
    kept = embed(backbone, [mask])["cls2"]
    assert not np.allclose(kept, by_hand["cls2"], atol=1e-3)


def test_photo_itself_is_left_as_it_was(backbone):
    image = smooth_photo()
    before = image.tobytes()
    mask = np.zeros((HEIGHT, WIDTH), bool)
    embed(backbone, [mask], image, replace(CONFIG, background="mean", mirror=True))
    assert image.tobytes() == before
    assert not mask.any()
