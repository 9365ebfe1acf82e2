"""Repairs: what people made of masks, written down as steps, and read back as it stands.

A repair is about the run's own mask, which it is found again by: by its number, or, after masks were made anew, by the
mask of its photo that overlaps it best. Masks that people add have numbers of their own, beside those of the run.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from pycocotools import mask as coco_mask

from maskdistill.errors import ConfigError
from maskdistill.review.decisions.effect import SAME_MASK
from maskdistill.review.decisions.records import Kind, Scope, Tool
from maskdistill.review.decisions.steps import UNDONE, Sent, add_step, clusters_fingerprint, read_numbering
from maskdistill.storage.database import reading, writing
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.read_files import reading as reading_file
from maskdistill.storage.run_folder import DRAWN, DRAWN_PER_PHOTO, Run

Code = dict[str, Any]  # COCO's compressed run-length code, as ``encode_mask`` gives it
NEW = -1  # number of a mask that has none yet
_ROWS = f"""SELECT r.*, s.time, s.reviewer, s.value FROM repairs r JOIN steps s ON s.id = r.step
    WHERE NOT {UNDONE} ORDER BY r.step, r.mask_id"""


@dataclass(frozen=True)
class MaskChange:
    """One mask of a photo, before and after."""

    mask_id: int  # what the person saw, ``NEW`` for nothing
    before: Code | None  # what they started from, None for nothing
    after: Code | None  # what they made of it; None where it goes, as into another
    step: int = 0  # the repair that had made what they saw, 0 for none


@dataclass(frozen=True)
class Repaired:
    """A repair that was written down."""

    step: int
    mask_ids: tuple[int, ...]  # of the masks that it made, one a change


@dataclass(frozen=True)
class Form:
    """A mask as people made it."""

    mask_id: int
    image: int  # number of its photo
    shown_id: int  # what the person saw: another number where that was no mask of the run, as an object of a model
    code: Code | None  # None where it went into another
    step: int  # that made it so
    reviewer: str
    time: float  # seconds since 1970
    tool: Tool
    own: Code | None  # the run's own mask; None where there was none


@dataclass(frozen=True, eq=False)
class Repairs:
    """The masks of a run that people made another shape of, as it stands."""

    forms: Mapping[int, Form] = field(default_factory=dict)  # by mask id, rising
    waiting: int = 0  # repairs of masks that are not there now

    @cached_property
    def by_shown(self) -> dict[int, Form]:
        """The same by what the person saw."""
        return {form.shown_id: form for form in self.forms.values()} | dict(self.forms)

    @property
    def digest(self) -> str:
        """Of all that decides what is made of them; "" for none."""
        if not self.forms:
            return ""
        state = hashlib.blake2b(digest_size=16)
        for mask_id, form in self.forms.items():
            state.update(f"{mask_id} {form.code['counts'] if form.code else ''}\n".encode())
        return state.hexdigest()


class OwnMasks(Protocol):
    """The run's own masks, before people mended any."""

    def number(self, image_id: str, size: tuple[int, int]) -> int | None:
        """The photo of this id and (height, width) in pixels; None if there is none."""

    def code(self, mask_id: int, number: int) -> Code | None:
        """Code of a mask of a photo; None if it has none of that number."""

    def of_photo(self, number: int) -> list[int]:
        """Numbers of all masks of a photo."""


@dataclass(frozen=True)
class Row:
    """A row of the table ``repairs``, with the step that it came in."""

    step: int
    time: float
    reviewer: str
    tool: Tool
    mask_id: int
    shown_id: int
    image_id: str
    size: tuple[int, int]  # height, width
    base: str
    before: str
    after: str

    @classmethod
    def of(cls, row: sqlite3.Row) -> Self:
        """From the database."""
        names = ("step", "time", "reviewer", "mask_id", "shown_id", "image_id", "base", "before", "after")
        tool = Tool(json.loads(row["value"])["tool"])
        return cls(**{name: row[name] for name in names}, tool=tool, size=(row["height"], row["width"]))

    @property
    def adds(self) -> bool:
        """Whether a mask begins with it."""
        return not self.base and (not self.before or self.shown_id != self.mask_id)

    def coded(self, counts: str) -> Code | None:
        """A column as a code."""
        return {"size": list(self.size), "counts": counts} if counts else None


def resolve(rows: Sequence[Row], own: OwnMasks) -> Repairs:
    """What repairs come to: the latest on a mask counts, whoever made it.

    A mask that people added is there as long as the step that added it stands. What was mended back to the run's own
    shape counts as not mended.

    Args:
        rows: Of the steps that stand, in order.
        own: The run's masks as they are now.
    """
    forms: dict[int, Form] = {}
    waiting = 0
    for row in rows:
        number = own.number(row.image_id, row.size)
        mask_id = None if number is None else _find(row, number, own)
        if number is None or mask_id is None or (not row.base and not row.adds and mask_id not in forms):
            waiting += 1
            continue
        shown = row.shown_id if row.adds else mask_id if row.base else forms[mask_id].shown_id
        about = (row.step, row.reviewer, row.time, row.tool, own.code(mask_id, number))
        forms[mask_id] = Form(mask_id, number, shown, row.coded(row.after), *about)
    return Repairs({id: forms[id] for id in sorted(forms) if _differs(forms[id])}, waiting)


