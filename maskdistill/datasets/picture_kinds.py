"""Kinds of picture files: which are read, by suffix and by first bytes, and why the others are not."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import PurePath

from PIL import AvifImagePlugin

READS_HEIC = find_spec("pillow_heif") is not None  # an extra
READS_AVIF = AvifImagePlugin.SUPPORTED
PHOTO_SUFFIXES = frozenset(  # in lower case
    [".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".pjpeg", ".pjp", ".mpo"]
    + [".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff"]
    + ([".heic", ".heif", ".hif"] if READS_HEIC else [])
    + ([".avif"] if READS_AVIF else [])
)
_SUFFIX = re.compile(r"\.(?=.*[a-z])[^\W_]{1,12}")
HEAD_BYTES = 64  # of a file, that say what kind it is

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_JPEG = "save it as JPEG"


@dataclass(frozen=True)
class OtherKind:
    """A kind of file that holds pictures, or lies beside them, and is not read."""

    name: str  # with its article, as in "It is a GIF"
    remedy: str

    def reason(self, count: int = 1, label: str = "") -> str:
        """The sentence about one file, whatever its name says, or about many of which it is the first."""
        subject = "It is" if count == 1 else f"{count} {label} files, this one first. Each is"
        return f"{subject} {self.name}, not a JPEG, PNG, WebP, BMP or TIFF picture; {self.remedy}."


_HEIC = OtherKind("a HEIC picture", f"pip install 'maskdistill[heic]' (pillow-heif), or {_JPEG}")
_AVIF = OtherKind("an AVIF picture", f"install a Pillow that reads AVIF, or {_JPEG}")
_GIF = OtherKind("a GIF", "save it as PNG")
_RAW = OtherKind("a camera's raw file", "develop it to JPEG")
_VIDEO = OtherKind("a video", "take single pictures out of it")
_SVG = OtherKind("a drawing of lines (SVG) or other XML", "save it as PNG")
_JPEG2000 = OtherKind("a JPEG 2000 picture", _JPEG)
_JPEG_XL = OtherKind("a JPEG XL picture", _JPEG)
_LAYERS = OtherKind("a file of layers", "save the picture as PNG or JPEG")
_HDR = OtherKind("a picture of high dynamic range", "map its tones and save it as PNG or JPEG")
_PLAIN = OtherKind("a picture of a kind that is seldom used", "save it as PNG")
_MEDICAL = OtherKind("a medical or scientific picture", "save its slices as PNG or TIFF")
_BY_PRODUCT = OtherKind("what a phone, a system or a program keeps beside photos", "it can stay there")
_PDF = OtherKind("a PDF", "save its pictures as JPEG")
_WEB_PAGE = OtherKind("a web page, perhaps what a server answered instead of the photo", "download the photo again")
_LFS = OtherKind("a pointer of Git LFS", "fetch the photo itself with git lfs pull")
_ARCHIVE = OtherKind("an archive", "unpack it")

_SUFFIXES_OF = {
    _HEIC: ".heic .heif .hif",
    _AVIF: ".avif",
    _GIF: ".gif",
    _RAW: ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .x3f .3fr .iiq .erf .kdc .mrw .gpr",
    _VIDEO: ".mp4 .mov .m4v .avi .mkv .webm .3gp .3g2 .mts .m2ts .mpg .mpeg .wmv .flv",
    _SVG: ".svg .svgz",
    _JPEG2000: ".jp2 .j2k .jpf .jpx .jpm .j2c",
    _JPEG_XL: ".jxl",
    _LAYERS: ".psd .psb .xcf .kra .afphoto",
    _HDR: ".exr .hdr .pfm",
    _PLAIN: ".ppm .pgm .pbm .pnm .tga .pcx .ico .icns .sgi .ras .dds .jxr .wdp .hdp",
    _MEDICAL: ".dcm .nii .nrrd .mha .fits .fit .czi .nd2 .lif .svs .ndpi",
    _BY_PRODUCT: ".aae .thm .xmp .lrv .pp3",
}
_OTHER_SUFFIXES = {suffix: kind for kind, suffixes in _SUFFIXES_OF.items() for suffix in suffixes.split()}
_OTHER_NAMES = {"thumbs.db": _BY_PRODUCT, "ehthumbs.db": _BY_PRODUCT, "desktop.ini": _BY_PRODUCT}


def suffix_of(name: str) -> str:
    """What follows the last dot of a file name, with it, in lower case; faster than a path, as whole disks need it."""
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


def is_picture_name(path: PurePath) -> bool:
    """Whether the name has a picture's suffix and is not hidden."""
    return suffix_of(path.name) in PHOTO_SUFFIXES and not path.name.startswith(".")


def other_kind_of_name(name: str) -> tuple[str, OtherKind] | None:
    """What is counted under a file's name, and its kind, if it is one that holds or accompanies pictures."""
    low = name.lower()
    if low in _OTHER_NAMES:
        return low, _OTHER_NAMES[low]
    suffix = suffix_of(low)
    return (suffix, _OTHER_SUFFIXES[suffix]) if suffix in _OTHER_SUFFIXES else None


def has_no_suffix(name: str) -> bool:
    """Whether only the content can say what a file is: what follows the dot, if anything, is none, as in jpg_large."""
    return _SUFFIX.fullmatch(suffix_of(name)) is None


def kind_of_content(head: bytes) -> str | OtherKind | None:
    """Pillow's name of the kind that a file's first ``HEAD_BYTES`` bytes show, or why it is not read; None: no idea."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"BM"):
        return "BMP"
    if head[4:8] == b"ftyp":
        return _kind_of_box(head[8:12])
    return next((kind for start, kind in _OTHER_STARTS if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(start)), None)


def _kind_of_box(brand: bytes) -> str | OtherKind:
    """Of an ISO media file: HEIC, AVIF and most videos."""
    if brand in _AVIF_BRANDS:
        return "AVIF" if READS_AVIF else _AVIF
    if brand in _HEIC_BRANDS:
        return "HEIC" if READS_HEIC else _HEIC
    return _RAW if brand == b"crx " else _VIDEO


_OTHER_STARTS: tuple[tuple[bytes, OtherKind], ...] = (
    (b"GIF8", _GIF),
    (b"%PDF", _PDF),
    (b"8BPS", _LAYERS),
    (b"gimp xcf", _LAYERS),
    (b"\0\0\0\x0cjP", _JPEG2000),
    (b"\xff\x4f\xff\x51", _JPEG2000),
    (b"\0\0\0\x0cJXL", _JPEG_XL),
    (b"\xff\x0a", _JPEG_XL),
    (b"v/1\x01", _HDR),
    (b"#?RADIANCE", _HDR),
    (b"FUJIFILMCCD-RAW", _RAW),
    (b"IIU\0", _RAW),
    (b"IIRO", _RAW),
    (b"<svg", _SVG),
    (b"<?xml", _SVG),
    (b"<!DOCTYPE", _WEB_PAGE),
    (b"<!doctype", _WEB_PAGE),
    (b"<html", _WEB_PAGE),
    (b"<HTML", _WEB_PAGE),
    (b"version https://git-lfs", _LFS),
    (b"PK\x03\x04", _ARCHIVE),
    (b"\x1f\x8b", _ARCHIVE),
    (b"Rar!", _ARCHIVE),
    (b"\x1aE\xdf\xa3", _VIDEO),
)
