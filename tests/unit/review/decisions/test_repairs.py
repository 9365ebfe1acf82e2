"""Repairs of masks as decisions: who counts, undo and redo, found again, and the table for people."""

import csv
import io
import shutil
from threading import Barrier, Thread

import numpy as np
import pytest

from maskdistill.errors import ConfigError
from maskdistill.masks import decode_mask, encode_mask
from maskdistill.review import decisions
from maskdistill.review.decisions import NEW, MaskChange, Scope, Sent, Tool, read_repairs, repair
from maskdistill.review.decisions.repairs import Row, resolve
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.run_folder import DRAWN, Run

SIZE = (20, 30)


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished[0].path, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.fixture
def shape(run):
    """The first mask: its id, photo and code."""
    row = run.masks().iloc[0]
    return int(row["mask_id"]), row["image_id"], MaskCodes.open(run).code(int(row["mask_id"]))


def less(code, rows=4):
    """A mask without its upper rows."""
    mask = decode_mask(code)
    top = int(np.flatnonzero(mask.any(axis=1))[0])
    mask[: top + rows] = False
    return encode_mask(mask)


def test_the_latest_counts_and_each_person_undoes_their_own(run, shape):
    mask_id, image, code = shape
    first = repair(run, "ada", image, [MaskChange(mask_id, code, less(code, 2))], tool=Tool.CLICK)
    second = MaskChange(mask_id, less(code, 2), less(code, 5), first.step)
    repair(run, "bob", image, [second], tool=Tool.BRUSH)
    assert read_repairs(run).forms[mask_id].code == less(code, 5)
    assert read_repairs(run).forms[mask_id].reviewer == "bob"
    decisions.undo(run, "ada", scope=Scope.MASKS)
    assert read_repairs(run).forms[mask_id].code == less(code, 5)
    decisions.undo(run, "bob", scope=Scope.MASKS)
    assert read_repairs(run).forms == {}
    decisions.redo(run, "ada", scope=Scope.MASKS)
    assert read_repairs(run).forms[mask_id].code == less(code, 2)


def test_version_changes_with_repairs_alone(run, shape):
    mask_id, image, code = shape
    assert decisions.repairs_version(run) == 0
    repair(run, "ada", image, [MaskChange(mask_id, code, less(code))], tool=Tool.CLICK)
    made = decisions.repairs_version(run)
    mark = decisions.Mark(mask_id, image, (0, 0, 3, 3), decisions.Action.ACCEPT)
    decisions.decide(run, "ada", [mark], scope=Scope.LABELS)
    assert decisions.repairs_version(run) == made < decisions.version(run)
    decisions.undo(run, "ada", scope=Scope.MASKS)
    assert decisions.repairs_version(run) > made


def test_whoever_saw_an_earlier_shape_is_told(run, shape):
    mask_id, image, code = shape
    repair(run, "ada", image, [MaskChange(mask_id, code, less(code, 2))], tool=Tool.CLICK)
    with pytest.raises(ConfigError, match="ada mended"):
        repair(run, "bob", image, [MaskChange(mask_id, code, less(code, 5))], tool=Tool.CLICK)
    assert read_repairs(run).forms[mask_id].code == less(code, 2)
    assert decisions.steps(run)[0].reviewer == "ada"