def read_repairs(run: Run) -> Repairs:
    """The repairs of a run that stand; cheap where there is none.

    Raises:
        RunError: If a file of the run is missing or damaged.
    """
    with reading(run.path) as db:
        rows = [Row.of(row) for row in db.execute(_ROWS)] if db else []
    return resolve(rows, _StoredMasks(run)) if rows else Repairs()


def repair(
    run: Run,
    reviewer: str,
    image_id: str,
    changes: Sequence[MaskChange],
    *,
    tool: Tool,
    clicks: Sequence[Any] = (),
    note: str = "",
    sent: Sent | None = None,
) -> Repaired:
    """Write down what a person made of masks of one photo, as one step. It is on the disk when this returns.

    Args:
        run: The run.
        reviewer: Who did it.
        image_id: The photo.
        changes: One a mask. What is no mask of the run, as an object that a model drew, becomes one.
        tool: What it was done with, or most of it.
        clicks: Of the person, each as JSON can hold it.
        note: What else to remember of it, for people.
        sent: What names the browser's action, if it may come twice.

    Raises:
        ConfigError: If there is no change, a mask would be empty or of another size than the photo, or another person
            mended one of them since it was shown.
        RunError: If there is no run, or its database cannot be written.
    """
    run.info()
    own = _StoredMasks(run)
    size = _check(changes, image_id, own)
    asked = hashlib.blake2b(json.dumps([image_id, *map(asdict, changes)]).encode(), digest_size=8).hexdigest()
    with writing(run.path) as db:
        if (known := _written(db, sent, reviewer, asked)) is not None:
            return known
        number = own.number(image_id, size)
        assert number is not None  # checked above
        now = resolve([Row.of(row) for row in db.execute(_ROWS)], own)
        ids = _number(db, changes, number, image_id, own, now)
        value = {"num_masks": len(ids), "mask_id": ids[0], "masks": ids, "tool": Tool(tool), "clicks": list(clicks)}
        numbering = read_numbering(db, clusters_fingerprint(run))
        about = {**value, "note": note, "asked": asked}
        step = add_step(db, reviewer, Scope.MASKS, Kind.REPAIR, about, numbering, sent=sent)
        for change, mask_id in zip(changes, ids, strict=True):
            base = own.code(mask_id, number)
            begins = base is None and mask_id not in now.forms
            shown = change.mask_id if begins and change.mask_id != NEW else mask_id
            texts = (code["counts"] if code else "" for code in (base, change.before, change.after))
            row = (step, mask_id, shown, image_id, *size, *texts)
            db.execute("INSERT INTO repairs VALUES (?,?,?,?,?,?,?,?,?)", row)
    return Repaired(step, tuple(ids))


def repairs_version(run: Run) -> int:
    """Id of the last step that made, undid or redid a repair; 0 if there is none. Other decisions do not change it."""
    with reading(run.path) as db:
        select = "SELECT max(id) FROM steps WHERE scope = ?"
        return (db.execute(select, (Scope.MASKS,)).fetchone()[0] or 0) if db else 0


def repairs_digest(run: Run) -> str:
    """``Repairs.digest`` of a run."""
    return read_repairs(run).digest


def boxes_of_repaired(db: sqlite3.Connection) -> dict[tuple[int, str], tuple[int, frozenset[tuple[int, ...]]]]:
    """(mask id, photo) -> the mask that it became, and all boxes that it ever had; of those that people mended."""
    found: dict[tuple[int, str], tuple[int, set[tuple[int, ...]]]] = {}
    for row in db.execute("SELECT * FROM repairs"):
        size = [row["height"], row["width"]]
        codes = [{"size": size, "counts": row[name]} for name in ("base", "before", "after") if row[name]]
        boxes = {tuple(map(int, box)) for box in coco_mask.toBbox(codes).tolist()} if codes else set()
        for mask_id in (row["mask_id"], row["shown_id"]):
            found.setdefault((mask_id, row["image_id"]), (row["mask_id"], set()))[1].update(boxes)
    return {key: (mask_id, frozenset(boxes)) for key, (mask_id, boxes) in found.items()}


def code_iou(first: Code, others: Sequence[Code]) -> np.ndarray:
    """(N,) IoU of a mask with others of the same size, from their codes."""
    return np.asarray(coco_mask.iou([first], list(others), [0] * len(others))).reshape(-1)


