"""COCO files with anything in any place: photos, a note or a DatasetError, never another error or wrong pixels."""

import json

import numpy as np
import pytest
from coco_data import HEIGHT, WIDTH, annotation, compressed_rle, plain_rle, polygon, save_photo, write_coco
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from maskdistill.datasets import open_source, read_label
from maskdistill.errors import DatasetError

quick = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
HUGE = [1e9, -1e9, 10**9, 2**31, 2**63, 10**400, 1e308, float("inf"), float("nan"), -0.0]
NUMBERS = st.one_of(st.integers(-3, WIDTH + 3), st.floats(-3, WIDTH + 3), st.sampled_from(HUGE))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=4))
KEYS = st.sampled_from(["size", "counts", "id", "images", "name"]) | st.text(max_size=3)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=15
)


def odd(usual):
    """The usual value, and now and then anything."""
    return st.integers(0, 11).flatmap(lambda number: ANYTHING if number == 0 else usual)


def fields(**usual):
    return st.fixed_dictionaries({name: odd(values) for name, values in usual.items()})


FLAT = st.lists(NUMBERS, max_size=14)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS).map(list), max_size=6)
RLE = st.fixed_dictionaries(
    {
        "size": odd(st.sampled_from([[HEIGHT, WIDTH], [WIDTH, HEIGHT], [1, 1]])),
        "counts": odd(st.lists(st.integers(-2, HEIGHT * WIDTH), max_size=5) | st.text("0123ANOPano~ ", max_size=8)),
    }
)
SOUND = st.sampled_from([polygon(1, 5, 1, 9), compressed_rle(np.eye(HEIGHT, WIDTH, dtype=np.uint8))])
SEGMENTATIONS = st.one_of(SOUND, RLE, FLAT, PAIRS, st.lists(FLAT | PAIRS, max_size=3), ANYTHING)
IDS = st.sampled_from([0, 1, "1", 1.0])
NAMES = st.sampled_from(["a.jpg", "b.jpg", "b.jpg", "../a.jpg", "images\\b.jpg", "/x/a.jpg", "A.JPG", "%61.jpg"])
SIDES = st.sampled_from([HEIGHT, WIDTH])
IMAGES = fields(id=IDS, file_name=NAMES, width=SIDES, height=SIDES)
ANNOTATIONS = fields(id=IDS, image_id=IDS, category_id=IDS, segmentation=SEGMENTATIONS, iscrowd=st.integers(0, 1))
CATEGORIES = fields(id=IDS, name=st.sampled_from(["cow", "cat", "background"]))
FILES = fields(
    images=st.lists(odd(IMAGES), min_size=1, max_size=3),
    annotations=st.lists(odd(ANNOTATIONS), max_size=4),
    categories=st.lists(odd(CATEGORIES), min_size=1, max_size=3),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    save_photo(folder / "images" / "a.jpg")
    save_photo(folder / "images" / "b.jpg", orientation=6)
    save_photo(folder / "images" / "c.jpg")
    (folder / "annotations").mkdir()
    return folder


def check_source(spec):
    """Open it and read every label: what can be had is of the right kind, what cannot is a DatasetError."""
    try:
        source = open_source(spec)
    except DatasetError as error:
        assert len(str(error)) < 2000
        return None
    assert all(len(item.reason) < 2000 and f"{item.path}{item.reason}".encode() for item in source.skipped)
    refused = 0
    for photo in source.photos:
        try:
            label = read_label(source, photo)
        except DatasetError as error:
            assert photo.id in str(error)
            refused += 1
            continue
        if label is not None:
            assert (label.shape, label.dtype) == ((photo.height, photo.width), np.uint8)
            assert set(np.unique(label)) <= {255, *range(len(source.classes) + 1)}
    assert not refused or any(item.what == "label" for item in source.skipped)  # nothing is learned only at the end
    return source


@quick
@given(content=FILES | ANYTHING, whole_folder=st.booleans())
def test_any_value_anywhere(root, content, whole_folder):
    path = root / "annotations" / "instances.json"
    path.write_text(json.dumps(content))
    check_source(root if whole_folder else path)


@quick
@given(segmentation=SEGMENTATIONS)
def test_any_segmentation_beside_a_sound_photo(root, segmentation):
    images = [{"id": n, "file_name": f"{name}.jpg"} for n, name in enumerate("abc")]
    annotations = [annotation(segmentation, image_id=n) for n in (0, 1)] + [annotation(polygon(1, 5, 1, 9), image_id=2)]
    source = check_source(write_coco(root / "annotations" / "x.json", images, annotations))
    assert source.has_labels
    assert read_label(source, source.photos[2]).sum() == 32


@quick
@given(pixels=st.binary(min_size=HEIGHT * WIDTH // 8, max_size=HEIGHT * WIDTH // 8), compressed=st.booleans())
def test_run_lengths_give_the_pixels_of_pycocotools(root, pixels, compressed):
    mask = np.unpackbits(np.frombuffer(pixels, np.uint8)).reshape(HEIGHT, WIDTH)
    code = compressed_rle(mask) if compressed else plain_rle(mask)
    images = [{"id": 0, "file_name": "a.jpg"}]
    source = open_source(write_coco(root / "annotations" / "x.json", images, [annotation(code)]))
    np.testing.assert_array_equal(read_label(source, source.photos[0]), mask)


@quick
@given(points=st.lists(st.tuples(st.floats(-2, WIDTH + 2), st.floats(-2, HEIGHT + 2)), min_size=3, max_size=9))
def test_polygons_give_the_pixels_of_pycocotools(root, points):
    flat = [2.0, *(value for point in points for value in point)][1:]
    drawn = coco_mask.decode(coco_mask.frPyObjects([flat], HEIGHT, WIDTH))[..., 0]
    images = [{"id": 0, "file_name": "a.jpg"}]
    for segmentation in ([flat], [[list(point) for point in points]]):
        source = check_source(write_coco(root / "annotations" / "x.json", images, [annotation(segmentation)]))
        if source.has_labels:
            np.testing.assert_array_equal(read_label(source, source.photos[0]), drawn)
        else:
            assert max(flat) <= 1  # taken for fractions of the photo


SOUND_FILE = {
    "images": [{"id": 0, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}],
    "annotations": [annotation(polygon(1, 5, 1, 9), id=1)],
    "categories": [{"id": 7, "name": "cow"}],
}


@quick
@given(data=st.data())
def test_bytes_that_are_cut_off_or_changed(root, data):
    content = bytearray(json.dumps(SOUND_FILE).encode(data.draw(st.sampled_from(["utf-8", "utf-16", "utf-32-le"]))))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = root / "annotations" / "x.json"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    check_source(path)
    check_source(root)


NESTED = [b"[" * 200_000, b'{"images":' * 50_000, b'{"images": ' + b"[" * 900 + b"]" * 900 + b"}"]
DOUBLE = b'{"images": [], "images": [{"id": 0, "file_name": "a.jpg"}], "annotations": 3}'


@pytest.mark.parametrize("content", [*NESTED, DOUBLE, b"", b"\xef\xbb\xbf", b'{"images": [' + b"9" * 5000 + b"]}"])
def test_files_that_are_no_usual_json(root, content):
    path = root / "annotations" / "x.json"
    path.write_bytes(content)
    check_source(path)
    assert check_source(root).photos


def test_nested_segmentation_of_a_sound_file(root):
    deep: list = []
    for _ in range(400):
        deep = [deep]
    path = write_coco(root / "annotations" / "x.json", SOUND_FILE["images"], [annotation(deep)])
    assert not check_source(path).has_labels
