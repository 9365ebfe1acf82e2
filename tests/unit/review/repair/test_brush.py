import numpy as np
import pytest

from maskdistill.errors import ConfigError, ShapeError
from maskdistill.review.repair import paint

EMPTY = np.zeros((40, 60), bool)


def near(points, radius):
    """The pixels whose middle is within so many pixels of a line through points, by a slow loop."""
    found = EMPTY.copy()
    for row, col in np.ndindex(*found.shape):
        for start, end in zip(points, points[1:] or points, strict=False):
            start, end, here = (np.array(item, float) for item in (start, end, (col + 0.5, row + 0.5)))
            along = np.clip(np.dot(here - start, end - start) / max(np.dot(end - start, end - start), 1e-9), 0, 1)
            found[row, col] |= np.linalg.norm(here - start - along * (end - start)) <= radius
    return found


@pytest.mark.parametrize("points", [[(20, 15)], [(8, 8), (50, 30)], [(5, 5), (30, 5), (30, 35)]])
@pytest.mark.parametrize("radius", [2, 5.5])
def test_a_stroke_covers_what_is_within_its_radius(points, radius):
    assert (paint(EMPTY, points, radius, erases=False) == near(points, radius)).all()


def test_erasing_takes_the_same_pixels_away():
    stroke = paint(EMPTY, [(8, 8), (50, 30)], 3, erases=False)
    assert (paint(~EMPTY, [(8, 8), (50, 30)], 3, erases=True) == ~stroke).all()


def test_the_smallest_brush_paints_the_pixel_under_it():
    drawn = paint(EMPTY, [(10.5, 20.5)], 0.4, erases=False)
    assert drawn[20, 10]
    assert drawn.sum() == 1


def test_a_stroke_may_leave_the_photo_and_no_points_change_nothing():
    assert paint(EMPTY, [(-30, 20), (90, 20)], 2, erases=False)[20].all()
    assert not paint(EMPTY, [], 2, erases=False).any()
    assert not EMPTY.any()


def test_odd_strokes_are_refused():
    with pytest.raises(ConfigError, match="above 0"):
        paint(EMPTY, [(3, 3)], 0, erases=False)
    with pytest.raises(ConfigError, match="finite"):
        paint(EMPTY, [(3, float("inf"))], 2, erases=False)
    with pytest.raises(ShapeError, match="bool"):
        paint(EMPTY.astype(float), [(3, 3)], 2, erases=False)
