"""Second part of the Start page: what was found at the source."""

from statistics import median

import streamlit as st

from app.thumbs import Thumb, thumbs
from maskdistill.datasets import PhotoSource

PAGE = 28  # thumbnails


def draw(source: PhotoSource) -> None:
    """Counts, sizes, a grid of thumbnails, and the files that were left out."""
    _draw_counts(source)
    pages = -(-len(source.photos) // PAGE)
    page = 1
    if pages > 1:
        page = min(st.pagination(pages, key=f"found page {source.spec}"), pages)
    shown = source.photos[(page - 1) * PAGE : page * PAGE]
    thumbs([Thumb(photo) for photo in shown], key="found", layout="grid")
    if source.skipped:
        title = f"{len(source.skipped)} files left out, and why"
        with st.expander(title, icon=":material/block:", expanded=len(source.skipped) < 8):
            rows = [{"File": str(item.path), "Why": item.reason} for item in source.skipped]
            st.dataframe(rows, hide_index=True, column_config={"File": st.column_config.TextColumn(width="medium")})


def _draw_counts(source: PhotoSource) -> None:
    with st.container(horizontal=True, gap="large"):
        st.metric("Photos", f"{len(source.photos):,}", width="content")
        st.metric("Megapixels", _size_range(source), width="content")
        if source.splits:
            counts = " · ".join(f"{name} {len(source.split(name)):,}" for name in source.splits)
            st.metric("Splits", counts, width="content")
        if source.has_labels:
            help = "Labels are used for reporting only: nothing that trains or selects sees them."
            st.metric("Labelled classes", f"{len(source.classes)}", width="content", help=help)
        if source.skipped:
            st.metric("Left out", f"{len(source.skipped):,}", width="content", help="The table below says why.")
    if source.classes:
        st.caption("Classes: " + ", ".join(source.classes))


def _size_range(source: PhotoSource) -> str:
    sizes = sorted(photo.height * photo.width / 1e6 for photo in source.photos)
    if sizes[0] == sizes[-1]:
        return f"{sizes[0]:.2g}"
    return f"{sizes[0]:.2g} – {sizes[-1]:.2g}, mostly {median(sizes):.2g}"
