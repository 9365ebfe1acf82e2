"""The guide, put together: strip of steps, picture on the left, text and control on the right."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import streamlit as st

from app import job_status, photo_cache, selection, session, widgets
from app.components.layered_image import Layer, View, layered_image
from app.guide import handout, reference
from app.guide.controls import draw_control
from app.guide.mask_detail import restore_photo
from app.guide.photo_choice import draw_strip
from app.guide.photo_results import PhotoOnRun, TrainedRun, read_trained
from app.guide.picture import KEY, step_image
from app.guide.step_context import StepContext
from app.guide.step_list import FULL, current_step, go_to, is_full_screen
from app.guide.stepper import stepper
from app.guide.steps.clusters import chosen_cluster, draw_clusters
from app.guide.steps.filter import draw_filter
from app.guide.steps.models import draw_final_model, draw_first_model
from app.guide.steps.proposals import draw_affinity, draw_cut, draw_patches, draw_photo
from app.mask_detail.dialog import show_detail
from app.run_context import RunContext, current_photo
from app.selection import Option
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo
from maskdistill.errors import MaskDistillError
from maskdistill.handouts.guide_texts import EARLY, PUBLISHED_CUT, STEPS, WITHOUT_RUN, StepText
from maskdistill.jobs import JobState, current_job
from maskdistill.pictures import colors
from maskdistill.pictures.overlays import mask_layer
from maskdistill.review.decisions import Scope
from maskdistill.storage.run_folder import list_runs, runs_folder

STYLE = Path(__file__).parent / "guide.css"
FIRST_TRAINED = 5  # step from which a trained run is needed
_PICTURES: tuple[Callable[[StepContext], str], ...] = (
    draw_photo,
    draw_patches,
    draw_affinity,
    draw_cut,
    draw_clusters,
    draw_first_model,
    draw_filter,
    draw_final_model,
)


def draw(context: RunContext) -> None:
    """Everything of the page; guide.css knows by the container's key for which screen."""
    full, step = is_full_screen(), current_step()
    restore_photo()
    with st.container(key="guide-full" if full else "guide-page"):
        if not full:
            st.title("Guide")
        top = st.container()
        stepper(step, full, key="guide:steps", on_go=go_to, on_screen=_set_screen)
        try:
            step_context = _resolve(context, step)
            _draw_step(step, step_context, full)
        except MaskDistillError as error:
            st.error(widgets.escape(str(error)))
            if step > 1:
                st.button("Choose another photo", icon=":material/photo_library:", on_click=go_to, args=(1,))
        with top:
            widgets.notices()
    selection.write_link()


def show_masks() -> None:
    """The detail of a mask of the run of steps 5 to 8, if one was clicked."""
    trained = _find_trained()
    if trained is not None:
        show_detail(trained.masks, Scope.LABELS)


def _set_screen(full: bool) -> None:
    selection.set_option(Option.SCREEN, FULL if full else "")


def _resolve(context: RunContext, step: int) -> StepContext:
    """Resolve photo, settings and trained run; read the photo if it was not before."""
    trained = _find_trained()
    if context.run is None and trained is not None:  # the same features for all steps: one forward pass
        context = replace(context, base=replace(context.base, features=trained.config.features))
    photos = context.source.photos
    photo = current_photo(photos)
    config, changes = selection.apply_changes(context.base, selection.current().changes)
    selection.select(changes=changes)
    if trained is not None and not _prepare(trained, photo, context.base):
        trained = None
    features = config.features if trained is None or step < FIRST_TRAINED else trained.config.features
    live = photo_cache.live(features, config.proposals, config.crf, photo)
    return StepContext(context, photos, photo, config, live, trained)


def _find_trained() -> TrainedRun | None:
    """The run of steps 5 to 8; one that cannot be read must not keep the first four from working."""
    runs = {run.name: run for run in list_runs(runs_folder())}
    wanted = selection.option(Option.MODEL)
    if wanted and wanted not in runs:
        session.notify(f"There is no run '{wanted}' in {runs_folder()}, so another one stands for steps 5 to 8.")
        selection.set_option(Option.MODEL, "")
    try:
        run = reference.reference_run(runs)
        return None if run is None else read_trained(run)
    except MaskDistillError as error:
        session.notify(f"Steps 5 to 8 cannot be shown. {error}")
        return None


