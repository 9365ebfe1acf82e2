"""Photos whose names hold whatever a file system takes."""

import os
import unicodedata
from pathlib import Path

from tiny_run import draw_photo

ODD_NAMES = (
    b"caf\xe9.png",  # Latin-1, no UTF-8
    b"f\xfflder/b.png",
    b"new\nline.png",
    b"tab\there.png",
    b"quo\"te's.png",
    b"<script>alert(1)<.png",
    b"$x$ *a* _b_ [c](d) `e`.png",
    b"-dash.png",
    b"=SUM(1).png",
    b"e" * 251 + b".png",
    "😀 mark.png".encode(),
    "\u202eright to left.png".encode(),
    b" blanks .png",
    b"back\\slash.png",
    b"case.png",
    b"Case.png",
    b"CASE.png",
    unicodedata.normalize("NFC", "é.png").encode(),
    unicodedata.normalize("NFD", "é.png").encode(),
)


def draw_odd_names(folder: Path) -> Path:
    """A folder of photos of these names, and a file that is none."""
    for number, name in enumerate(ODD_NAMES):
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_photo(number)[0].save(path)
    Path(os.fsdecode(os.fsencode(folder) + b"/no\xff.png")).write_bytes(b"no photo")
    return folder