def test_two_at_once_are_both_told_the_truth(run, shape):
    """One of two repairs of the same mask is written, whichever comes first; the other person is told."""
    mask_id, image, code = shape
    barrier, outcome = Barrier(2), {}

    def keep(reviewer, rows):
        barrier.wait()
        try:
            outcome[reviewer] = repair(
                run, reviewer, image, [MaskChange(mask_id, code, less(code, rows))], tool=Tool.CLICK
            )
        except ConfigError as error:
            outcome[reviewer] = error

    threads = [Thread(target=keep, args=args) for args in (("ada", 2), ("bob", 5))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [name for name, item in outcome.items() if isinstance(item, ConfigError)]
    assert len(refused) == 1
    assert read_repairs(run).forms[mask_id].reviewer not in refused


def test_sent_twice_is_written_once(run, shape):
    _, image, code = shape
    change = [MaskChange(NEW, None, less(code))]
    first = repair(run, "ada", image, change, tool=Tool.NEW, sent=Sent("tab", 7))
    again = repair(run, "ada", image, change, tool=Tool.NEW, sent=Sent("tab", 7))
    assert first == again
    assert first.mask_ids == (DRAWN,)
    other = repair(run, "ada", image, [MaskChange(NEW, None, code)], tool=Tool.NEW, sent=Sent("tab", 8))
    assert other.mask_ids == (DRAWN + 1,)


def test_mended_back_is_as_if_never_mended(run, shape):
    mask_id, image, code = shape
    first = repair(run, "ada", image, [MaskChange(mask_id, code, less(code))], tool=Tool.CLICK)
    repair(run, "ada", image, [MaskChange(mask_id, less(code), code, first.step)], tool=Tool.BRUSH)
    assert read_repairs(run).forms == {}
    assert decisions.repairs_digest(run) == ""


def test_object_that_no_proposal_was_becomes_a_mask(run, shape):
    """And is found again by what the person saw."""
    _, image, code = shape
    found = repair(run, "ada", image, [MaskChange(9, code, less(code))], tool=Tool.CLICK)
    assert found.mask_ids == (DRAWN,)
    form = read_repairs(run).by_shown[9]
    assert form.mask_id == DRAWN
    repair(run, "bob", image, [MaskChange(9, less(code), less(code, 6), form.step)], tool=Tool.CLICK)
    assert read_repairs(run).by_shown[9].code == less(code, 6)
    assert set(read_repairs(run).forms) == {DRAWN}


def test_undone_new_mask_takes_its_later_shapes_along(run, shape):
    _, image, code = shape
    found = repair(run, "ada", image, [MaskChange(NEW, None, less(code))], tool=Tool.NEW)
    repair(run, "bob", image, [MaskChange(DRAWN, less(code), less(code, 6), found.step)], tool=Tool.CLICK)
    decisions.undo(run, "ada", scope=Scope.MASKS)
    assert read_repairs(run).forms == {}
    assert read_repairs(run).waiting == 1


def test_undo_over_several_scopes_takes_the_latest(run, shape):
    mask_id, image, code = shape
    repair(run, "ada", image, [MaskChange(mask_id, code, less(code))], tool=Tool.CLICK)
    mark = decisions.Mark(mask_id, image, (0, 0, 3, 3), decisions.Action.ACCEPT)
    decisions.decide(run, "ada", [mark], scope=Scope.LABELS)
    scopes = (Scope.LABELS, Scope.MASKS)
    assert decisions.undo(run, "ada", scope=scopes).scope is Scope.LABELS
    assert decisions.undo(run, "ada", scope=scopes).scope is Scope.MASKS
    assert decisions.redo(run, "ada", scope=scopes).scope is Scope.MASKS
    assert list(read_repairs(run).forms) == [mask_id]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda code: [], "at least one mask"),
        (lambda code: [MaskChange(0, code, None)], "Nothing would be left"),
        (lambda code: [MaskChange(0, code, encode_mask(np.zeros(code["size"], bool)))], "Nothing would be left"),
        (lambda code: [MaskChange(0, code, encode_mask(np.ones((3, 4), bool)))], "pixels, got one of 3 x 4"),
        (lambda code: [MaskChange(0, code, less(code)), MaskChange(0, code, None)], "two of the same one"),
    ],
)
def test_what_cannot_be_is_refused(run, shape, change, message):
    with pytest.raises(ConfigError, match=message):
        repair(run, "ada", shape[1], change(shape[2]), tool=Tool.CLICK)
    assert decisions.version(run) == 0


def test_table_history_and_summary(run, shape):
    mask_id, image, code = shape
    repair(run, "ada", image, [MaskChange(mask_id, code, less(code))], tool=Tool.CLICK, clicks=[[3, 4, True, False]])
    (row,) = csv.DictReader(io.StringIO(decisions.to_csv(run)))
    assert (row["mask"], row["action"], row["tool"], row["clicks"]) == (
        str(mask_id),
        "repair",
        "click",
        "[[3, 4, true, false]]",
    )
    assert row["counts_from"] == "masks"
    (event,) = decisions.history(run, mask_id)
    assert event.text == f"Mended mask {mask_id} with 1 click."
    assert "1 masks mended in 1 steps and 1 clicks" in decisions.summarise(run)


class Drawn:
    """Own masks of one photo, drawn as boxes."""

    def __init__(self, boxes):
        self._codes = {}
        for mask_id, (x, y, width, height) in boxes.items():
            mask = np.zeros(SIZE, bool)
            mask[y : y + height, x : x + width] = True
            self._codes[mask_id] = encode_mask(mask)

    def number(self, image_id, size):
        return 0 if image_id == "a" and size == SIZE else None

    def code(self, mask_id, number):
        return self._codes.get(mask_id)

    def of_photo(self, number):
        return list(self._codes)


def row_of(own, mask_id, after, image="a"):
    counts = own.code(mask_id, 0)["counts"]
    return Row(1, 0.0, "ada", Tool.CLICK, mask_id, mask_id, image, SIZE, counts, counts, after)


def test_found_by_overlap_where_numbers_changed():
    before = Drawn({0: (2, 2, 10, 10), 1: (15, 2, 10, 10)})
    after = before.code(0, 0)["counts"][:-1] + "0"
    now = Drawn({0: (15, 2, 10, 11), 1: (2, 2, 10, 11)})
    assert list(resolve([row_of(before, 0, after)], now).forms) == [1]


@pytest.mark.parametrize(("boxes", "image"), [({0: (2, 2, 10, 4)}, "a"), ({0: (2, 2, 10, 10)}, "b"), ({}, "a")])
def test_what_is_not_found_waits(boxes, image):
    before = Drawn({0: (2, 2, 10, 10)})
    found = resolve([row_of(before, 0, before.code(0, 0)["counts"][:-1] + "0", image)], Drawn(boxes))
    assert found.forms == {}
    assert found.waiting == 1
