"""Second part of the Start page: the photos of the source."""

import streamlit as st

from app import widgets
from app.components.image_grid import photo_grid, photo_tile
from maskdistill.datasets import PhotoSource
from maskdistill.errors import printable

PAGE = 28  # thumbnails
KINDS = {
    "folder": "Folder",
    "voc": "VOC dataset",
    "coco": "COCO dataset",
    "sample": "Samples",
    "sample-views": "Sample views",
}


def draw(source: PhotoSource) -> None:
    """Counts, sizes, a grid of thumbnails, and the files that were left out."""
    _draw_counts(source)
    pages = -(-len(source.photos) // PAGE)
    page = 1
    if pages > 1:
        page = min(st.pagination(pages, key=f"found page {source.spec}"), pages)
    shown = source.photos[(page - 1) * PAGE : page * PAGE]
    photo_grid([photo_tile(photo) for photo in shown], key="found", layout="photos")
    widgets.draw_left_out([(printable(item.path), item.reason) for item in source.skipped], count=_num_left_out(source))


def _draw_counts(source: PhotoSource) -> None:
    with st.container(horizontal=True, gap="large"):
        st.metric("Photos", f"{len(source.photos):,}", width="content")
        st.metric("Sizes", _size_range(source), width="content")
        st.metric("Kind", KINDS[source.kind], width="content")
        if source.splits:
            counts = " · ".join(f"{name} {count:,}" for name, count in source.split_counts.items())
            st.metric("Splits", counts, width="content")
        if source.has_labels:
            help = "Labels are used for reporting only, never for training or for choosing settings."
            st.metric("Labelled classes", f"{len(source.classes)}", width="content", help=help)
        if source.skipped:
            st.metric("Left out", f"{_num_left_out(source):,}", width="content", help="The table below says why.")
    if source.classes:
        st.caption(widgets.escape("Classes: " + ", ".join(source.classes)))


def _num_left_out(source: PhotoSource) -> int:
    return sum(item.count for item in source.skipped)


def _size_range(source: PhotoSource) -> str:
    sizes = sorted((width * height, f"{width} × {height}") for height, width in source.shapes)
    small, large = sizes[0][1], sizes[-1][1]
    return f"{small} px" if small == large else f"{small} to {large} px"