def _prepare(trained_run: TrainedRun, photo: Photo, base: RunConfig) -> bool:
    """Compute what steps 5 to 8 show of a new photo; False if the run's models cannot be used."""
    photo_on_run = PhotoOnRun(trained_run, photo, base.proposals, base.crf)
    try:
        photo_on_run.prepare()
    except MaskDistillError as error:
        session.notify(f"Steps 5 to 8 cannot be shown. {error}")
        return False
    return True


def _draw_step(step: int, context: StepContext, full: bool) -> None:
    words = STEPS[step - 1]
    picture, text = st.columns([2.1, 1] if full else [2.2, 1], gap="medium", wrap=False)
    missing = step >= FIRST_TRAINED and context.trained is None
    with picture, st.container(key=f"guide-picture-{step}", gap="small"):
        if missing or (step >= FIRST_TRAINED and context.photo_on_run is not None and not context.photo_on_run.masks):
            facts = _draw_mask_only(context)
        else:
            facts = _PICTURES[step - 1](context)
        st.caption(widgets.escape(". ".join([facts, *_origin(step, context)])))
        if step == 1:
            draw_strip(context)
    with text, st.container(key="guide-words", gap="small"):
        _draw_texts(words, context)
        if missing:
            _offer_class_run(context, WITHOUT_RUN)
        else:
            draw_control(step, context)
        if step == 1 and context.trained is None:
            _offer_class_run(context, EARLY)
        _draw_link(step, words, context)
        if not full:
            handout.draw_button(context)


def _origin(step: int, context: StepContext) -> list[str]:
    """Which run the picture comes from, and the problem with the mask, if there is one."""
    problem = context.live.proposals.problem
    imported = None if context.run_context.run is None else context.run_context.run.imported
    if step == FIRST_TRAINED - 1 and imported is not None:
        return [f"This is the program's own cut; the run's masks were brought from {imported['from']}"]
    if step < FIRST_TRAINED or context.trained is None:
        return [problem] if step == FIRST_TRAINED - 1 and problem else []
    where = "" if context.trained.number_of(context.photo) is not None else "; this photo is not one of its own"
    return [f"Run {context.trained.run.name}{where}"]


def _draw_texts(words: StepText, context: StepContext) -> None:
    published = words is STEPS[3] and context.config.proposals.engine == "published"
    st.header(words.title)
    st.markdown(PUBLISHED_CUT if published else words.what)
    st.markdown(f":material/visibility: {words.observe}")
    st.markdown(f":material/warning: {words.caution}")


def _draw_mask_only(context: StepContext) -> str:
    masks = context.live.proposals.proposals
    layers = tuple(Layer.of_image(mask_layer(item.mask, colors.mask_color(0))) for item in masks[:1])
    alt = f"The mask of {context.photo.id}" if masks else context.photo.id
    layered_image(replace(step_image(context, alt), views=(View(layers),)), key=KEY)
    return "The mask of step 4" if masks else "Step 4 found no mask, which the later steps need: move τ there"


def _offer_class_run(context: StepContext, why: str) -> None:
    folder, run, features = reference.class_folder(), context.run_context.run, context.config.features
    untrained = "" if run is None else f" The run **{widgets.escape(run.name)}** has no final model: Training makes it."
    st.info(why + untrained)
    job = current_job(folder)
    if job is not None and job.state is not JobState.DONE:
        job_status.draw(folder, "guide")
        return
    seconds = reference.seconds_needed(features)
    label = "Prepare the class run" + ("" if seconds is None else f" (about {seconds} s)")
    st.button(label, type="primary", icon=":material/play_arrow:", on_click=reference.prepare, args=(features,))


def _draw_link(step: int, words: StepText, context: StepContext) -> None:
    st.page_link(
        f"../pages/{words.page}.py",
        label=words.link,
        icon=":material/arrow_outward:",
        query_params=_link(step, words, context),
    )


def _link(step: int, words: StepText, context: StepContext) -> dict[str, list[str]] | None:
    """From step 5 on to the run that was shown, at this photo if it has it; before, the selection goes along anyway."""
    trained = context.trained
    if step < FIRST_TRAINED or trained is None:
        return None
    number = trained.number_of(context.photo)
    photo = "" if number is None else trained.masks.photos[number].id
    cluster = chosen_cluster(trained) if step == FIRST_TRAINED else 0
    return selection.link_to(
        run=trained.run.name, photo=photo, stage=words.stage, cluster=cluster, mask=None, patch=None
    )
