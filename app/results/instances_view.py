"""The single objects of a photo above a score, in the colors of their classes."""

from pathlib import Path
from typing import Any

import streamlit as st

from app import photo_cache, widgets
from app.cache import newest, stamp
from app.components.layered_image import Layer, LayeredImage, View, layered_image
from app.run_view import RunView
from maskdistill.errors import MaskDistillError
from maskdistill.evaluation.label_names import LabelNames
from maskdistill.masks import decode_mask
from maskdistill.pictures import drawing
from maskdistill.pictures.colors import cluster_color
from maskdistill.stages.context import annotations_by_photo
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import Run

SHOWN = 20  # objects at once, the best
FIRST_SCORE = 0.5  # of the slider
Annotations = dict[int, list[dict[str, Any]]]


@widgets.show_errors()
def draw(run_view: RunView, names: LabelNames, number: int) -> None:
    """Slider and photo; nothing where the run has no such objects."""
    found = _instances_of(run_view.run).get(number)
    if found is None:
        return
    st.markdown("**Single objects of this photo**")
    least = st.slider("Least score", 0.0, 1.0, FIRST_SCORE, 0.01, key="results:least score", format="%.2f")
    passing = [item for item in found if item["score"] >= least]
    st.caption(_explain(len(passing), len(found)))
    photo = run_view.photos[number]
    try:
        image = LayeredImage(
            src=photo_cache.photo_url(photo),
            size=(photo.width, photo.height),
            alt=f"{photo.id}, {min(len(passing), SHOWN)} objects",
            height="520px",
            views=(View(tuple(_layer(item, names) for item in passing[:SHOWN]), "Objects"),),
            opacity=45,
            keep_settings="instances",
        )
    except MaskDistillError as error:
        st.warning(f"This photo cannot be shown. {widgets.escape(str(error))}", icon=":material/broken_image:")
        return
    layered_image(image, key="instances view")


def _explain(passing: int, all_found: int) -> str:
    shown = f", the best {SHOWN} are shown" if passing > SHOWN else ""
    return (
        f"{passing} of {all_found} objects reach that score{shown}. A score says how far the pool of candidates and "
        "the head that learnt where objects end agree; the class is the first model's."
    )


def _layer(item: dict[str, Any], names: LabelNames) -> Layer:
    label = item["category_id"]
    color = cluster_color(label)
    name = names.cluster(label) if label <= names.num_clusters else f"cluster {label}"
    src = drawing.png_url(drawing.mask_layer(decode_mask(item["segmentation"]), color))
    return Layer(src, smooth=False, outline=True, name=name, color=color, score=f"{item['score']:.2f}")


def _instances_of(run: Run) -> Annotations:
    """The objects of each photo of a run, best first; none where they are not made."""
    folder = run.instances
    files = (folder.record_path, folder.masks_path, folder.codes_path, run.stage_path("instances"))
    return _read(run.path, stamp(files))


@newest(size=2)
def _read(path: Path, _stamp: str) -> Annotations:
    run = Run(path)
    record = read_json_if_there(run.instances.record_path)
    if not record or not record["used"] or not run.fingerprint_of("instances"):
        return {}
    return annotations_by_photo(run.instances.codes_path)