class _StoredMasks:
    """``OwnMasks`` of a run's files."""

    def __init__(self, run: Run) -> None:
        self._codes = MaskCodes.open(run, "own")
        table = run.images()
        with reading_file(run.images_path):
            table = table[table["digest"].notna()]  # as photos are numbered
            sides = zip(table["height"].astype(int).tolist(), table["width"].astype(int).tolist(), strict=True)
            self._sizes = list(sides)
            self._numbers = {id: number for number, id in enumerate(table["id"].tolist())}

    def number(self, image_id: str, size: tuple[int, int]) -> int | None:
        number = self._numbers.get(image_id)
        return number if number is not None and self._sizes[number] == tuple(size) else None

    def size(self, image_id: str) -> tuple[int, int] | None:
        """(height, width) of a photo; None if there is none."""
        number = self._numbers.get(image_id)
        return None if number is None else self._sizes[number]

    def code(self, mask_id: int, number: int) -> Code | None:
        if mask_id not in self._codes or mask_id not in self.of_photo(number):
            return None
        return self._codes.code(mask_id)

    def of_photo(self, number: int) -> list[int]:
        return self._codes.ids[self._codes.images == number].tolist()


def _find(row: Row, number: int, own: OwnMasks) -> int | None:
    """The mask that a row is about, now."""
    if not row.base:
        return DRAWN + number * DRAWN_PER_PHOTO + row.mask_id % DRAWN_PER_PHOTO
    base = row.coded(row.base)
    assert base is not None
    known = own.code(row.mask_id, number)
    if known is not None and known["counts"] == row.base:
        return row.mask_id
    ids = own.of_photo(number)
    codes = [code for id in ids if (code := own.code(id, number)) is not None]
    if not codes:
        return None
    ious = code_iou(base, codes)
    best = int(ious.argmax())
    return ids[best] if ious[best] >= SAME_MASK else None


def _differs(form: Form) -> bool:
    """Whether a mask is another one than the run's own."""
    if form.own is None:
        return form.code is not None  # what was added and went again is as if it never was
    return form.code is None or form.code["counts"] != form.own["counts"]


def _check(changes: Sequence[MaskChange], image_id: str, own: _StoredMasks) -> tuple[int, int]:
    size = own.size(image_id)
    if size is None:
        raise ConfigError(f"The run has no photo '{image_id}'. It may have been removed: open the mask again.")
    if not changes:
        raise ConfigError("A repair needs at least one mask, got none.")
    if all(change.after is None for change in changes):
        raise ConfigError("Nothing would be left of the mask. Reject it instead.")
    for change in changes:
        for code in (change.before, change.after):
            if code is not None and tuple(code["size"]) != size:
                wanted, got = f"{size[0]} x {size[1]}", " x ".join(map(str, code["size"]))
                raise ConfigError(f"A mask of {image_id} has {wanted} pixels, got one of {got}. Open it again.")
        if change.after is not None and not int(coco_mask.area(change.after)):
            raise ConfigError("Nothing would be left of the mask. Reject it instead.")
    return size


def _written(db: sqlite3.Connection, sent: Sent | None, reviewer: str, asked: str) -> Repaired | None:
    """What was written for this action already; None for the first time."""
    if sent is None:
        return None
    select = "SELECT id, value FROM steps WHERE client = ? AND seq = ? AND reviewer = ? AND kind = ?"
    row = db.execute(select, (sent.client, sent.seq, reviewer, Kind.REPAIR)).fetchone()
    value = json.loads(row["value"]) if row else {}
    return Repaired(row["id"], tuple(value["masks"])) if value.get("asked") == asked else None


def _number(
    db: sqlite3.Connection,
    changes: Sequence[MaskChange],
    number: int,
    image_id: str,
    own: _StoredMasks,
    now: Repairs,
) -> list[int]:
    """The numbers of the masks that changes make.

    Raises:
        ConfigError: If one was mended by others since it was shown, or is no more.
    """
    taken = "SELECT max(mask_id % ?) FROM repairs WHERE image_id = ? AND base = ''"
    highest = db.execute(taken, (DRAWN_PER_PHOTO, image_id)).fetchone()[0]
    place = 0 if highest is None else highest + 1
    ids = []
    for change in changes:
        form = now.by_shown.get(change.mask_id)
        if (form.step if form else 0) != change.step:
            who = f"{form.reviewer} mended" if form else "Somebody took back what was mended of"
            raise ConfigError(f"{who} mask {change.mask_id} meanwhile. Yours was not kept: look at that one first.")
        if form is not None:
            ids.append(form.mask_id)
        elif own.code(change.mask_id, number) is not None:
            ids.append(change.mask_id)
        elif place < DRAWN_PER_PHOTO:
            ids.append(DRAWN + number * DRAWN_PER_PHOTO + place)
            place += 1
        else:
            raise ConfigError(f"People drew {DRAWN_PER_PHOTO} masks on {image_id} already: there can be no more.")
    if len(set(ids)) < len(ids):
        raise ConfigError("A repair can hold one change of a mask, got two of the same one.")
    return ids


def was_sent(run: Run, sent: Sent) -> bool:
    """Whether a repair was written for this action of a browser already.

    Raises:
        RunError: If the run's database cannot be read.
    """
    with reading(run.path) as db:
        select = "SELECT 1 FROM steps WHERE client = ? AND seq = ? AND kind = ?"
        return db is not None and db.execute(select, (sent.client, sent.seq, Kind.REPAIR)).fetchone() is not None
