"""Label files of every form: read for what they mean, or left out with a sentence."""

import io
import os
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image
from voc_data import SIZE, colored, drawn_label, make_voc, put_label, reasons, with_palette

from maskdistill.datasets import LeftOut, open_source, read_label, voc_checks
from maskdistill.datasets.label_files import palette
from maskdistill.errors import DatasetError

NAMES = ("cow", "cat")
LABEL = drawn_label(2)
LABEL[3, 3] = 1


def open_with(tmp_path, labels, classes=NAMES, **more):
    return open_source(make_voc(tmp_path, list(labels), labels=labels, classes=classes, **more))


def values_of(source, id="a"):
    return read_label(source, next(photo for photo in source.photos if photo.id == id))


def saved(label, kind="PNG", **options):
    buffer = io.BytesIO()
    (label if isinstance(label, Image.Image) else Image.fromarray(label)).save(buffer, kind, **options)
    return buffer.getvalue()


def wide(label):
    """Sixteen bits, as some tools write what is ignored."""
    return np.where(label == 255, np.uint16(65535), label)


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(Image.fromarray(LABEL), id="grey"),
        pytest.param(Image.fromarray(LABEL.astype(np.uint16)), id="16 bits"),
        pytest.param(Image.fromarray(wide(LABEL)), id="16 bits, ignored at their end"),
        pytest.param(with_palette(LABEL, palette()), id="VOC's palette"),
        pytest.param(colored(LABEL), id="VOC's colors"),
        pytest.param(colored(LABEL).convert("RGBA"), id="colors, opaque"),
        pytest.param(Image.fromarray(LABEL).convert("RGB"), id="grey as colors"),
        pytest.param(Image.merge("LA", (Image.fromarray(LABEL), Image.new("L", SIZE, 255))), id="grey, opaque"),
    ],
)
def test_forms_that_mean_the_same(tmp_path, label):
    source = open_with(tmp_path, {"a": label})
    assert (source.skipped, source.has_labels, source.classes) == ((), True, NAMES)
    np.testing.assert_array_equal(values_of(source), LABEL)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF", "PNG"])
@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif", ".gif", ".jpg.png"])
def test_other_formats_that_keep_values_and_names_of_other_tools(tmp_path, kind, suffix):
    make_voc(tmp_path, ["a"], classes=NAMES)
    put_label(tmp_path, f"a{suffix}", saved(Image.fromarray(LABEL), kind))
    source = open_source(tmp_path)
    assert source.skipped == ()
    np.testing.assert_array_equal(values_of(source), LABEL)


def test_what_is_transparent_is_background(tmp_path):
    pixels = np.dstack([np.array(colored(np.full_like(LABEL, 2))), np.where(LABEL == 2, 255, 0).astype(np.uint8)])
    np.testing.assert_array_equal(values_of(open_with(tmp_path, {"a": Image.fromarray(pixels)})), (LABEL == 2) * 2)


def cut(label, share=0.6):
    content = saved(label)
    return content[: int(len(content) * share)]


def huge():
    content = saved(LABEL)
    head = b"IHDR" + (60000).to_bytes(4, "big") * 2 + content[24:29]
    return content[:12] + head + zlib.crc32(head).to_bytes(4, "big") + content[33:]


NOISE = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
ODD = {
    "empty": (b"", "empty"),
    "cut": (cut(np.random.default_rng(0).integers(0, 3, (6, 8), dtype=np.uint8)), "damaged|cut off"),
    "text": (b"no picture", "no PNG"),
    "JPEG": (saved(LABEL, "JPEG"), "is a JPEG"),
    "huge": (huge(), "60000 x 60000 pixels"),
    "several": (saved(LABEL, save_all=True, append_images=[Image.fromarray(drawn_label(1))]), "several pictures"),
    "of another size": (saved(np.zeros((3, 3), np.uint8)), "has 3 x 3 pixels, its photo a.jpg 8 x 6"),
    "turned": (saved(np.ascontiguousarray(LABEL.T)), "has 6 x 8 pixels"),
    "beyond": (saved(drawn_label(7)), "value 7.*wanted 0 to 2"),
    "16 bits": (saved(LABEL.astype(np.uint16) * 300), "value (300|600|76500)|value"),
    "fractions": (saved(Image.fromarray(LABEL.astype(np.float32) / 2), "TIFF"), "fractions"),
    "unknown color": (saved(Image.new("RGB", SIZE, (1, 2, 3))), "1,2,3"),
    "photo": (saved(Image.fromarray(NOISE)), "is of no class|colors"),
    "half transparent": (saved(Image.new("RGBA", SIZE, (128, 0, 0, 90))), "transparent"),
    "one bit": (saved(Image.fromarray(LABEL == 2)), "black and white"),
    "black and white palette": (saved(with_palette((LABEL == 2) * np.uint8(1), [(0,) * 3, (255,) * 3])), "black and"),
    "CMYK": (saved(Image.new("CMYK", SIZE), "TIFF"), "CMYK"),
}


