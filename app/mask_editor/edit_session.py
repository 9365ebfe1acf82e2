"""One person at one mask: what they did so far, what comes of it, and keeping it. No Streamlit in here.

Each browser session has its own; what they share is ``EditedPhoto`` and the run's files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.mask_editor.shapes import Shapes, Step, Subject, apply_steps, enlarge, resized
from maskdistill.datasets import Photo
from maskdistill.errors import ConfigError, MaskDistillError
from maskdistill.masks import decode_mask, encode_mask
from maskdistill.review import decisions
from maskdistill.review.decisions import NEW, MaskChange, Sent
from maskdistill.storage.run_folder import Run

Code = dict[str, Any]


@dataclass(frozen=True)
class PhotoMask:
    """A mask of the photo as it stands now."""

    mask_id: int
    code: Code
    step: int  # the repair that made it so, 0 for none


@dataclass(eq=False)
class EditSession:
    """A mask that is being mended."""

    run: Run
    reviewer: str
    photo: Photo
    subject: Subject
    target: PhotoMask | None  # None for a new mask
    others: Mapping[int, PhotoMask]  # the photo's other masks
    pictures: tuple[tuple[str, str], ...] = ()  # of the other shapes that can be taken: data URL and name
    steps: Sequence[Step] = ()
    answered: int = 0
    problem: str = ""
    refused: bool = False  # whether the last wish to keep it could not be granted
    kept: int | None = None  # the mask that it became, once that is on the disk
    shapes: Shapes = field(init=False)

    def __post_init__(self) -> None:
        self._full = None if self.target is None else decode_mask(self.target.code)
        self._start = None if self._full is None else resized(self._full, self.subject.size)
        self.shapes = apply_steps(self.subject, self._start, ())

    @property
    def name(self) -> str:
        """The same for every shape of the mask, and for nobody else's."""
        target = f"new {self.photo.id}" if self.target is None else str(self.target.mask_id)
        return f"{self.run.path.absolute()} {self.reviewer} {target}"

    @property
    def owner(self) -> str:
        """Whose steps, on which shape: those of another shape mean nothing here."""
        return f"{self.name} {self.target.step if self.target else 0}"

    @property
    def start(self) -> np.ndarray:
        """(h, w) bool, the mask as it was."""
        return np.zeros(self.subject.size, bool) if self._start is None else self._start

    def apply_message(self, message: Mapping[str, Any]) -> None:
        """Apply what the browser sent: all steps so far, and perhaps the wish to keep what comes of them."""
        self.answered, self.problem, self.refused = int(message["number"]), "", False
        sent, is_of_shape = _sent(message.get("keep")), message.get("owner") == self.owner
        try:
            if sent is not None and decisions.was_sent(self.run, sent):
                if is_of_shape:
                    self.kept = NEW if self.target is None else self.target.mask_id  # by the server before this one
                else:
                    self.problem, self.refused = "What you did to it before is kept.", True  # the tab lets go of it
                return
            if not is_of_shape:
                self.refused = sent is not None
                self.problem = "The mask was changed meanwhile. What you did was not kept." if sent else ""
                return
            steps = list(message.get("steps", ()))
            self.shapes, self.steps = apply_steps(self.subject, self._start, steps), steps
            if sent is not None:
                self._keep(sent)
        except MaskDistillError as error:
            self.problem, self.refused = str(error), sent is not None

    def _keep(self, sent: Sent) -> None:
        if not self.steps:
            raise ConfigError("Nothing was changed, so there is nothing to keep.")
        changes = [self._change()]
        if self.shapes.part is not None:
            changes.append(MaskChange(NEW, None, encode_mask(self._enlarged(self.shapes.part))))
        for mask_id in self.shapes.joined:
            other = self.others[mask_id]
            changes.append(MaskChange(mask_id, other.code, None, other.step))
        clicks = [dict(step) for step in self.steps if step.get("do") != "paint"]
        done = decisions.repair(
            self.run, self.reviewer, self.photo.id, changes, tool=self.shapes.tool, clicks=clicks, sent=sent
        )
        self.kept = done.mask_ids[0]

    def _change(self) -> MaskChange:
        if self.target is None:
            return MaskChange(NEW, None, encode_mask(self._enlarged(self.shapes.mask)))
        after = encode_mask(self._enlarged(self.shapes.mask))
        return MaskChange(self.target.mask_id, self.target.code, after, self.target.step)

    def _enlarged(self, mask: np.ndarray) -> np.ndarray:
        """A mask at the photo's size; where it was not changed, it is as it was to the pixel."""
        full = np.zeros((self.photo.height, self.photo.width), bool) if self._full is None else self._full
        return enlarge(full, self.start, mask)


def _sent(value: Any) -> Sent | None:
    if not isinstance(value, Mapping):
        return None
    return Sent(f"editor {value.get('client', '')}"[:60], int(value.get("seq", 0)))
