"""From patches to pixels: smoothed by the affinity of tokens, and upsampled to the photo."""

from dataclasses import replace

import numpy as np
import torch
from patch_head_data import CONFIG, PADDED, SQUARE, WIDTH, photo_of, random_tokens

from maskdistill.datasets.transforms import patch_grid, patches_to_pixels
from maskdistill.models.patch_head import PatchHead, PatchHeadPredictor, patch_affinity, smooth_by_affinity, upsample


def test_upsampled_is_bilinear_between_patch_centres():
    geometry = patch_grid(30, 43, shorter_side=20, patch_size=8, mode="resize")
    values = torch.randn(1, 2, geometry.rows, geometry.cols, generator=torch.Generator().manual_seed(0))
    found = upsample(values, geometry)
    assert found.shape == (1, 2, 30, 43)
    for part in range(2):
        wanted = patches_to_pixels(values[0, part].numpy(), geometry, smooth=True)
        np.testing.assert_allclose(found[0, part], wanted, atol=1e-5)


def test_upsampled_without_the_padding():
    values = torch.randn(1, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    found = upsample(values, PADDED)
    assert found.shape == (1, 1, 13, 21)
    wanted = patches_to_pixels(values[0, 0].numpy(), PADDED, smooth=True)  # photo pixels are network pixels here
    np.testing.assert_allclose(found[0, 0], wanted, atol=1e-5)


def test_upsampled_without_the_padding_at_another_size():
    geometry = patch_grid(39, 63, shorter_side=13, patch_size=8, mode="pad")
    ramp = torch.arange(3.0).expand(1, 1, 2, 3)
    found = upsample(ramp, geometry)[0, 0, 20].numpy()
    centres = (np.arange(63) + 0.5) / 3 / 8 - 0.5  # in patches: 63 photo pixels are 21 network pixels
    inner = slice(13, 59)  # away from where both steps hold the border's value
    np.testing.assert_allclose(found[inner], centres[inner].clip(0, 2), atol=1e-4)


def test_smoothing_equals_a_loop():
    rng = np.random.default_rng(0)
    tokens, logits = rng.normal(size=(7, WIDTH)), rng.normal(size=(7, 3))
    tokens[3] = 0
    found = smooth_by_affinity(torch.tensor(logits).float(), patch_affinity(torch.tensor(tokens).half(), 0.3))
    tokens = tokens.astype(np.float16).astype(np.float64)
    for patch in range(7):
        weights, total = [], np.zeros(3)
        for other in range(7):
            lengths = np.linalg.norm(tokens[patch]) * np.linalg.norm(tokens[other])
            weights.append(np.exp(tokens[patch] @ tokens[other] / max(lengths, 1e-9) / 0.3))
            total += weights[-1] * np.exp(logits[other]) / np.exp(logits[other]).sum()
        np.testing.assert_allclose(found[patch].exp(), total / sum(weights), rtol=1e-4)


def test_smoothing_spreads_what_is_known_of_a_part_over_the_object():
    tokens = torch.eye(2).repeat_interleave(4, dim=0)  # two objects of four patches
    logits = torch.zeros(8, 2)
    logits[:3, 0], logits[4:7, 1] = 5, 5  # one patch of each is not known
    found = smooth_by_affinity(logits, patch_affinity(tokens, 0.1)).softmax(dim=1)
    assert found[3, 0] > 0.8
    assert found[7, 1] > 0.8
    torch.testing.assert_close(found.sum(dim=1), torch.ones(8))


def test_smoothing_is_a_setting_of_the_prediction():
    head, tokens = PatchHead(2, WIDTH, CONFIG).eval(), random_tokens(2, 3)
    flat = torch.from_numpy(tokens).reshape(6, WIDTH)
    with torch.inference_mode():
        plain = head(flat)
        smooth = smooth_by_affinity(plain, patch_affinity(flat, 0.2))
    for smoothing, logits in {0: plain, 0.2: smooth}.items():
        model = PatchHeadPredictor(head, replace(CONFIG, smoothing=smoothing), lambda photo: (tokens, SQUARE))
        wanted = upsample(logits.T.reshape(1, 3, 2, 3), SQUARE).softmax(dim=1)[0]
        np.testing.assert_allclose(model.probabilities(photo_of(SQUARE)), wanted, atol=1e-6)


def test_one_photo_after_the_other_and_again_with_other_weights():
    """A predictor keeps what it knows of the last photo; neither another photo nor a trained model may suffer."""
    head, config = PatchHead(2, WIDTH, CONFIG), replace(CONFIG, smoothing=0.2)
    tokens = {name: np.random.default_rng(int(name)).normal(size=(2, 3, WIDTH)).astype(np.float16) for name in "01"}

    def say(model, name):
        return model.probabilities(photo_of(SQUARE, name))

    def fresh():
        return PatchHeadPredictor(head, config, lambda photo: (tokens[photo.id], SQUARE))

    model = fresh()
    for name in "0110":
        np.testing.assert_array_equal(say(model, name), say(fresh(), name))
    with torch.no_grad():
        head.net[3].weight.neg_()
    np.testing.assert_array_equal(say(model, "0"), say(fresh(), "0"))