@pytest.mark.parametrize("kind", ODD)
def test_label_that_cannot_be_used_is_left_out_and_the_others_count(tmp_path, kind):
    content, said = ODD[kind]
    source = open_with(tmp_path, {"a": content, "b": LABEL})
    assert source.has_labels
    assert [(item.path.name, item.what) for item in source.skipped] == [("a.png", "label")]
    with pytest.raises(DatasetError, match=said) as error:
        values_of(source)
    assert "SegmentationClass/a.png" in str(error.value)
    np.testing.assert_array_equal(values_of(source, "b"), LABEL)


@pytest.mark.parametrize("kind", ODD)
def test_source_whose_labels_are_all_unusable_has_none_and_says_why(tmp_path, kind):
    content, _ = ODD[kind]
    if kind in ("one bit", "black and white palette"):
        content = saved(Image.fromarray(LABEL == 9), "JPEG")  # all in one bit are masks
    source = open_with(tmp_path, {"a": content})
    assert (source.has_labels, len(source.photos), len(source.skipped)) == (False, 1, 1)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_file_in_a_labels_place_is_said(tmp_path, kind):
    make_voc(tmp_path, ["a", "b"], labels={"b": LABEL}, classes=NAMES)
    path = tmp_path / "SegmentationClass" / "a.png"
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("nowhere")}[kind]()
    source = open_source(tmp_path)
    assert (source.has_labels, list(reasons(source))) == (True, ["a.png"])
    with pytest.raises(DatasetError, match=r"a\.png"):
        values_of(source)


def test_broken_labels_of_one_kind_are_one_entry(tmp_path):
    source = open_with(tmp_path, {**dict.fromkeys("abcdef", b""), "g": LABEL})
    assert list(reasons(source)) == ["a.png"]
    assert "6 of the 7 labels" in reasons(source)["a.png"]


@pytest.mark.parametrize("name", ["a_mask.png", "a_label.png", "sub/z.png"])
def test_labels_that_belong_to_no_photo_are_said(tmp_path, name):
    make_voc(tmp_path, ["a"])
    put_label(tmp_path, name, LABEL)
    source = open_source(tmp_path)
    assert not source.has_labels
    assert os.path.basename(name) in reasons(source)["SegmentationClass"]


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".json", ".mat"])
def test_labels_in_formats_that_are_not_read_are_said(tmp_path, suffix):
    make_voc(tmp_path, ["a"])
    put_label(tmp_path, f"a{suffix}", saved(LABEL, "JPEG"))
    assert list(reasons(open_source(tmp_path))) == [f"a{suffix}"]


def test_folder_that_leads_nowhere_is_said(tmp_path):
    make_voc(tmp_path, ["a"])
    (tmp_path / "SegmentationClass").rmdir()
    (tmp_path / "SegmentationClass").symlink_to("nowhere")
    assert list(reasons(open_source(tmp_path))) == ["SegmentationClass"]


class TestTurnedPhotos:
    """The label was made on the pixels as they are stored, or as EXIF turns them."""

    @staticmethod
    def turned_voc(tmp_path, way, label):
        make_voc(tmp_path, ["a"], classes=NAMES)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = way
        Image.new("RGB", SIZE).save(tmp_path / "JPEGImages" / "a.jpg", exif=exif)
        put_label(tmp_path, "a.png", label)
        return open_source(tmp_path)

    @pytest.mark.parametrize("way", [5, 6, 7, 8])
    def test_label_as_stored_is_turned_as_the_photo(self, tmp_path, way):
        source = self.turned_voc(tmp_path, way, LABEL)
        wanted = {5: LABEL.T, 6: np.rot90(LABEL, -1), 7: LABEL[::-1, ::-1].T, 8: np.rot90(LABEL)}[way]
        assert source.skipped == ()
        np.testing.assert_array_equal(values_of(source), wanted)

    @pytest.mark.parametrize("way", [5, 6, 7, 8])
    def test_label_as_seen_stays(self, tmp_path, way):
        source = self.turned_voc(tmp_path, way, np.ascontiguousarray(LABEL.T))
        np.testing.assert_array_equal(values_of(source), LABEL.T)

    def test_label_that_carries_the_photos_exif(self, tmp_path):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        source = self.turned_voc(tmp_path, 6, saved(LABEL, exif=exif))
        np.testing.assert_array_equal(values_of(source), np.rot90(LABEL, -1))


