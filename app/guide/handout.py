"""The eight steps of the photo on show as one page to hand out."""

from dataclasses import replace
from functools import partial

import streamlit as st

from app import photo_cache
from app.guide.step_context import StepContext
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo
from maskdistill.storage.run_folder import Run


def draw_button(context: StepContext) -> None:
    """A download of the page; it is made when it is asked for."""
    trained = context.trained
    config = context.config if trained is None else replace(context.config, features=trained.config.features)
    stem = context.photo.id.replace("/", "_")
    st.download_button(
        "Page for a class",
        partial(make_page, context.photo, config, None if trained is None else trained.run),
        f"{stem}-guide.html",
        "text/html",
        key="guide:handout",
        icon=":material/download:",
        help="All eight steps of this photo in one file that opens in any browser, without a server or a network.",
        on_click="ignore",
    )


def make_page(photo: Photo, config: RunConfig, run: Run | None) -> bytes:
    """The page as a file.

    Raises:
        MaskDistillError: If the photo or the run cannot be used.
    """
    from maskdistill.handouts.guide import guide_page
    from maskdistill.handouts.guide_subject import GuideSubject

    net = photo_cache.backbone(config.features)
    subject = GuideSubject.of(photo, config, net, run, photo_cache.forward_lock())
    return guide_page(subject).encode("utf-8")
