"""Any bytes in a VOC folder's files: a source, or an error that names the file; ids in, the same ids out."""

import io
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from voc_data import SIZE, drawn_label, make_voc

from maskdistill.datasets import IGNORE_INDEX, open_source, read_label
from maskdistill.datasets.label_files import palette
from maskdistill.errors import DatasetError

CLASSES = [f"class {number}" for number in range(1, 255)]
# Bytes that begin as a file of the kind does, or as text does, and go on as they like.
TEXT = st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace"))
LINES = st.lists(st.text("ab1-# ,;:/\\.\"'\tjpg\ufeffü", max_size=12), max_size=8).map(lambda lines: "\n".join(lines))
LABELS = arrays.arrays(np.uint8, (SIZE[1], SIZE[0]), elements=st.integers(0, 255), fill=st.integers(0, 255))
WAYS = st.sampled_from(["grey", "palette", "16 bits", "BMP", "TIFF", "GIF", "colors"])


@contextmanager
def voc(**parts):
    """A folder with one photo, ``a``, and its label."""
    with tempfile.TemporaryDirectory() as folder:
        yield make_voc(Path(folder), ["a", "b 1"], **{"labels": {"a": drawn_label(1)}, **parts})


def open_or_refuse(root, *names):
    """The source; None where it is refused by a sentence that names one of these files."""
    try:
        source = open_source(root)
    except DatasetError as error:
        assert any(name in str(error) for name in names)
        return None
    assert [photo.id for photo in source.photos] == ["a", "b 1"]
    assert all(item.reason for item in source.skipped)
    return source


def read_or_refuse(source):
    """Class ids of every photo, all in range."""
    for photo in source.photos:
        try:
            label = read_label(source, photo)
        except DatasetError as error:
            assert "SegmentationClass" in str(error)
            continue
        if label is not None:
            assert (label.shape, label.dtype) == ((photo.height, photo.width), np.uint8)
            assert set(np.unique(label).tolist()) <= {*range(len(source.classes) + 1), IGNORE_INDEX}


@given(content=TEXT | LINES.map(str.encode) | LINES.map(lambda text: text.encode("utf-16")))
@example(content=b"a\x85b 1\n")
@example(content="b 1\u2028a".encode())
@example(content=b"\xff\xfea")
def test_any_list(content):
    with voc(lists={"train": content}) as root:
        source = open_or_refuse(root, "train.txt")
        assert source is None or {photo.split for photo in source.photos} <= {"train", None}


@given(content=TEXT | LINES.map(str.encode))
@example(content=b"255 a\n256 b\n")
@example(content=b"0 background\n255 void\n")
@example(content=b"1 a\n1 b")
def test_any_classes_txt(content):
    with voc(classes=content) as root:
        source = open_or_refuse(root)
        assert len(set(source.classes)) == len(source.classes) <= 254
        read_or_refuse(source)
        assert source.has_labels or source.skipped


@given(content=TEXT | LINES.map(str.encode), label=LABELS)
@example(content=b"a:1,2,3\na:4,5,6", label=drawn_label(1))
@example(content=b"void:0,0,0::\ncow:128,0,0::", label=drawn_label(1))
def test_any_label_map(content, label):
    with voc(labelmap=content, labels={"a": Image.fromarray(palette()[label])}) as root:
        read_or_refuse(open_or_refuse(root))


@settings(max_examples=3 * settings.default.max_examples)
@given(data=st.data(), kind=st.sampled_from(["PNG", "BMP", "TIFF", "GIF"]))
def test_any_label_file(data, kind):
    """Bytes of a sound file of each kind, changed and cut."""
    buffer = io.BytesIO()
    image = Image.fromarray(drawn_label(1))
    image.putpalette(palette().tobytes())
    image.save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[place] = value
    content = bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    with voc(labels={"a": content + data.draw(st.binary(max_size=8))}, classes=CLASSES) as root:
        read_or_refuse(open_or_refuse(root))


def written(label, way):
    """A label as some tool would write it."""
    if way == "colors":
        return Image.fromarray(palette()[label])
    image = Image.fromarray(label.astype(np.uint16) if way == "16 bits" else label)
    if way in ("palette", "GIF"):
        image.putpalette(palette().tobytes())
    return image


@settings(max_examples=3 * settings.default.max_examples)
@given(label=LABELS, way=WAYS)
@example(label=np.full((6, 8), 7, np.uint8), way="colors")
@example(label=np.full((6, 8), 255, np.uint8), way="GIF")
def test_ids_come_back_as_they_were_written(label, way):
    buffer = io.BytesIO()
    written(label, way).save(buffer, way if way in ("BMP", "TIFF", "GIF") else "PNG")
    with voc(labels={"a": buffer.getvalue()}, classes=CLASSES) as root:
        source = open_source(root)
        if source.label_values == "binary":  # 0 and 255 alone are a mask, which is said
            assert set(np.unique(label).tolist()) == {0, 255}
            assert source.skipped
        else:
            np.testing.assert_array_equal(read_label(source, source.photos[0]), label)
