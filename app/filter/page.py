"""The part of the Filter page that is drawn again as a threshold moves."""

import streamlit as st

from app import selection, widgets
from app.filter import border_gallery, kept_counts, other_settings, presets, quality, train_button
from app.filter.data import active_field, change, read_candidates, settings_on_show
from app.filter.histograms import histograms
from app.run_view import read_run_view
from maskdistill.pseudo_labels.filter import filter_masks
from maskdistill.storage.run_folder import Run

_FEW_CLUSTERS = 20  # that fit below the galleries; more take the whole width


@st.fragment(key="filter")
@widgets.show_errors()
def draw(run: Run) -> None:
    """Everything below the title, from the run's files as they are now."""
    top = st.container()
    candidates = read_candidates(read_run_view(run))
    base, config = settings_on_show(run)
    shown = config.filter
    result = filter_masks(candidates.signals, shown)
    field = active_field(shown)
    known = presets.known_presets(run, base)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        presets.draw_choice(base, shown, known)
        presets.draw_saving(run, shown, known)
        st.space("stretch")
        train_button.draw_button(run, shown, result)
    left, right = st.columns([1, 1], gap="medium")
    with left:
        histograms(
            candidates,
            shown,
            result,
            active=field,
            key="filter:histograms",
            on_move=lambda values: change(base, **values),
            on_choose=_show_border,
        )
        train_button.draw_disk(candidates.kept_on_disk, result)
        other_settings.draw(base, shown)
        kept_counts.draw_rules(shown, result)
    with right:
        border_gallery.draw(candidates, shown, result, field)
    with right if len(candidates.signals.clusters.ids) <= _FEW_CLUSTERS else st.container():
        kept_counts.draw_clusters(candidates, shown, result)
    if candidates.truth_iou is not None:
        quality.draw(candidates, shown, result, field)
    presets.draw_table(candidates, base, shown, result, known)
    with top:
        widgets.notices()
    selection.write_link()


def _show_border(field: str) -> None:
    selection.set_option(selection.Option.BORDER, field)
    selection.set_option(selection.Option.RULE, "")
