import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from maskdistill.config import CrfConfig
from maskdistill.errors import ConfigError, ShapeError
from maskdistill.masks import mask_iou
from maskdistill.proposals import crf
from maskdistill.proposals.crf import refine_classes, refine_probability

PUBLISHED = CrfConfig(
    enabled=True,
    iterations=10,
    gaussian_weight=3,
    gaussian_sigma=1,
    bilateral_weight=4,
    bilateral_sigma_xy=67,
    bilateral_sigma_rgb=3,
)


def drawn_rectangle(shift=3):
    """A red rectangle on blue, (40, 48); the drawn mask; a probability that lies ``shift`` pixels off it."""
    mask = np.zeros((40, 48), bool)
    mask[10:28, 12:36] = True
    image = np.where(mask[..., None], np.array([200, 40, 40]), np.array([40, 60, 180])).astype(np.uint8)
    return image, mask, np.where(np.roll(mask, (shift, shift), axis=(0, 1)), 0.8, 0.2)


@pytest.fixture
def pydensecrf():
    return pytest.importorskip("pydensecrf.densecrf")


@pytest.mark.usefixtures("pydensecrf")
def test_snaps_a_shifted_mask_to_the_drawn_rectangle():
    image, mask, probability = drawn_rectangle()
    refined = refine_probability(image, probability, PUBLISHED)
    assert mask_iou(probability > 0.5, mask) < 0.7
    np.testing.assert_array_equal(refined > 0.5, mask)


@pytest.mark.usefixtures("pydensecrf")
def test_result_is_a_probability_map_of_the_photos_size():
    image, _, probability = drawn_rectangle()
    refined = refine_probability(image, probability, PUBLISHED)
    assert (refined.shape, refined.dtype) == ((40, 48), np.float32)
    assert refined.min() >= 0
    assert refined.max() <= 1


@pytest.mark.usefixtures("pydensecrf")
def test_certain_probabilities_of_0_and_1_stay_finite():
    image, mask, _ = drawn_rectangle()
    refined = refine_probability(image, mask.astype(np.float64), PUBLISHED)
    assert np.isfinite(refined).all()
    np.testing.assert_array_equal(refined > 0.5, mask)


@pytest.mark.usefixtures("pydensecrf")
def test_photo_that_cannot_be_written_to_works_and_stays_the_same():
    """``np.asarray`` of a Pillow image is read-only, which the package itself refuses."""
    image, mask, probability = drawn_rectangle()
    image.setflags(write=False)
    np.testing.assert_array_equal(refine_probability(image, probability, PUBLISHED) > 0.5, mask)


@pytest.mark.usefixtures("pydensecrf")
def test_photo_in_another_memory_order_works():
    image, mask, probability = drawn_rectangle()
    refined = refine_probability(np.asfortranarray(image), np.asfortranarray(probability), PUBLISHED)
    np.testing.assert_array_equal(refined > 0.5, mask)


@pytest.mark.usefixtures("pydensecrf")
@pytest.mark.parametrize(("max_pixels", "shape"), [(0, (40, 48)), (1920, (40, 48)), (1080, (30, 36))])
def test_large_photo_is_refined_on_a_smaller_copy(monkeypatch, max_pixels, shape):
    shapes, infer = [], crf._infer

    def note(image, probability, config, scale):
        shapes.append(probability.shape[1:])
        assert image.shape == (*probability.shape[1:], 3)
        assert scale == pytest.approx(shape[0] / 40)
        return infer(image, probability, config, scale)

    monkeypatch.setattr(crf, "_infer", note)
    image, mask, probability = drawn_rectangle()
    refined = refine_probability(image, probability, dataclasses.replace(PUBLISHED, max_pixels=max_pixels))
    assert shapes == [shape]
    assert refined.shape == (40, 48)
    refined = refined > 0.5
    around = np.ones((5, 5), bool)  # pixels of the copy are 1.3 wide, and those on an edge are of no clear colour
    assert refined[ndimage.binary_erosion(mask, around)].all()
    assert not refined[~ndimage.binary_dilation(mask, around)].any()
    assert mask_iou(refined, mask) > mask_iou(probability > 0.5, mask) + 0.1


@pytest.mark.usefixtures("pydensecrf")
def test_sizes_that_differ_are_refused():
    image, _, probability = drawn_rectangle()
    with pytest.raises(ShapeError, match=r"image must have shape \(40, 47, 3\), got \(40, 48, 3\)"):
        refine_probability(image, probability[:, 1:], PUBLISHED)


def test_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(crf, "crf_available", lambda: False)
    image, _, probability = drawn_rectangle()
    with pytest.raises(ConfigError, match="pip install pydensecrf2"):
        refine_probability(image, probability, PUBLISHED)


@pytest.mark.usefixtures("pydensecrf")
def test_two_classes_are_the_two_label_case():
    image, _mask, probability = drawn_rectangle()
    expected = refine_probability(image, probability, PUBLISHED)
    refined = refine_classes(image, np.stack([1 - probability, probability]).astype(np.float32), PUBLISHED)
    np.testing.assert_allclose(refined[1], expected, atol=1e-5)


@pytest.mark.usefixtures("pydensecrf")
def test_class_that_comes_near_nowhere_is_left_as_it_is():
    image, _mask, probability = drawn_rectangle()
    probabilities = np.stack([(1 - probability) * 0.98, probability * 0.98, np.full_like(probability, 0.02)])
    refined = refine_classes(image, probabilities.astype(np.float32), PUBLISHED)
    np.testing.assert_allclose(refined[2], 0.02, atol=1e-6)
    np.testing.assert_allclose(refined.sum(axis=0), 1, atol=1e-4)
    assert (refined.argmax(axis=0) < 2).all()
