"""New photos: drop them in to see what the run's models predict."""

import hashlib
from functools import partial
from typing import Any

import streamlit as st

from app import session, uploads, widgets
from app.components.layered_image import PHOTO, Side
from app.results import cached_reads
from app.results.compare_view import compare_view
from app.results.segmenting import FINAL, FINAL_CRF, Models, SegmentedPhoto, models, segment, too_large, trained_models
from app.run_view import RunView
from maskdistill.errors import DatasetError, MaskDistillError
from maskdistill.evaluation.label_names import LabelNames
from maskdistill.evaluation.run_label_maps import STAGE1
from maskdistill.pictures import drawing
from maskdistill.proposals.crf import crf_available

_MOST = 12  # photos kept in a session
_TITLES = {STAGE1: "Stage 1", FINAL: "Final", FINAL_CRF: "Final + CRF"}


def draw(run_view: RunView, names: LabelNames) -> None:
    """The whole view."""
    if not trained_models(run_view.run):
        st.info("No model of this run is trained yet. Train it first, then drop in photos.", icon=":material/school:")
        st.page_link("../pages/training.py", label="Train", icon=":material/model_training:")
        return
    left, right = st.columns([1, 2.6], gap="large")
    with left:
        files = st.file_uploader(
            "New photos",
            accept_multiple_files=True,
            max_upload_size=uploads.MAX_FILE_MB,
            key="results:upload",
            help="They are kept in memory for this session only, not in the run.",
        )
        crf = crf_available() and st.toggle(
            "Refine with the CRF",
            key="results:crf",
            persist_state="session",
            help="Moves borders to the photo's edges.",
        )
    with right:
        kept, refused = _segment_all(run_view, files, crf)
        with left:
            for name, reason in refused:
                st.warning(f"**{widgets.escape(name)}** is left out. {widgets.escape(reason)}", icon=":material/block:")
            chosen = _choose(kept)
        if chosen is None:
            st.info("Drop a JPEG, PNG, WebP, BMP or TIFF file on the left. Both models label it in a few seconds.")
            return
        _draw_photo(chosen, names)
    with left:
        _draw_facts(chosen)


def _segment_all(
    run_view: RunView, files: list[Any], crf: bool
) -> tuple[dict[str, SegmentedPhoto], list[tuple[str, str]]]:
    """Photos of this session by digest, the last dropped first; and files that were refused, with the reason."""
    key = str(run_view.run.path), crf
    kept: dict[str, SegmentedPhoto] = session.recall(session.Key.DROPPED_PHOTOS, {}).get(key, {})
    refused = []
    for file in files or []:
        content = file.getvalue()
        digest = hashlib.blake2b(content, digest_size=12).hexdigest()
        if digest in kept:
            continue
        try:
            if reason := too_large(file.size):
                raise DatasetError(reason)
            with st.spinner(f"Labelling {widgets.escape(file.name)} …", show_time=True):
                kept = {digest: segment(content, file.name, _models(run_view), crf=crf), **kept}
        except DatasetError as error:
            refused.append((file.name, str(error)))
        except MaskDistillError as error:
            st.error(widgets.escape(str(error)))
            break
    kept = dict(list(kept.items())[:_MOST])
    session.remember(session.Key.DROPPED_PHOTOS, {**session.recall(session.Key.DROPPED_PHOTOS, {}), key: kept})
    return kept, refused


def _models(run_view: RunView) -> Models:
    return models(run_view.run)


def _choose(kept: dict[str, SegmentedPhoto]) -> SegmentedPhoto | None:
    if len(kept) < 2:
        return next(iter(kept.values()), None)
    digest = st.selectbox("Photo", list(kept), format_func=lambda item: kept[item].name, key="results:dropped")
    return kept.get(digest) or next(iter(kept.values()))


def _draw_photo(chosen: SegmentedPhoto, names: LabelNames) -> None:
    sides = [Side(PHOTO, "Photo", "")]
    sides += [Side(kind, _TITLES[kind], cached_reads.label_url(labels)) for kind, labels in chosen.maps.items()]
    kinds = [side.kind for side in sides]
    pair = (kinds[-2], kinds[-1])
    compare_view(
        drawing.jpeg_url(chosen.image),
        chosen.image.size,
        f"Photo {chosen.name}",
        sides,
        {"clusters": names.clusters()},
        pair,
        key="compare dropped",
    )


def _draw_facts(chosen: SegmentedPhoto) -> None:
    height, width = chosen.size
    times = [f"{_TITLES[kind]} {seconds:.1f} s" for kind, seconds in chosen.seconds.items()]
    small = max(chosen.size) > max(chosen.image.size)
    copy = f" The models read a copy of {chosen.image.width} × {chosen.image.height} px." if small else ""
    st.caption(
        f"**{widgets.escape(chosen.name)}**, {width} × {height} px.{copy} Time, transformer included: "
        f"{', '.join(times)}."
    )
    kind = list(chosen.maps)[-1]
    stem = chosen.name.rpartition(".")[0] or chosen.name
    st.download_button(
        f"{_TITLES[kind]} as palette PNG",
        partial(_png, chosen, kind),
        f"{stem}-{kind}.png",
        "image/png",
        icon=":material/download:",
        on_click="ignore",
        help="At the photo's own size: 0 background, n the n-th cluster, in the colours of PASCAL VOC.",
    )


def _png(chosen: SegmentedPhoto, kind: str) -> bytes:
    return drawing.png_bytes(chosen.palette_png(kind))
