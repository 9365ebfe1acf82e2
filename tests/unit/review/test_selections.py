"""Sets of masks as text: there and back, damaged ones, and lassos against a slow loop."""

import numpy as np
import pytest
from growth import growth

from maskdistill.errors import ConfigError, ShapeError
from maskdistill.review.point_map import SIDE, PointMap, inside, simplify
from maskdistill.review.selections import (
    LONGEST,
    MOST_CORNERS,
    SelectionData,
    box_text,
    field_text,
    ids_text,
    join,
    lasso_text,
    outlines,
    resolve,
    view_text,
)

IDS = np.array([0, 10, 11, 20, 30, 31])


@pytest.fixture
def data():
    """Six masks; four of them on a map, at the corners of a square and in its middle."""
    places = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
    found = PointMap.of("umap", places, np.array([0, 2, 3, 5]))
    return SelectionData(
        IDS, {"cluster": np.array([1, 1, 2, 2, 3, 0])}, {"umap": found}, {"abc": "ids:10,20"}.__getitem__
    )


def slow_inside(points, corners):
    """The even-odd rule, point by point."""
    found = []
    for x, y in points:
        odd = False
        for (x0, y0), (x1, y1) in zip(np.roll(corners, 1, axis=0), corners, strict=True):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                odd = not odd
        found.append(odd)
    return np.array(found)


def star(num_corners, generator):
    """A polygon with dents, on the grid."""
    angles = np.linspace(0, 2 * np.pi, num_corners, endpoint=False)
    radius = 0.45 * SIDE * (0.7 + 0.3 * np.sin(7 * angles)) + generator.normal(0, 60, num_corners)
    return SIDE / 2 + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def rows_of(text, data):
    return resolve(text, data).rows.tolist()


def test_nothing_is_no_mask(data):
    assert rows_of("", data) == []
    assert field_text("cluster", []) == "" == ids_text([])


def test_clusters_and_their_union(data):
    assert field_text("cluster", [3, 1, 3]) == "cluster:1,3"
    assert rows_of("cluster:1,3", data) == [0, 1, 4]
    assert rows_of(join("cluster:1", "cluster:3", "cluster:1"), data) == [0, 1, 4]
    assert join("", "cluster:1", "", "cluster:1") == "cluster:1"


def test_ids_of_masks_that_are_gone_are_counted(data):
    found = resolve("ids:0,10,12,999", data)
    assert found.rows.tolist() == [0, 1]
    assert found.missing == 2


@pytest.mark.parametrize("count", [1, 12, 13, 3000])
def test_ids_come_back(count):
    generator = np.random.default_rng(count)
    all_ids = np.unique(generator.integers(0, 500_000, 60_000))
    wanted = np.sort(generator.choice(all_ids, count, replace=False))
    text = ids_text(generator.permutation(wanted))
    assert len(text) < LONGEST
    assert np.array_equal(all_ids[resolve(text, SelectionData(all_ids)).rows], wanted)


def test_few_ids_can_be_read_by_people():
    assert ids_text([30, 12]) == "ids:12,30"


def test_lasso_takes_what_is_inside(data):
    found = data.maps["umap"]
    text = lasso_text(found, [(-50, -50), (SIDE / 4, -50), (SIDE / 4, SIDE / 4), (-50, SIDE / 4)])
    assert rows_of(text, data) == [0]
    half = [(0.4 * SIDE, -9), (SIDE + 9, -9), (SIDE + 9, SIDE + 9), (0.4 * SIDE, SIDE + 9)]
    assert rows_of(lasso_text(found, half), data)[-1] == 5


def test_box_takes_its_rim_too(data):
    found = data.maps["umap"]
    text = box_text(found, [(SIDE, 0), found.places[3]])
    assert rows_of(text, data) == [2, 5]


def test_lasso_of_a_click_is_none(data):
    assert lasso_text(data.maps["umap"], [(1, 1), (2, 2)]) == ""


def test_polygon_rule_agrees_with_the_slow_one():
    generator = np.random.default_rng(0)
    points, corners = generator.uniform(0, SIDE, (500, 2)), star(40, generator)
    found = inside(points, corners)
    assert 50 < found.sum() < 450
    assert np.array_equal(found, slow_inside(points, corners))


def test_long_lasso_stays_short_and_means_the_same():
    generator = np.random.default_rng(0)
    points = generator.uniform(0, 1, (20_000, 2))
    found = PointMap.of("umap", points, np.arange(len(points)))
    drawn = star(2000, generator)
    text = lasso_text(found, drawn)
    assert len(text) < 500
    kept = resolve(text, SelectionData(np.arange(len(points)), maps={"umap": found})).rows
    wanted = np.flatnonzero(inside(found.places, drawn))
    assert len(np.setxor1d(kept, wanted)) < 0.02 * len(wanted)  # as much as the hand trembles


