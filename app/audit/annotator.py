"""Components: the annotator, where masks are judged one by one by key, and what keeps it in step with the server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app import session
from app.audit.review_session import ReviewSession
from app.components._register import register
from maskdistill.pictures.colors import ACCEPTED, REJECTED, RELABELLED, SKIPPED, cluster_color

_MOST_EXAMPLES = 80  # clusters up to which a crop of each is sent, 3 kB
_KEYS = (
    ("A", "accept: the mask is good, and of this class"),
    ("X", "reject: no model learns from it"),
    ("1 – 9", "move it to the cluster of that number, which accepts it too"),
    ("0", "move it to any other cluster"),
    ("S", "skip: it comes again when nothing else is left"),
    ("E", "mend the mask: another shape, by clicks"),
    ("U", "undo your last decision or mended mask; what you changed on Clusters is undone there"),
    ("⇧ U", "redo"),
    ("←  →", "previous mask, and next mask without a decision"),
    ("H", "hide the mask while held"),
    ("Z", "crop or whole photo"),
    ("M", "the other version of the mask: as proposed, or as stage 1 predicts it"),
    ("?", "these keys"),
)
_HTML = f"""
<div class="annotator" tabindex="-1">
  <div class="problem" role="alert" hidden><span></span><button type="button" data-do="retry">Try again</button></div>
  <div class="top">
    <div class="track" aria-hidden="true">
      <i class="accepted"></i><i class="relabelled"></i><i class="rejected"></i></div>
    <span class="count"></span><span class="pace"></span><span class="notice" role="status"></span>
    <span class="tally"><span class="accepted" title="accepted">✓ <b></b></span>
      <span class="rejected" title="rejected">✕ <b></b></span>
      <span class="relabelled" title="moved to another cluster">⇄ <b></b></span>
      <span class="skipped" title="skipped">» <b></b></span></span>
    <span class="saved" title="Every action is on the disk before it counts"></span>
  </div>
  <div class="work">
    <div class="viewer">
      <div class="stage"><canvas role="img"></canvas><div class="wait">Waiting for the next mask …</div></div>
      <div class="bar">
        <span class="choice" role="group" aria-label="What is shown">
          <button type="button" data-do="crop">Crop</button><button type="button" data-do="whole">Whole</button></span>
        <kbd>Z</kbd>
        <button type="button" class="quiet hide" title="The photo without the mask, while held">
          Hide <kbd>H</kbd></button>
        <button type="button" class="quiet" data-do="other">Other version <kbd>M</kbd></button>
        <span class="version"></span>
        <span class="right"><button type="button" class="quiet" data-do="edit">Mend <kbd>E</kbd></button>
        <button type="button" class="quiet" data-do="detail">Details</button>
        <button type="button" class="quiet" data-do="help">Keys <kbd>?</kbd></button></span>
      </div>
    </div>
    <div class="panel">
      <div class="title"><i class="swatch"></i><span class="name"></span><span class="mask-id"></span></div>
      <p class="reason"></p>
      <p class="lines"><span class="verdict"></span><span class="label"></span></p>
      <div class="facts"></div>
      <div class="actions">
        <button type="button" class="accept" data-do="accept">Accept <kbd>A</kbd></button>
        <button type="button" class="reject" data-do="reject">Reject <kbd>X</kbd></button>
        <button type="button" data-do="skip">Skip <kbd>S</kbd></button>
        <button type="button" data-do="undo">Undo <kbd>U</kbd></button>
        <button type="button" data-do="back"><kbd>←</kbd> Back</button>
        <button type="button" data-do="next">Next <kbd>→</kbd></button>
      </div>
      <div class="head">Move to cluster</div>
      <div class="keys"></div>
    </div>
    <div class="end">
      <div class="tick" aria-hidden="true">✓</div><h3 class="end-title"></h3><ul class="end-next"></ul></div>
  </div>
  <div class="thumbnails" aria-label="Masks before and after this one"></div>
  <dialog class="all"><form method="dialog"><input type="search" placeholder="Name of a cluster" aria-label="Cluster">
    <div class="rows"></div><button class="quiet">Close</button></form></dialog>
  <dialog class="help"><form method="dialog"><table>{
    "".join(f"<tr><td><kbd>{key}</kbd></td><td>{text}</td></tr>" for key, text in _KEYS)
}</table><button class="quiet" autofocus>Close</button></form></dialog>
</div>
"""
_annotator = register(
    __file__, _HTML, shared=("components/_layers.js", "audit/actions.js", "audit/picture.js", "audit/panel.js")
)
_sync = register(Path(__file__).with_name("sync.py"), "<i></i>")


def annotator(review: ReviewSession, *, key: str) -> None:
    """Draw the annotator. It changes with the queue, not with an action: those go through ``sync``."""
    cards = review.cards
    ids, sizes = cards.centres.ids.tolist(), cards.centres.sizes.tolist()
    examples = cards.examples(ids) if len(ids) <= _MOST_EXAMPLES else [""] * len(ids)
    clusters = [
        {
            "cluster": id,
            "name": cards.name_of(id),
            "color": cluster_color(id),
            "size": size,
            "example": src,
        }
        for id, size, src in zip(ids, sizes, examples, strict=True)
    ]
    colors = {"accepted": ACCEPTED, "rejected": REJECTED, "relabelled": RELABELLED, "skipped": SKIPPED}
    _annotator(data={"clusters": clusters, "colors": colors}, key=key)


def sync(
    review: ReviewSession,
    *,
    key: str,
    on_message: Callable[[dict[str, Any]], None],
    on_detail: Callable[[int], None],
    on_edit: Callable[[int, bool], None],
) -> None:
    """Answer the annotator.

    Args:
        review: The review.
        key: Widget key.
        on_message: Gets its next message.
        on_detail: Gets a mask whose details it asks for.
        on_edit: Gets a mask to mend, and whether it is shown as the first model draws it.
    """

    def received() -> None:
        message = session.component_value(key, "message")
        if message is not None:
            on_message(message)

    def opened() -> None:
        mask_id = session.component_value(key, "detail")
        if mask_id is not None:
            on_detail(int(mask_id))

    def edited() -> None:
        value = session.component_value(key, "edit")
        if value is not None:
            on_edit(int(value[0]), bool(value[1]))

    _sync(
        data=review.answer(),
        key=key,
        on_message_change=received,
        on_detail_change=opened,
        on_edit_change=edited,
    )
