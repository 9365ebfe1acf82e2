"""The part of the Proposals page that is drawn again by itself: thumbnails, photo, controls, comparison, derivation."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from app import photo_cache, selection, session, widgets
from app.components.image_grid import Tile, photo_grid, photo_tile
from app.components.layered_image import View
from app.proposals import brought_masks, downloads, mending, setting_controls
from app.proposals.photo_view import photo_view
from app.proposals.pool_steps import pool_section
from app.proposals.run_foreground import RunForeground, foreground_steps, foreground_view, run_foreground
from app.proposals.step_gallery import Section, step_gallery
from app.run_context import RunContext, current_photo, sorted_photos
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo
from maskdistill.datasets.photo_table import number_of
from maskdistill.errors import MaskDistillError, RunError
from maskdistill.pictures import derivation
from maskdistill.proposals.live import LiveProposals

PAGE = 24  # thumbnails in the strip
COMPARE_LABELS = {
    "": "Nothing",
    "run": "The run's settings",
    "published": "Published rule",
    "pinned": "Pinned settings",
}
SORT_LABELS = {"order": "In order", "worst": "Worst score first", "best": "Best score first"}


def draw(context: RunContext) -> None:
    """Everything below the title."""
    top = st.container()
    photos = sorted_photos(context, selection.current().sort)
    photo = current_photo(photos)
    config, changes = selection.apply_changes(context.base, selection.current().changes)
    selection.select(changes=changes)
    _draw_strip(context, photos, photo)
    if told := brought_masks.describe(context):
        st.info(told, icon=":material/input:")
    left, right = st.columns([2.75, 1], gap="medium", wrap=False)
    with right, st.container(key="settings"):  # page.css gives it a least width
        _draw_settings(context, config)
        mending.draw_button(context, photo)
    with left:
        live = _draw_photos(context, photo, config)
    if live is not None:
        _draw_derivation(context, photo, live)
        with right:
            downloads.draw(photo, config, live)
            st.caption(f"Masks made in {live.milliseconds:.0f} ms from cached features, without a new forward pass.")
    with top:
        widgets.notices()
    selection.write_link()


def _draw_strip(context: RunContext, photos: Sequence[Photo], photo: Photo) -> None:
    place = number_of(photos, photo.id) or 0
    page, pages = 1, -(-len(photos) // PAGE)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _step_button("Previous", "chevron_left", "p", photos, place - 1)
        _step_button("Next", "chevron_right", "n", photos, place + 1)
        st.markdown(
            f"**{widgets.escape(_short(photo.id))}** · {photo.width} × {photo.height} px · {place + 1} of {len(photos)}"
        )
        if pages > 1:
            # Another photo or order makes a new widget, which begins at the page of the photo.
            key = f"{session.Key.STRIP_PAGE}:{pages}:{selection.current().sort}:{photo.id}"
            page = st.pagination(pages, default=place // PAGE + 1, key=key, max_visible_pages=7)
        if context.scores:
            key = session.sync_widget(session.Key.SORT, selection.current().sort)
            st.selectbox(
                "Sort",
                list(SORT_LABELS),
                key=key,
                format_func=lambda name: SORT_LABELS[name],
                label_visibility="collapsed",
                width=190,
                on_change=lambda: selection.select(sort=session.widget_value(session.Key.SORT)),
            )
    shown = photos[(page - 1) * PAGE : page * PAGE]
    items = [_thumb(context, item) for item in shown]
    photo_grid(items, key="strip", layout="strip", selected=photo.id, on_open=lambda id: selection.select(photo=id))


def _thumb(context: RunContext, photo: Photo) -> Tile:
    if photo.id in context.problems:
        return photo_tile(photo, "check", warn=True)
    score = context.scores.get(photo.id)
    return photo_tile(photo, "" if score is None else f"{score:.2f}")


def _step_button(label: str, icon: str, shortcut: str, photos: Sequence[Photo], place: int) -> None:
    inside = 0 <= place < len(photos)
    target = photos[place].id if inside else ""
    st.button(
        label,
        icon=f":material/{icon}:",
        key=f"step:{label}",
        shortcut=shortcut,
        disabled=not inside,
        on_click=partial(selection.select, photo=target),
    )


def _draw_settings(context: RunContext, config: RunConfig) -> None:
    try:
        net = photo_cache.backbone(config.features)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    with st.container(border=True, gap="xsmall"):
        setting_controls.draw_controls(context.base, config, net.depth, net.num_heads)
        with st.container(horizontal=True, gap="xsmall"):
            st.button(
                "Reset",
                icon=":material/restart_alt:",
                disabled=config == context.base,
                width="stretch",
                help="Back to the run's own settings" if context.run else "Back to the defaults",
                on_click=selection.reset_settings,
            )
            help = "Find the masks of all photos with these settings"
            if st.button("Apply to all", icon=":material/done_all:", width="stretch", help=help):
                session.remember(session.Key.APPLY, True)
                st.rerun()
    _draw_compare()


def _draw_compare() -> None:
    key = session.sync_widget(session.Key.COMPARE, selection.current().compare)
    options = [name for name in selection.COMPARISONS if name != "pinned" or selection.current().compare == "pinned"]
    st.selectbox(
        "Compare with",
        options,
        key=key,
        format_func=lambda name: COMPARE_LABELS[name],
        help="A second picture of the same photo. Pinning keeps these settings beside those that you try next.",
        on_change=lambda: selection.select(compare=session.widget_value(session.Key.COMPARE)),
    )
    st.button("Pin these settings beside", icon=":material/keep:", width="stretch", on_click=_pin)


def _pin() -> None:
    selection.select(compare="pinned", pinned=selection.current().changes)


def _draw_photos(context: RunContext, photo: Photo, config: RunConfig) -> LiveProposals | None:
    chosen = selection.current()
    if not chosen.compare:
        return _draw_photo(context, photo, config, "A", max_height=560)
    first, second = st.columns(2, gap="small")
    with first:
        st.markdown(f"**Now** · {setting_controls.describe_changes(chosen.changes)}")
        live = _draw_photo(context, photo, config, "A", max_height=460)
    with second:
        other, text = _other_settings(context, config)
        st.markdown(f"**{COMPARE_LABELS[chosen.compare]}** · {text}")
        _draw_photo(context, photo, other, "B", max_height=460)
    return live


def _other_settings(context: RunContext, config: RunConfig) -> tuple[RunConfig, str]:
    chosen = selection.current()
    if chosen.compare == "published":
        values = "top 40 %, mass 50 %, 5 heads, keys"
        fresh = replace(RunConfig().proposals, engine="published")
        return replace(config, proposals=fresh, crf=replace(config.crf, enabled=False)), values
    if chosen.compare == "pinned":
        other, good = selection.apply_changes(context.base, chosen.pinned)
        return other, setting_controls.describe_changes(good)
    return context.base, "as saved" if context.run else "the defaults"


def _draw_photo(
    context: RunContext, photo: Photo, config: RunConfig, side: str, max_height: int
) -> LiveProposals | None:
    try:
        live = photo_cache.live(config.features, config.proposals, config.crf, photo)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return None
    patch = _valid_patch(live)
    mark = patch or derivation.default_patch(live, 0)
    step = None if mark is None else derivation.affinity_step(live, mark, "Affinity")
    found = _foreground(context, photo, live)
    more = () if found is None else (foreground_view(found),)
    brought = _brought(context, photo)
    photo_view(photo, live, step, patch, key=f"photo:{side}", max_height=max_height, more=more, first=brought)
    if live.proposals.problem:  # below the photo, so that two photos side by side stay level
        st.warning(widgets.escape(live.proposals.problem), icon=":material/warning:")
    return live


def _brought(context: RunContext, photo: Photo) -> View | None:
    """The masks that were brought into the run, if its masks are not its own."""
    try:
        return brought_masks.brought_view(context, photo)
    except RunError as error:
        session.notify(f"The masks of the run are left out. {error}")
        return None


def _foreground(context: RunContext, photo: Photo, live: LiveProposals) -> RunForeground | None:
    """What the run has on the photo, if that lies on the patches on show."""
    try:
        found = run_foreground(context, photo)
    except RunError as error:
        session.notify(f"The foreground is left out. {error}")
        return None
    return found if found is not None and found.probability.shape == live.view.features.grid else None


def _valid_patch(live: LiveProposals) -> tuple[int, int] | None:
    patch = selection.current().patch
    rows, cols = live.view.features.grid
    if patch is not None and (patch[0] >= rows or patch[1] >= cols):
        session.notify(f"The link's patch {patch[0]}-{patch[1]} lies outside this photo's {rows} × {cols} patches.")
        selection.select(patch=None)
        return None
    return patch


def _draw_derivation(context: RunContext, photo: Photo, live: LiveProposals) -> None:
    rank = 0
    brought = context.run is not None and context.run.imported is not None
    st.header("How the program would cut it" if brought else "How the mask was made")
    if len(live.proposals.proposals) > 1:
        names = [f"Mask {number + 1}" for number in range(len(live.proposals.proposals))]
        chosen = st.segmented_control("Mask", names, default=names[0], required=True, key=session.Key.RANK)
        rank = names.index(chosen) if chosen in names else 0
    sections = _sections(live, rank, _foreground(context, photo, live))
    step_gallery(photo, live.view.geometry, sections, key="derivation")


def _sections(live: LiveProposals, rank: int, found: RunForeground | None) -> list[Section]:
    sections = [
        Section(
            "1. What the transformer attends to",
            "Attention of the token CLS, which stands for the whole photo, to every patch in the last block. "
            "Click a picture to see it large.",
            derivation.attention_steps(live),
        ),
        Section("2. From the seed to the mask", _rule(live), derivation.mask_steps(live, rank), min_width=200),
    ]
    if found is not None:
        text = (
            "Learnt across photos, as this run has it. A cut knows one photo only; what is background on most photos, "
            "such as street or quay, is recognised here. These masks count in all that follows."
        )
        sections.append(Section("3. What other photos say", text, foreground_steps(found), min_width=200))
    pool = pool_section(live, found, len(sections) + 1)
    sections += [] if pool is None else [pool]
    patch = selection.current().patch
    if patch is None:
        return sections
    step = derivation.affinity_step(live, patch, f"Patch in row {patch[0] + 1}, column {patch[1] + 1}")
    title = f"{len(sections) + 1}. The patch you clicked"
    return [*sections, Section(title, "How similar every patch is to it.", [step], min_width=200)]


def _rule(live: LiveProposals) -> str:
    if live.recipe.config.engine == "published":
        return (
            "Published rule: the most attended patches are candidates. Those similar to the seed are kept; "
            "the patches similar to them make the mask."
        )
    return "Similar patches are linked; the graph is cut in two where the links are weakest."


def _short(name: str, length: int = 48) -> str:
    return name if len(name) <= length else f"…{name[-length:]}"