def test_lasso_of_ten_times_the_points_takes_about_ten_times_as_long():
    def lasso(count):
        generator = np.random.default_rng(0)
        found = PointMap.of("umap", generator.normal(size=(count, 2)), np.arange(count))
        text = lasso_text(found, star(400, generator))
        data = SelectionData(np.arange(count), maps={"umap": found})
        return lambda: resolve(text, data)

    assert growth(lasso(5_000), lasso(50_000)) < 30


def test_simplified_line_keeps_its_ends_and_corners():
    line = np.array([(0, 0), (5, 0.01), (10, 0), (10, 5), (10, 10)])
    assert simplify(line, 10, 0.5).tolist() == [[0, 0], [10, 0], [10, 10]]
    assert len(simplify(star(500, np.random.default_rng(0)), MOST_CORNERS, 0)) == MOST_CORNERS


def test_both_axes_have_one_scale_and_one_place_has_no_size():
    wide = PointMap.of("pca", np.array([(0.0, 0.0), (10.0, 5.0)]), np.arange(2))
    assert wide.places.tolist() == [[0, round(SIDE / 4)], [SIDE, round(3 * SIDE / 4)]]
    assert PointMap.of("pca", np.ones((3, 2)), np.arange(3)).places.tolist() == [[SIDE // 2 + 1] * 2] * 3
    assert PointMap.of("pca", np.ones((0, 2)), np.arange(0)).places.shape == (0, 2)


def test_map_refuses_what_is_none():
    with pytest.raises(ShapeError, match="coordinates"):
        PointMap.of("pca", np.ones((3, 3)), np.arange(3))
    with pytest.raises(ConfigError, match="not finite"):
        PointMap.of("pca", np.array([(np.nan, 0.0)]), np.arange(1))


def test_shapes_of_a_text_on_a_map(data):
    found = data.maps["umap"]
    text = join(box_text(found, [(0, 0), (9, 9)]), "cluster:1", "box:pca.00000000:0,0,1,1")
    assert len(outlines(text, found)) == 1


def test_saved_view(data):
    assert rows_of(join(view_text("abc"), "ids:31"), data) == [1, 3, 5]


def test_saved_view_of_a_view_is_refused(data):
    looping = SelectionData(data.ids, view=lambda name: view_text(name))
    with pytest.raises(ConfigError, match="names another saved one"):
        resolve("view:abc", looping)
    with pytest.raises(ConfigError, match="nothing is saved"):
        resolve("view:abc", SelectionData(IDS))


def test_map_that_changed_or_is_gone_is_named(data):
    text = lasso_text(data.maps["umap"], star(9, np.random.default_rng(0)))
    other = PointMap.of("umap", np.array([(0.0, 0.0), (1.0, 3.0)]), np.arange(2))
    with pytest.raises(ConfigError, match="umap.*changed"):
        resolve(text, SelectionData(IDS, maps={"umap": other}))
    with pytest.raises(ConfigError, match="no map 'umap'"):
        resolve(text, SelectionData(IDS))


@pytest.mark.parametrize(
    "text",
    [
        "cluster",
        ":3",
        "cluster:",
        "cluster:x",
        "cluster:1;2",
        "cluster:-1",
        "colour:3",
        "ids:1,,2",
        "ids:*",
        "ids:*!!!",
        "ids:*AAAA",
        "ids:*ü",
        "box:umap",
        "lasso:",
        f"ids:{'9' * 30}",
    ],
)
def test_damaged_text_is_told(data, text):
    with pytest.raises(ConfigError, match="selection"):
        resolve(text, data)


def test_damaged_shapes_are_told(data):
    title = data.maps["umap"].title
    for text in (
        f"lasso:{title}:AAAA",
        f"lasso:{title}:AAA AAAAAAAAAAAAA",
        f"box:{title}:1,2,3",
        f"box:{title}:1,2,3,99999",
    ):
        with pytest.raises(ConfigError, match="cannot be read"):
            resolve(text, data)


def test_every_cut_of_a_packed_list_is_told():
    ids = np.arange(0, 9000, 7)
    text = ids_text(ids)
    for end in range(5, len(text), 7):
        with pytest.raises(ConfigError, match="cannot be read"):
            resolve(text[:end], SelectionData(ids))
