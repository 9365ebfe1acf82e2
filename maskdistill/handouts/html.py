"""One HTML file that needs nothing else: its pictures, style and script are inside, and it may fetch nothing."""

import base64
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from typing import Any

from PIL import Image

from maskdistill import __version__
from maskdistill.pictures import colors, drawing

MAX_BYTES = 5 * 2**20  # of a page that is handed out
_PHOTO: dict[str, Any] = {"format": "WEBP", "quality": 82, "method": 4}


def page(title: str, body: str, *, scripts: Iterable[str] = (), variables: Mapping[str, str] | None = None) -> str:
    """A whole page.

    Args:
        title: Plain text.
        body: HTML below ``<body>``.
        scripts: Names of scripts beside this module; no other script can run.
        variables: CSS variables, such as pictures that are used more than once; values are trusted.
    """
    script = "\n".join(_beside(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    allowed = f"script-src 'sha256-{digest}'; " if script else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; {allowed}base-uri 'none'; form-action 'none'"
    )
    given = "".join(f"--{name}:{value};" for name, value in (variables or {}).items())
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f'<meta name="generator" content="maskdistill {__version__}">',
            f"<title>{text(title)}</title>",
            f"<style>{_beside('page.css')}:root{{{given}}}</style>",
            "</head>",
            f"<body>{body}",
            f"<script>{script}</script>" if script else "",
            "</body>",
            "</html>",
            "",
        ]
    )


def text(value: object) -> str:
    """Any text, for HTML or an attribute in double quotes; what cannot be printed or encoded becomes a sign for it."""
    plain = "".join(mark if mark.isprintable() or mark == "\N{NO-BREAK SPACE}" else " " for mark in str(value))
    return escape(plain.encode("utf-8", "replace").decode("utf-8"))


def marked(sentence: str) -> str:
    """A sentence whose ``**words**`` are strong."""
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text(sentence))


def photo_url(image: Image.Image, side: int) -> str:
    """A photo as a data URL, its longest side at most ``side`` pixels."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, **_PHOTO)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def picture(src: str, alt: str, *, kind: str = "") -> str:
    """An ``<img>``; ``alt`` may be empty where a caption says it all."""
    name = f' class="{kind}"' if kind else ""
    return f'<img{name} src="{src}" alt="{text(alt)}">'


def layer(image: Image.Image, *, kind: str = "", width: float = 1.0, height: float = 1.0) -> str:
    """A picture over a photo; ``width`` and ``height`` are shares of the photo's, above 1 where padding hangs over."""
    size = "" if width == height == 1 else f' style="width:{100 * width:.3f}%;height:{100 * height:.3f}%"'
    return f'<img class="layer {kind}"{size} src="{drawing.png_url(image)}" alt="">'


def swatch(color: str) -> str:
    """A small square of a color."""
    return f'<i class="swatch" style="background:{color}"></i>'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Colors and their names."""
    items = "".join(f"<li>{swatch(color)}{text(name)}</li>" for color, name in entries)
    return f'<ul class="legend">{items}</ul>' if items else ""


def color_scale(title: str, ends: tuple[str, str], scale: colors.Scale) -> str:
    """A color scale with the meaning of its two ends."""
    bar = f'<i class="scale" style="background:{colors.css_gradient(scale)}"></i>'
    return f'<p class="ends">{text(title)}: {text(ends[0])} {bar} {text(ends[1])}</p>'


def table(head: Iterable[str], rows: Iterable[Iterable[object]], *, caption: str = "") -> str:
    """A table; a cell that is a number stands at the right."""
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(_cell(cell, place) for place, cell in enumerate(row))}</tr>" for row in rows)
    return f'<div class="wide"><table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: object, place: int) -> str:
    if place == 0:
        return f'<th scope="row">{text(value)}</th>'
    kind = ' class="number"' if isinstance(value, int | float) or re.fullmatch(r"[+−\-\d.,% ]+", str(value)) else ""
    return f"<td{kind}>{text(value)}</td>"


def bars(rows: Iterable[tuple[str, float, str, str]], most: float) -> str:
    """Horizontal bars, readable without colors.

    Args:
        rows: Name, value, the value in words, and color.
        most: Value of a bar of full length.
    """
    lines = []
    for name, value, words, color in rows:
        share = 0 if most <= 0 else min(1.0, max(0.0, value / most))
        fill = f'<i style="width:{100 * share:.1f}%;background:{color}"></i>'
        lines.append(f'<li><span>{text(name)}</span><span class="track">{fill}</span><b>{text(words)}</b></li>')
    return f'<ul class="bars">{"".join(lines)}</ul>'


def details(summary: str, content: str) -> str:
    """A part that can be opened."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def footer(sentence: str, more: str = "") -> str:
    """The end of a page: ``more`` HTML, and what it was made with."""
    return f"<footer>{more}<p>{text(sentence)}</p></footer>"


def _beside(name: str) -> str:
    content = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return re.sub(r"^\s*(//.*)?\n", "", content, flags=re.MULTILINE)
