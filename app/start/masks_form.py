"""Where the masks come from: found by the program, or made elsewhere and brought."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app import session, uploads, widgets
from app.run_context import free_run_name
from maskdistill.storage.run_folder import runs_folder

KINDS = {"find": "Find them", "bring": "Bring them"}
BUTTONS = {"find": "Find masks", "bring": "Bring masks"}
SUFFIXES = ("json", "txt", "png")


@dataclass(frozen=True)
class Brought:
    """What a person names as masks; "" while nothing is named."""

    path: str
    images: str = ""  # COCO file that says which photo an image_id means

    def arguments(self, data: str, backbone: str) -> list[str]:
        """What a person would type after ``maskdistill``."""
        images = ["--images", self.images] if self.images else []
        return ["import", "--data", data, "--masks", self.path, *images, "--backbone", backbone]


def draw() -> Brought | None:
    """Ask for it; None where the program finds the masks."""
    kind = st.segmented_control(
        "Masks",
        list(KINDS),
        default="find",
        required=True,
        format_func=KINDS.__getitem__,
        key=session.Key.MASKS_KIND,
        persist_state="session",
        width="stretch",
    )
    if kind != "bring":
        return None
    path = st.text_input(
        "Masks on this machine",
        key=session.Key.MASKS_PATH,
        persist_state="session",
        placeholder="masks.json, or a folder of masks",
        help="COCO json, a list of COCO results, json of Segment Anything, YOLO text, PNG, VOC, or FiftyOne's export. "
        "They are matched with the photos by their names.",
    ).strip()
    dropped = "" if path else _ask_drop()
    images = st.text_input(
        "COCO file of the photos",
        key=session.Key.MASKS_IMAGES,
        persist_state="session",
        placeholder="only for results with an image_id",
        help="A detector's list of results names photos by number; this file says which photo each number is.",
    ).strip()
    st.caption("SAM, CutLER, Mask R-CNN or people: the masks stay as they are, and go through all that follows.")
    return Brought(path or dropped, images)


def _ask_drop() -> str:
    """The place of a file that was dropped, "" for none; the box is emptied once it is written."""
    turn = session.recall(session.Key.MASKS_TURN, 0)
    file = st.file_uploader(
        "Or drop a file of masks",
        type=list(SUFFIXES),
        max_upload_size=uploads.MAX_FILE_MB,
        key=f"masks drop {turn}",
    )
    if file is not None:
        folder = runs_folder() / free_run_name("dropped") / "masks"
        session.remember(session.Key.MASKS_DROPPED, str(uploads.keep_file(file, folder.absolute())))
        session.remember(session.Key.MASKS_TURN, turn + 1)
        st.rerun()
    dropped = session.recall(session.Key.MASKS_DROPPED, "")
    if dropped:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f":material/draft: {widgets.escape(Path(dropped).name)}")
            st.button("Take another", type="tertiary", on_click=session.remember, args=(session.Key.MASKS_DROPPED, ""))
    return dropped
