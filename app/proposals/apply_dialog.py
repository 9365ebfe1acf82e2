"""Dialog: use the settings on show for all photos, as a run in the background."""

import streamlit as st

from app import engine_choice, selection, session, widgets
from app.proposals import setting_controls
from app.run_context import PRESET, RunContext, free_run_name, name_problem, overrides_from
from maskdistill.cli.job_command import submit_run
from maskdistill.config import load_preset
from maskdistill.errors import MaskDistillError
from maskdistill.storage.run_folder import runs_folder


@st.dialog(
    "Apply to all photos", icon=":material/done_all:", on_dismiss=lambda: session.remember(session.Key.APPLY, False)
)
def draw(context: RunContext) -> None:
    """Ask for the run's name and start it."""
    count = len(context.source.photos)
    changes = selection.current().changes
    st.write(
        f"Finds the masks of all {count} photos with these settings: {setting_controls.describe_changes(changes)}."
    )
    stem = context.run.name if context.run else context.source.kind
    name = st.text_input("Name of the new run", value=free_run_name(stem), validate=r"^[\w.-]{1,60}$")
    if not st.button("Find masks", type="primary", icon=":material/play_arrow:", width="stretch"):
        return
    problem = name_problem(name)
    if problem:
        st.error(widgets.escape(problem))
        return
    config = context.base.with_overrides(changes)
    overrides = overrides_from(load_preset(PRESET), config)
    try:
        run = runs_folder() / name
        flags = engine_choice.flags()
        submit_run(run, context.source.spec, preset=PRESET, overrides=overrides, title="Finding masks", flags=flags)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    session.remember(session.Key.APPLY, False)
    session.remember(session.Key.STARTED, name)
    st.rerun()
