import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskdistill.datasets.images import exif_orientation, inspect_image, read_photo, turn_upright
from maskdistill.datasets.records import Photo
from maskdistill.datasets.scanning import digest_file
from maskdistill.errors import DatasetError


def gradient(height: int = 6, width: int = 10) -> np.ndarray:
    return np.linspace(0, 255, height * width).reshape(height, width).astype(np.uint8)


def pixels(path: Path) -> np.ndarray:
    image = read_photo(path)
    assert image.mode == "RGB"
    assert inspect_image(path) == (image.height, image.width)
    return np.asarray(image)


def noise_jpeg(path: Path, size: tuple[int, int] = (64, 48), **options) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(values).save(path, quality=95, **options)
    return path


def test_grey_has_three_equal_channels(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    assert (pixels(tmp_path / "a.png") == gradient()[..., None]).all()


def test_one_bit_is_black_and_white(tmp_path):
    Image.fromarray(gradient() > 100).save(tmp_path / "a.png")
    assert (pixels(tmp_path / "a.png") == np.where(gradient() > 100, 255, 0)[..., None]).all()


@pytest.mark.parametrize("transparent", [False, True])
def test_palette_with_and_without_transparency(tmp_path, transparent):
    image = Image.new("P", (4, 2), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((3, 1), 1)
    image.save(tmp_path / "a.png", **({"transparency": 0} if transparent else {}))
    found = pixels(tmp_path / "a.png")
    assert found[0, 0].tolist() == ([255, 255, 255] if transparent else [255, 0, 0])
    assert found[1, 3].tolist() == [0, 0, 255]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_laid_over_white(tmp_path, mode):
    bands = len(mode) - 1
    values = np.zeros((2, 3, bands + 1), np.uint8)
    values[0, :, -1], values[1, :, -1] = 255, 51  # opaque, and one fifth black over white
    Image.fromarray(values, mode).save(tmp_path / "a.png")
    found = pixels(tmp_path / "a.png")
    assert (found[0] == 0).all()
    assert (found[1] == 204).all()


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    assert np.abs(pixels(tmp_path / "a.jpg").astype(int) - [255, 0, 0]).max() <= 4


@pytest.mark.parametrize(("name", "byte_order"), [("a.png", "<"), ("a.tif", "<"), ("b.tif", ">")])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, name, byte_order):
    values = gradient().astype(f"{byte_order}u2") * 257
    Image.fromarray(values.astype(f"{byte_order}u2")).save(tmp_path / name)
    assert (pixels(tmp_path / name) == gradient()[..., None]).all()


def test_sixteen_bit_range_in_32_bit_integers(tmp_path):
    Image.fromarray(gradient().astype(np.int32) * 257).save(tmp_path / "a.tif")
    assert (pixels(tmp_path / "a.tif") == gradient()[..., None]).all()


def test_float_goes_from_its_minimum_to_its_maximum(tmp_path):
    values = gradient().astype(np.float32) * 0.01 - 7
    values[0, 1] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    found = pixels(tmp_path / "a.tif")[..., 0]
    assert (found.min(), found.max(), found[0, 1]) == (0, 255, 0)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_fewer_bits_in_sixteen_fill_the_range(tmp_path, bits, name):
    values = np.array([[0, 2**bits // 2, 2**bits - 1]], np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    assert pixels(tmp_path / name)[0, :, 0].tolist() == [0, 128, 255]


def test_packed_twelve_bits(tmp_path):
    """Two numbers in three bytes, as cameras for industry write them."""
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x08, 0x00])  # 0, 4095, 2048, 2048
    tags = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 110), (277, 1), (279, len(packed))]
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + packed)
    assert pixels(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 255, 128, 128]


def test_white_is_zero_in_sixteen_bits(tmp_path):
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "a.tif", tiffinfo={262: 0})
    assert pixels(tmp_path / "a.tif")[0, :, 0].tolist() == [255, 0]


