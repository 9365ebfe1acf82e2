"""Components: the desk, where one mask after the other is judged by key, and the wire between it and the server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app import session
from app.audit.review_session import ReviewSession
from app.components._register import register
from app.images.colors import ACCEPTED, REJECTED, RELABELLED, SKIPPED, cluster_colour

_MOST_EXAMPLES = 80  # clusters of which a crop is sent, 3 kB each
_KEYS = (
    ("A", "accept: the mask is good, and of this class"),
    ("X", "reject: it must not be learnt from"),
    ("1 – 9", "move it to the cluster that stands under the number; that accepts it too"),
    ("0", "move it to any other cluster"),
    ("S", "skip: put it off until nothing else is left"),
    ("U", "undo your last step"),
    ("⇧ U", "do it again"),
    ("←  →", "back, and on without deciding"),
    ("H", "hide the mask while held"),
    ("Z", "crop or whole photo"),
    ("M", "the mask's other version: as proposed, or as stage 1 draws it"),
    ("?", "these keys"),
)
_HTML = f"""
<div class="desk" tabindex="-1">
  <div class="trouble" role="alert" hidden><span></span><button type="button" data-do="retry">Try again</button></div>
  <div class="top">
    <div class="track" aria-hidden="true">
      <i class="accepted"></i><i class="relabelled"></i><i class="rejected"></i></div>
    <span class="count"></span><span class="pace"></span><span class="notice" role="status"></span>
    <span class="tally"><span class="accepted" title="accepted">✓ <b></b></span>
      <span class="rejected" title="rejected">✕ <b></b></span>
      <span class="relabelled" title="moved to another cluster">⇄ <b></b></span>
      <span class="skipped" title="put off">» <b></b></span></span>
    <span class="saved" title="Every stroke is on the disk before it counts"></span>
  </div>
  <div class="work">
    <div class="sight">
      <div class="stage"><canvas role="img"></canvas><div class="wait">Waiting for the next mask …</div></div>
      <div class="bar">
        <span class="choice" role="group" aria-label="What is shown">
          <button type="button" data-do="crop">Crop</button><button type="button" data-do="whole">Whole</button></span>
        <kbd>Z</kbd>
        <button type="button" class="quiet hide" title="The bare photo, for as long as it is held">
          Hide <kbd>H</kbd></button>
        <button type="button" class="quiet" data-do="other">Other version <kbd>M</kbd></button>
        <span class="version"></span>
        <span class="right"><button type="button" class="quiet" data-do="detail">Details</button>
        <button type="button" class="quiet" data-do="help">Keys <kbd>?</kbd></button></span>
      </div>
    </div>
    <div class="panel">
      <div class="title"><i class="swatch"></i><span class="name"></span><span class="which"></span></div>
      <p class="reason"></p>
      <p class="lines"><span class="verdict"></span><span class="said"></span></p>
      <div class="facts"></div>
      <div class="actions">
        <button type="button" class="accept" data-do="accept">Accept <kbd>A</kbd></button>
        <button type="button" class="reject" data-do="reject">Reject <kbd>X</kbd></button>
        <button type="button" data-do="skip">Skip <kbd>S</kbd></button>
        <button type="button" data-do="undo">Undo <kbd>U</kbd></button>
        <button type="button" data-do="back"><kbd>←</kbd> Back</button>
        <button type="button" data-do="on">On <kbd>→</kbd></button>
      </div>
      <div class="head">It belongs to</div>
      <div class="keys"></div>
    </div>
    <div class="end">
      <div class="tick" aria-hidden="true">✓</div><h3 class="over-text"></h3><ul class="over-next"></ul></div>
  </div>
  <div class="strip" aria-label="Masks before and after this one"></div>
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
    """Draw the desk. It changes with the queue, not with a stroke: those go through the wire."""
    cards = review.cards
    ids, sizes = cards.centres.ids.tolist(), cards.centres.sizes.tolist()
    examples = cards.examples(ids) if len(ids) <= _MOST_EXAMPLES else {}
    clusters = [
        {
            "cluster": id,
            "name": cards.name_of(id),
            "colour": cluster_colour(id),
            "size": size,
            "example": examples.get(id, ""),
        }
        for id, size in zip(ids, sizes, strict=True)
    ]
    colours = {"accepted": ACCEPTED, "rejected": REJECTED, "relabelled": RELABELLED, "skipped": SKIPPED}
    _annotator(data={"clusters": clusters, "colours": colours}, key=key)


def wire(
    review: ReviewSession,
    *,
    key: str,
    on_say: Callable[[dict[str, Any]], None],
    on_detail: Callable[[int], None],
) -> None:
    """Answer the desk; ``on_say`` gets what it says next, and ``on_detail`` a mask that is asked about."""

    def said() -> None:
        message = session.component_value(key, "say")
        if message is not None:
            on_say(message)

    def asked() -> None:
        mask_id = session.component_value(key, "detail")
        if mask_id is not None:
            on_detail(int(mask_id))

    _sync(data=review.answer(), key=key, on_say_change=said, on_detail_change=asked)