class TestBlackAndWhite:
    """Masks of 0 and 255, where 255 would be "ignored" by VOC's convention."""

    MASK = (drawn_label(1) == 1).astype(np.uint8)

    @pytest.mark.parametrize(
        "label",
        [
            pytest.param(Image.fromarray(MASK * 255), id="8 bits"),
            pytest.param(Image.fromarray(MASK > 0), id="1 bit"),
            pytest.param(Image.fromarray(MASK * 255).convert("RGB"), id="colors"),
            pytest.param(with_palette(MASK, [(0, 0, 0), (255, 255, 255)]), id="palette"),
            pytest.param(with_palette(1 - MASK, [(255, 255, 255), (0, 0, 0)]), id="palette, white first"),
        ],
    )
    @pytest.mark.parametrize(("classes", "wanted"), [(None, "object"), (["cow"], "cow"), (NAMES, "object")])
    def test_are_of_one_class_which_is_said(self, tmp_path, label, classes, wanted):
        empty = np.zeros((6, 8), np.uint8)
        source = open_with(tmp_path, {"a": label, "b": empty}, classes=classes)
        assert (source.classes, source.has_labels) == ((wanted,), True)
        assert wanted in reasons(source)["SegmentationClass"]
        np.testing.assert_array_equal(values_of(source), self.MASK)
        np.testing.assert_array_equal(values_of(source, "b"), empty)

    def test_among_labels_with_classes_they_are_said(self, tmp_path):
        source = open_with(tmp_path, {"a": self.MASK * 255, "b": LABEL})
        assert "read as ignored" in reasons(source)["a.png"]
        np.testing.assert_array_equal(values_of(source), self.MASK * 255)

    def test_smoothed_borders_are_said(self, tmp_path):
        soft = self.MASK * 255
        soft[1, 2:6] = (60, 120, 180, 240)
        assert "smoothed borders" in reasons(open_with(tmp_path, {"a": soft}, classes=None))[tmp_path.name]

    def test_all_ignored_is_no_mask(self, tmp_path):
        source = open_with(tmp_path, {"a": np.full((6, 8), 255, np.uint8)}, classes=None)
        assert not source.has_labels
        assert len(source.skipped) == 1


class TestPalettes:
    """Values count, unless palettes show that an editor has numbered the colors anew."""

    def test_colors_count_where_values_change_from_file_to_file(self, tmp_path):
        person, table = palette()[15], palette()[11]
        mask = TestBlackAndWhite.MASK
        labels = {"a": with_palette(mask, [(0, 0, 0), person]), "b": with_palette(mask, [(0, 0, 0), table])}
        source = open_with(tmp_path, labels, classes=None)
        assert [int(values_of(source, id).max()) for id in "ab"] == [15, 11]

    def test_colors_of_a_label_map_count(self, tmp_path):
        label = with_palette(TestBlackAndWhite.MASK, [(0, 0, 0), (9, 9, 9)])
        source = open_with(tmp_path, {"a": label}, classes=None, labelmap=["cow:5,5,5::", "cat:9,9,9::"])
        assert source.classes == ("cow", "cat")
        np.testing.assert_array_equal(values_of(source), 2 * TestBlackAndWhite.MASK)

    def test_values_count_where_colors_are_those_of_other_classes_which_is_said(self, tmp_path):
        source = open_with(tmp_path, {"a": with_palette(TestBlackAndWhite.MASK, [(0, 0, 0), palette()[2]])})
        assert "SegmentationClass" in reasons(source)
        np.testing.assert_array_equal(values_of(source), TestBlackAndWhite.MASK)

    @pytest.mark.parametrize("colors", [[(0, 0, 0)] * 3, [(0, 0, 0), (1, 1, 1), (2, 2, 2)], [(9, 0, 0), (0, 9, 0)]])
    def test_palettes_without_meaning_are_passed_over(self, tmp_path, colors):
        source = open_with(tmp_path, {"a": with_palette(TestBlackAndWhite.MASK, colors)})
        assert source.skipped == ()
        np.testing.assert_array_equal(values_of(source), TestBlackAndWhite.MASK)


@pytest.mark.parametrize("behind", [False, True])
def test_long_text_in_a_label_is_no_damage(tmp_path, behind):
    """Before or behind the pixels."""
    content = saved(LABEL)
    text = b"comment\0\0" + zlib.compress(b"x" * 3_000_000)
    chunk = len(text).to_bytes(4, "big") + b"zTXt" + text + zlib.crc32(b"zTXt" + text).to_bytes(4, "big")
    place = content.index(b"IEND") - 4 if behind else 33
    source = open_with(tmp_path, {"a": content[:place] + chunk + content[place:]})
    assert source.skipped == ()
    np.testing.assert_array_equal(values_of(source), LABEL)


def test_sample_is_spread_and_its_decoding_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(voc_checks, "_NUM_SAMPLED", 5)
    monkeypatch.setattr(voc_checks, "_MAX_DECODED", 2 * LABEL.size)
    read = []
    load = voc_checks.load_label
    monkeypatch.setattr(voc_checks, "load_label", lambda path: read.append(path.stem) or load(path))
    names = [f"{number:02}" for number in range(21)]
    source = open_with(tmp_path, {**dict.fromkeys(names, LABEL), "20": np.zeros((3, 3), np.uint8)})
    assert read == ["00", "05"]
    assert list(reasons(source)) == ["20.png"]
    assert source.has_labels
    assert isinstance(source.skipped[0], LeftOut)