def sixteen_bit_png(path: Path, kind: int, values: np.ndarray) -> Path:
    """A PNG of (H, W, bands) numbers of 16 bits; kind 2 RGB, 4 grey and alpha, 6 RGBA."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    parts = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_sixteen_bit_rgb_png(tmp_path):
    values = np.array([[[0, 257 * 100, 65535], [257, 0, 0]]] * 3)
    assert pixels(sixteen_bit_png(tmp_path / "a.png", 2, values))[2].tolist() == [[0, 100, 255], [1, 0, 0]]


@pytest.mark.parametrize(("kind", "alpha"), [(2, None), (6, 4095), (6, 65535), (4, 4095), (4, 65535)])
def test_twelve_bits_in_sixteen_bit_colors(tmp_path, kind, alpha):
    bands = {2: 3, 4: 1, 6: 3}[kind]
    values = np.repeat(np.array([0, 2048, 4095])[None, :, None], bands, axis=2)
    if alpha is not None:
        values = np.concatenate([values, np.full((1, 3, 1), alpha)], axis=2)
    assert pixels(sixteen_bit_png(tmp_path / "a.png", kind, values))[0, :, 0].tolist() == [0, 128, 255]


def test_large_pictures_are_converted_in_strips_as_small_ones_are_at_once(tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(0, 4096, (37, 29, 4), np.uint16)
    Image.fromarray(values[..., 0]).save(tmp_path / "grey.tif")
    sixteen_bit_png(tmp_path / "rgba.png", 6, values)
    Image.fromarray(values[..., :3].astype(np.uint8)).save(tmp_path / "rgb.png")
    names = ("grey.tif", "rgba.png", "rgb.png")
    whole = [pixels(tmp_path / name) for name in names]
    monkeypatch.setattr("maskdistill.datasets.pixels._STRIP_PIXELS", 29 * 7)
    monkeypatch.setattr("maskdistill.datasets.images.LARGE_PIXELS", 30)
    for name, wanted in zip(names, whole, strict=True):
        assert (pixels(tmp_path / name) == wanted).all()
        small = read_photo(tmp_path / name, min_short_side=9)
        assert small.size == (10, 13)  # a third of each side, rounded up
        assert np.abs(np.asarray(small)[:12, :9].astype(int) - _means(wanted[:36, :27], 3)).max() <= 1


def _means(values: np.ndarray, factor: int) -> np.ndarray:
    height, width, bands = values.shape
    return values.reshape(height // factor, factor, width // factor, factor, bands).mean(axis=(1, 3))


@pytest.mark.parametrize("suffix", ["webp", "bmp", "tiff"])
def test_other_formats(tmp_path, suffix):
    Image.new("RGB", (12, 8), (200, 100, 50)).save(tmp_path / f"a.{suffix}")
    assert np.abs(pixels(tmp_path / f"a.{suffix}").astype(int) - [200, 100, 50]).max() <= 4


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize(("orientation", "corner"), [(3, "bottom right"), (6, "top right"), (8, "bottom left")])
def test_exif_orientation_is_applied(tmp_path, suffix, orientation, corner):
    values = np.zeros((16, 32, 3), np.uint8)
    values[:8, :8] = 255  # the stored top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values).save(tmp_path / f"a.{suffix}", exif=exif)
    found = pixels(tmp_path / f"a.{suffix}")[..., 0] > 127
    assert found.shape == ((16, 32) if orientation == 3 else (32, 16))
    rows, cols = np.nonzero(found)
    vertical = "top" if rows.mean() < found.shape[0] / 2 else "bottom"
    horizontal = "left" if cols.mean() < found.shape[1] / 2 else "right"
    assert f"{vertical} {horizontal}" == corner


def test_smaller_decoding_keeps_the_short_side(tmp_path):
    path = noise_jpeg(tmp_path / "a.jpg", (400, 240))
    assert read_photo(path, min_short_side=60).size == (100, 60)
    assert read_photo(path, min_short_side=61).size == (200, 120)
    assert read_photo(path, min_short_side=999).size == (400, 240)


def test_content_decides_not_the_suffix(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert inspect_image(tmp_path / "a.jpg") == (4, 5)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_cut_off_file_is_named(tmp_path, suffix):
    path = noise_jpeg(tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=rf"a\.{suffix}.*(cut off|damaged)"):
        inspect_image(path)
    with pytest.raises(DatasetError, match=rf"a\.{suffix}.*(cut off|damaged)"):
        read_photo(path)


def test_end_of_a_thumbnail_is_not_the_end_of_the_photo(tmp_path):
    # The thumbnail inside EXIF ends with the same marker as the photo, so a search of the whole file finds it.
    exif = Image.Exif()
    exif[0x010E] = "thumbnail \xff\xd9 here"
    path = noise_jpeg(tmp_path / "a.jpg", exif=exif.tobytes() + b"\xff\xd9")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match="cut off"):
        inspect_image(path)


def test_jpeg_with_a_video_behind_it_is_whole(tmp_path):
    path = noise_jpeg(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes() + bytes(100_000))
    assert inspect_image(path) == (48, 64)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"Dear all, see the photos.", "not a JPEG"),
        (b"%PDF-1.7", "not a JPEG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\xff\xd8\xff", "damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"II*\0", "damaged"),
        (b"BM", "damaged"),
        (b"RIFF\0\0\0\0WEBP", "damaged"),
    ],
)
def test_file_that_is_no_photo(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"a\.jpg\. .*{reason}"):
        inspect_image(tmp_path / "a.jpg")


def test_missing_file_and_broken_link(tmp_path):
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(DatasetError, match="no such file"):
        inspect_image(tmp_path / "gone.jpg")
    with pytest.raises(DatasetError, match="link leads nowhere"):
        inspect_image(tmp_path / "link.jpg")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(("width", "refused"), [(20_000, True), (12_000, False)])
def test_200_megapixels_are_named_and_120_pass_without_a_warning(tmp_path, width, refused):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, 10_000, 8, 2, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if not refused:
            assert inspect_image(tmp_path / "a.png") == (10_000, width)
            return
        with pytest.raises(DatasetError, match=r"20000 x 10000 pixels \(200 megapixels\).*smaller copy"):
            inspect_image(tmp_path / "a.png")


def test_replaced_photo_is_noticed(tmp_path):
    path = noise_jpeg(tmp_path / "a.jpg")
    photo = Photo("a", path, 48, 64, digest_file(path))
    noise_jpeg(path, (32, 32))
    with pytest.raises(DatasetError, match="was replaced"):
        read_photo(photo)


def test_digest_sees_both_ends(tmp_path):
    content = bytearray(200_000)
    digests = set()
    for position in (0, 199_999):
        content[position] = 1
        (tmp_path / "a").write_bytes(content)
        digests.add(digest_file(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    assert len(digests) == 2
    assert digest_file(tmp_path / "b") in digests


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_was_made_on_stored_pixels_turns_as_the_photo_does(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = gradient()
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    assert exif_orientation(tmp_path / "a.png") == orientation
    np.testing.assert_array_equal(turn_upright(stored, orientation), pixels(tmp_path / "a.png")[..., 0])
