"""Third part of the Start page: the backbone, the run's name, the button that starts, and the job's progress."""

import re
from pathlib import Path

import streamlit as st

from app import engine_choice, job_status, page_switch, photo_cache, selection, session, widgets
from app.run_context import PRESET, free_run_name, name_problem
from app.start import masks_form
from maskdistill.cli.job_command import submit_command, submit_run
from maskdistill.config import load_preset
from maskdistill.datasets import PhotoSource
from maskdistill.errors import MaskDistillError
from maskdistill.stages.time_estimates import estimate, work_of_source
from maskdistill.storage.run_folder import Run, runs_folder

BACKBONES = {
    "auto": "Automatic",
    "dino_vits16": "DINO ViT-S/16",
    "dino_vits8": "DINO ViT-S/8 (finer, slower)",
    "dinov2_vits14": "DINOv2 ViT-S/14",
    "dinov2_vits14_reg": "DINOv2 ViT-S/14 with registers",
    "focus_vits14": "Focus ViT-S/14 (offline)",
}
_KNOWN = frozenset(BACKBONES)  # names that need no check before the button is drawn


def draw(source: PhotoSource) -> None:
    """The whole form. The description of the weights and the estimate may ask the network: they are filled in last."""
    backbone = _choose_backbone()
    weights = st.container()
    brought = masks_form.draw()
    name = _ask_name(source, bring=brought is not None)
    if brought is None:
        engine_choice.draw()
    duration = st.empty()
    if backbone not in _KNOWN:
        with weights:
            if not _describe_backbone(backbone):
                return
    if name:
        _draw_button(source, name, backbone, brought)
    with weights:
        usable = backbone not in _KNOWN or _describe_backbone(backbone)
    if name and usable and brought is None:
        duration.caption(_estimate(source, backbone))


def _choose_backbone() -> str:
    return st.selectbox(
        "Transformer",
        list(BACKBONES),
        format_func=lambda name: BACKBONES.get(name, name),
        accept_new_options=True,
        key=session.Key.BACKBONE,
        persist_state="session",
        help="Automatic: DINO if its weights are on this machine or can be downloaded, else the offline package. "
        "The name of a timm model can be typed too.",
    )


def _describe_backbone(name: str) -> bool:
    """Which weights are used and why; False if there are none."""
    try:
        choice = photo_cache.choice(name)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return False
    pure = choice.spec.source != "focus"
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**{widgets.escape(choice.spec.name)}**")
        st.markdown(f":small[{widgets.escape(choice.spec.weights)}]")
        if name == "auto":
            st.caption(f"Chosen because {widgets.escape(choice.reason)}.")
        if not pure:
            st.badge("Not purely self-supervised", icon=":material/info:", color="orange")
    return True


def _ask_name(source: PhotoSource, *, bring: bool) -> str:
    """Ask for the run's name; empty if it is not usable."""
    stem = Path(source.spec).name if source.kind not in ("sample", "sample-views") else source.kind
    if session.recall(session.Key.DROP_FOLDER) == source.spec:
        stem = Path(source.spec).parent.name
    suggested = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip(".-")[:50] or "run"
    named_for = f"{source.spec}, brought" if bring else source.spec
    if session.recall(session.Key.NAMED_FOR) != named_for:  # a name typed by hand stays until other photos are chosen
        session.remember(session.Key.NAMED_FOR, named_for)
        free = _is_free_or_same(suggested, source, bring=bring)
        session.sync_widget(session.Key.RUN_NAME, suggested if free else free_run_name(suggested))
    name = st.text_input(
        "Name of the run", key=session.Key.RUN_NAME, persist_state="session", help="The run's folder gets this name."
    )
    problem = name_problem(name)
    if problem:
        st.error(widgets.escape(problem))
    return "" if problem else name


def _is_free_or_same(name: str, source: PhotoSource, *, bring: bool) -> bool:
    run = Run(runs_folder() / name)
    try:
        info = run.info() if run.exists else None
        return info is None or (info.get("data") == source.spec and ("imported" in info) == bring)
    except MaskDistillError:  # a damaged run is left alone
        return False


def _estimate(source: PhotoSource, backbone: str) -> str:
    """How long the masks will take on this machine."""
    config = load_preset(PRESET).with_overrides([f"features.backbone={photo_cache.choice(backbone).spec.name}"])
    return estimate(work_of_source(source, config), ["proposals"], config).sentence


def _draw_button(source: PhotoSource, name: str, backbone: str, brought: masks_form.Brought | None) -> None:
    """The primary button, the job's progress, and a way to the masks."""
    run = runs_folder() / name
    running = job_status.is_running(run)
    kind = "find" if brought is None else "bring"
    help = "Name the masks first: a path on this machine, or a dropped file." if brought and not brought.path else None
    if st.button(
        masks_form.BUTTONS[kind],
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        disabled=running or help is not None,
        help=help,
        key=f"start:{kind}",
    ):
        try:
            _submit(run, source, backbone, brought)
        except MaskDistillError as error:
            st.error(widgets.escape(str(error)))
            return
        session.remember(session.Key.STARTED, name)
        st.rerun()
    if (
        brought is None
        and not running
        and st.button(
            "Try settings first",
            icon=":material/tune:",
            width="stretch",
            help="Try the settings on single photos, before the masks of all are found.",
        )
    ):
        selection.open_data(source.spec, () if backbone == "auto" else (f"features.backbone={backbone}",))
        page_switch.go("proposals")
    job_status.draw(run, "start")
    if job_status.is_done(run) and Run(run).exists:
        _open_masks(name)


def _submit(run: Path, source: PhotoSource, backbone: str, brought: masks_form.Brought | None) -> None:
    if brought is not None:
        arguments = brought.arguments(source.spec, backbone)
        submit_command(run, [*arguments, "--preset", PRESET], title="Bringing masks")
        return
    overrides = [f"features.backbone={backbone}"]
    submit_run(run, source.spec, preset=PRESET, overrides=overrides, title="Finding masks", flags=engine_choice.flags())


def _open_masks(name: str) -> None:
    """Open the masks once a job that this session started is done; otherwise a button opens them."""
    if session.recall(session.Key.STARTED) == name:
        session.remember(session.Key.STARTED, None)
        selection.open_run(name)
        page_switch.go("proposals")
    if st.button("See the masks", icon=":material/arrow_forward:", width="stretch"):
        selection.open_run(name)
        page_switch.go("proposals")
