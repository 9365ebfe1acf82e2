"""Left column: the settings of the chosen stage, what a start would make, how long that takes, and the buttons."""

from collections.abc import Sequence

import streamlit as st

from app import engine_choice, selection, session, stage_jobs, stage_states, widgets
from app.stage_names import TRAINED, describe_work, label_of
from app.training import draft, settings_form
from app.training.stage_cards import Card
from maskdistill.config import RunConfig
from maskdistill.errors import ConfigError, MaskDistillError
from maskdistill.jobs import Job
from maskdistill.stages.stage_list import BY_NAME, NAMES, with_needs
from maskdistill.storage.run_folder import Run

_TITLES = {"proposals": "Masks", "features": "Transformer", "crf": "CRF", "predictions": "Predictions"}


def sections_of(stage: str) -> tuple[str, ...]:
    """The sections of the settings that a stage's form shows; "" holds the seed."""
    own = ("proposals", "features", "crf") if stage == "proposals" else BY_NAME[stage].sections
    return (*own, "") if BY_NAME[stage].seeded else own


def draw(run: Run, card: Card, jobs: Sequence[Job]) -> None:
    """The form of one stage. Moving a setting redraws this column alone.

    Args:
        run: Run folder.
        card: The chosen stage.
        jobs: Of the run, newest first.
    """
    st.fragment(widgets.show_errors()(_draw))(run, card, jobs)


def _draw(run: Run, card: Card, jobs: Sequence[Job]) -> None:
    with st.container(gap="xxsmall"):
        st.subheader(card.label)
        st.caption(_summary(card))
    top = st.container(gap="small")  # above the fields, so that the button is in sight; filled once they are read
    try:
        coming = stage_jobs.coming_configs(run, jobs)[-1]
        start = draft.start_config(run, coming)
        if not _draw_fields(run, card.name, start):
            top.caption("A setting below cannot work, so nothing can be started.")
            return
        config = draft.typed_config(start)
    except ConfigError as error:
        top.error(str(error))
        return
    with top:
        engine_choice.draw()
        _draw_buttons(run, card.name, config, [job for job in jobs if job.state.is_active], config == coming)
        _draw_changes(coming, config)


def _summary(card: Card) -> str:
    summary = BY_NAME[card.name].summary
    state = "" if summary in card.text else f" {card.text}"
    return widgets.escape(f"{summary[0].upper()}{summary[1:]}.{state}")


def _draw_fields(run: Run, stage: str, start: RunConfig) -> bool:
    """Every section of the stage; False if a value cannot work: the reason then stands below the section."""
    name, preset = draft.preset_of(run)
    sections = sections_of(stage)
    if not sections:
        st.caption("No settings: this stage follows the decisions made on the Clusters page.")
        return True
    with st.container(border=True, gap="small"):
        found = []
        for section in sections:
            if len(sections) > 1 and section in _TITLES:
                st.markdown(f"**{_TITLES[section]}**")
            found.append(settings_form.draw(section, preset, start=start))
        st.button(
            f"Back to the preset {name}",
            icon=":material/restart_alt:",
            key=session.field_key(f"{stage}:preset"),
            type="tertiary",
            on_click=_reset,
            args=(sections, preset),
        )
    return None not in found


def _reset(sections: Sequence[str], preset: RunConfig) -> None:
    for section in sections:
        settings_form.reset(section, preset)


def _draw_changes(coming: RunConfig, config: RunConfig) -> None:
    """What was changed in any form, so that everything a start takes along is visible."""
    changes = draft.describe_changes(coming, config)
    if not changes:
        return
    with st.container(border=True, gap="xsmall"):
        st.markdown(":small[**Changed, not started yet**]")
        st.markdown("  \n".join(f":small[{widgets.escape(text)}]" for text in changes))
        st.button(
            "Discard",
            icon=":material/undo:",
            key=session.Key.DISCARD,
            type="tertiary",
            help="Back to the settings of the run",
            on_click=draft.forget,
        )


def _draw_buttons(run: Run, stage: str, config: RunConfig, active: Sequence[Job], unchanged: bool) -> None:
    """What a start would make, and the buttons; they are disabled while a job makes the same."""
    try:
        with widgets.scan_progress() as on_progress:
            work = stage_states.stages_to_make(run, config, with_needs((stage,), config), on_progress)
        left = stage_states.stages_to_make(run, config, list(NAMES))
        time, time_left = stage_states.time_needed(run, config, work), stage_states.time_needed(run, config, left)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    doing = [job for job in active if unchanged and stage in stage_jobs.stages_of(job)]
    st.caption(f"Job {doing[0].id} does this." if doing else f"{describe_work(work, stage)} {time}".rstrip())
    wait = " It waits for the job at work." if active else ""
    first, second = st.columns(2, gap="small")
    with first:
        verb = "Train" if stage in TRAINED else "Make"
        _button("Start", f"{verb} {label_of(stage)}.{wait}", run, config, stage, not work or bool(doing))
    with second:
        doing = [job for job in active if unchanged and NAMES[-1] in stage_jobs.stages_of(job)]
        help = f"Make every stage that is not up to date. {time_left}{wait}"
        _button("Run all", help, run, config, stage_jobs.ALL, not left or bool(doing))


def _button(label: str, help: str, run: Run, config: RunConfig, until: str, disabled: bool) -> None:
    if not st.button(
        label,
        help=help,
        icon=":material/fast_forward:" if until == stage_jobs.ALL else ":material/play_arrow:",
        type="secondary" if until == stage_jobs.ALL else "primary",
        key=f"training:{label}",
        width="stretch",
        disabled=disabled,
    ):
        return
    try:
        job, is_new = stage_jobs.start(run, config, until)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    if not is_new:
        session.notify(f"Job {job.id} does this already.")
    selection.select(job=0)
    st.rerun()
