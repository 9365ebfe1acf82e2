import numpy as np
import pandas as pd
import pytest

from maskdistill.config import RunConfig
from maskdistill.models.object_prior import ObjectPriorPredictor, apply_object_prior, wants_object_prior
from maskdistill.storage.run_folder import Run, write_table


def two_pieces():
    """(3, 4, 9): a piece of class 1 with a corner that says 2, a piece of class 2, and background between them."""
    probabilities = np.zeros((3, 4, 9), np.float32)
    probabilities[:] = np.array([0.8, 0.1, 0.1], np.float32)[:, None, None]
    probabilities[:, :, :4] = np.array([0.2, 0.6, 0.2], np.float32)[:, None, None]
    probabilities[:, 3, :2] = np.array([0.2, 0.35, 0.45], np.float32)[:, None]
    probabilities[:, :, 6:] = np.array([0.1, 0.3, 0.6], np.float32)[:, None, None]
    return probabilities


def test_each_piece_settles_on_one_class_and_keeps_its_outline():
    before = two_pieces()
    now = apply_object_prior(before).argmax(axis=0)
    assert set(np.unique(before.argmax(axis=0)[:, :4])) == {1, 2}
    assert (now[:, :4] == 1).all()
    assert (now[:, 6:] == 2).all()
    assert (now[:, 4:6] == 0).all()


def test_equals_a_plain_loop_over_pixels_and_pieces():
    before = two_pieces()
    wanted = before.astype(np.float64)
    for columns in (slice(0, 4), slice(6, 9)):
        mean = before[1:, :, columns].astype(np.float64).mean(axis=(1, 2))
        mean /= mean.sum()
        for row in range(4):
            for col in range(9)[columns]:
                pixel = before[1:, row, col] * mean**2
                wanted[1:, row, col] = pixel / pixel.sum() * before[1:, row, col].sum()
    found = apply_object_prior(before)
    np.testing.assert_allclose(found, wanted, atol=1e-6)  # float32 against float64
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_array_equal(before, two_pieces())


def test_a_photo_of_background_and_a_painted_certainty_stay():
    flat = np.zeros((3, 5, 5), np.float32)
    flat[0] = 1
    np.testing.assert_array_equal(apply_object_prior(flat), flat)
    flat[0, 1:3], flat[2, 1:3] = 0, 1
    np.testing.assert_array_equal(apply_object_prior(flat), flat)


@pytest.mark.parametrize(
    ("wanted", "expected"), [("never", [False] * 2), ("always", [True] * 2), ("auto", [True, False])]
)
def test_auto_goes_by_how_many_photos_have_masks_of_several_classes(tmp_path, wanted, expected):
    config = RunConfig().with_overrides([f"predictions.object_prior={wanted}"])
    found = []
    for mixed in (1, 3):  # of five photos
        run = Run(tmp_path / str(mixed))
        ids = [number * 10 + rank for number in range(5) for rank in range(2)]
        clusters = [1 + (rank if number < mixed else 0) for number in range(5) for rank in range(2)]
        run.path.mkdir(exist_ok=True)
        columns = {"mask_id": ids, "cluster": clusters, "distance": 0.5, "margin": 0.5, "fitted": True}
        write_table(run.clusters_path, pd.DataFrame(columns))
        found.append(wants_object_prior(run, config))
        wrapped = ObjectPriorPredictor.where_wanted(model := Model(), run, config)
        assert (wrapped is not model) == found[-1]
        assert wrapped.num_classes == 2
        assert (wrapped.probabilities(None).argmax(axis=0)[:, :4] == 1).all() == found[-1]
    assert found == expected


class Model:
    num_classes = 2

    def probabilities(self, _photo):
        return two_pieces()
