"""Training: the stages of a run, a form for each, the job at work, and the jobs before it."""

import streamlit as st

from app import selection, stage_jobs, stage_states, widgets
from app.stage_names import LABELS, switched_off
from app.training import form, history, live
from app.training.stage_cards import cards_of, default_stage, stage_cards
from maskdistill.errors import MaskDistillError
from maskdistill.jobs import list_jobs
from maskdistill.storage.run_folder import list_runs, runs_folder

st.title("Training")
st.caption("The first model learns from all masks; the second from those that the first agrees with.")
widgets.notices()

runs = {run.name: run for run in list_runs(runs_folder())}
run = runs.get(selection.current().run)
if run is None:
    if runs:
        st.info(
            "Choose a run in the sidebar on the left, or make a new one on the Start page.",
            icon=":material/arrow_back:",
        )
    else:
        st.info("There is no run yet. Choose photos on the Start page and find their masks first.")
    st.page_link("../pages/start.py", label="Choose photos", icon=":material/photo_library:")
    st.stop()

try:
    with st.spinner("Reading the state of the stages …"):
        states = stage_states.stage_states(run)
    jobs = list_jobs(run.path)
    coming = stage_jobs.coming_configs(run, jobs)[-1]
except MaskDistillError as error:
    st.error(widgets.escape(str(error)))
    st.stop()

if selection.current().stage not in LABELS:  # chosen once: the form must not change while a job goes on
    selection.select(stage=default_stage(states))
chosen = selection.current().stage
cards = cards_of(states, stage_jobs.stage_at_work(jobs), switched_off(coming))
stage_cards(cards, chosen, key="stages", on_pick=lambda name: selection.select(stage=name))

left, right = st.columns([1, 2], gap="large")
with left, st.container(key="stage-form"):
    form.draw(run, next(card for card in cards if card.name == chosen), jobs)
with right, st.container(key="live"):
    live.draw(run, coming, jobs)
history.draw(run, coming, jobs)
selection.write_link()
