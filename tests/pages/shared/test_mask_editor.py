"""The editor of a mask: steps and what comes of them, messages of the browser, and what sessions share."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from needs import needs_crf

from app.mask_editor import choices
from app.mask_editor.edit_session import EditSession, PhotoMask
from app.mask_editor.shapes import MOST_STEPS, Subject, apply_steps, enlarge, resized
from app.mask_editor.subject import edited_photo
from app.run_view import read_run_view, repairs_of, shape_of
from maskdistill.errors import ConfigError
from maskdistill.masks import decode_mask, encode_mask, mask_iou
from maskdistill.review import decisions
from maskdistill.review.decisions import Scope, Tool
from maskdistill.review.repair import Click, Mender
from maskdistill.storage.run_folder import DRAWN

PATCH, ROWS, COLS = 8, 12, 16
SIZE = ROWS * PATCH, COLS * PATCH
COLORS = np.array([[90, 140, 90], [220, 40, 40], [40, 40, 220]], np.uint8)


def kinds():
    """(rows, cols): 1 and 2 are two objects side by side, 0 is the ground."""
    found = np.zeros((ROWS, COLS), int)
    found[2:8, 2:7], found[2:8, 7:12] = 1, 2
    return found


def of(*numbers):
    return np.isin(kinds(), numbers).repeat(PATCH, axis=0).repeat(PATCH, axis=1)


@pytest.fixture(scope="module")
def mender():
    tokens = np.eye(8)[kinds()] + np.random.default_rng(0).normal(0, 0.05, (ROWS, COLS, 8))
    return Mender(tokens.astype(np.float16), COLORS[kinds()].repeat(PATCH, axis=0).repeat(PATCH, axis=1))


@pytest.fixture
def subject(mender):
    return Subject(mender, 1.0, {5: of(2)}, [of(1, 2)])


FIRST, SECOND = {"x": 36.0, "y": 40.0}, {"x": 76.0, "y": 40.0}


def test_clicks_in_a_row_are_one_question(subject, mender):
    steps = [{"do": "click", **SECOND, "adds": True}, {"do": "click", **FIRST, "adds": False}]
    found = apply_steps(subject, of(1), steps)
    wanted = mender.mend(of(1), [Click(76, 40, True), Click(36, 40, False)])
    np.testing.assert_array_equal(found.mask, wanted)
    assert found.tool is Tool.CLICK


@pytest.mark.parametrize(
    ("step", "wanted", "tool"),
    [
        ({"do": "take", "number": 0}, of(1, 2), Tool.ALTERNATIVE),
        ({"do": "join", **SECOND}, of(1, 2), Tool.MERGE),
        ({"do": "erase", **FIRST}, of(), Tool.COMPONENT),
        ({"do": "keep", **FIRST}, of(1), Tool.COMPONENT),
    ],
)
def test_each_step_does_what_it_says(subject, step, wanted, tool):
    found = apply_steps(subject, of(1), [step])
    np.testing.assert_array_equal(found.mask, wanted)
    assert found.tool is tool


@needs_crf
def test_sharpened_is_what_the_clicks_before_it_changed(subject, mender):
    click, stroke = {"do": "click", **SECOND, "adds": True}, STEPS[0]
    found = apply_steps(subject, of(1), [click, {"do": "sharpen"}, stroke])
    wanted = mender.mend(of(1), [Click(76, 40, True)], crf=True)
    np.testing.assert_array_equal(found.mask[8:], wanted[8:])  # the stroke is above
    np.testing.assert_array_equal(apply_steps(subject, of(1), [{"do": "sharpen"}]).mask, of(1))


def test_split_gives_two_masks(subject):
    found = apply_steps(subject, of(1, 2), [{"do": "split", "first": FIRST, "second": SECOND}])
    assert found.tool is Tool.SPLIT
    assert mask_iou(found.mask, of(1)) > 0.9
    assert mask_iou(found.part, of(2)) > 0.9


def test_new_mask_and_a_stroke_of_the_brush(subject):
    found = apply_steps(subject, None, [{"do": "new", **FIRST}])
    assert found.tool is Tool.NEW
    assert mask_iou(found.mask, of(1)) > 0.9
    stroke = {"do": "paint", "points": [[100.0, 80.0], [110.0, 80.0]], "radius": 3.0, "erases": False}
    more = apply_steps(subject, None, [{"do": "new", **FIRST}, stroke])
    assert more.mask[80, 100:110].all()
    assert not found.mask[80, 100:110].any()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"do": "fly"}, "one of click"),
        ({"do": "click", "x": "1", "y": 2}, "number of pixels"),
        ({"do": "click", "x": float("nan"), "y": 2}, "number of pixels"),
        ({"do": "split", "first": FIRST, "second": 3}, "needs a point"),
        ({"do": "take", "number": 7}, "1 other shapes"),
        ({"do": "join", "x": 1, "y": 1}, "no other mask"),
        ({"do": "paint", "points": [], "radius": 1}, "needs its points"),
    ],
)
def test_what_cannot_be_done_is_said(subject, step, message):
    with pytest.raises(ConfigError, match=message):
        apply_steps(subject, of(1), [step])


def test_steps_are_bounded(subject):
    with pytest.raises(ConfigError, match=f"At most {MOST_STEPS}"):
        apply_steps(subject, of(1), [{"do": "fill"}] * (MOST_STEPS + 1))


def test_of_a_large_photo_only_what_changed_differs():
    full = np.zeros((400, 600), bool)
    full[101:203, 57:311] = True
    small = resized(full, (200, 300))
    after = small.copy()
    after[:60] = False
    found = enlarge(full, small, after)
    np.testing.assert_array_equal(found[125:], full[125:])
    assert not found[:118].any()


STEPS = ({"do": "paint", "points": [[1.0, 1.0], [9.0, 1.0]], "radius": 2.0, "erases": False}, {"do": "fill"})


class TestSession:
    @pytest.fixture
    def begin(self, editable_run):
        run_view = read_run_view(editable_run)
        mask_id = int(run_view.frame["mask_id"].iat[0])
        photo = run_view.photos[0]
        ready = edited_photo(run_view, 0)

        def make(reviewer="Ada", target=mask_id):
            now = repairs_of(run_view).by_shown.get(target)
            mask = None if target is None else PhotoMask(target, shape_of(run_view, target), now.step if now else 0)
            return EditSession(editable_run, reviewer, photo, Subject(ready.mender, ready.scale), mask, {})

        return make

    @staticmethod
    def message(edit, number=1, steps=STEPS, keep=None):
        return {"owner": edit.owner, "number": number, "steps": list(steps), "keep": keep}

    def test_keep_writes_a_decision_once(self, begin):
        edit, keep = begin(), {"client": "tab", "seq": 3}
        edit.apply_message(self.message(edit))
        assert (edit.answered, edit.problem, edit.kept) == (1, "", None)
        assert decisions.version(edit.run) == 0
        edit.apply_message(self.message(edit, 2, keep=keep))
        assert edit.kept == edit.target.mask_id
        (form,) = decisions.read_repairs(edit.run).forms.values()
        assert form.code == encode_mask(edit._enlarged(edit.shapes.mask))
        again = begin()  # after a restart: the tab does not know that it was kept
        again.apply_message({**self.message(edit, 3, keep=keep)})
        assert (again.kept, again.refused) == (None, True)  # it stays open, and the tab lets go of what it had
        assert "is kept" in again.problem
        assert decisions.version(edit.run) == 1

    def test_two_people_at_once_one_is_told(self, begin):
        ada, bob = begin("Ada"), begin("Bob")
        ada.apply_message(self.message(ada, keep={"client": "a", "seq": 1}))
        bob.apply_message(self.message(bob, keep={"client": "b", "seq": 1}))
        assert ada.kept is not None
        assert (bob.kept, bob.refused) == (None, True)
        assert "Ada mended" in bob.problem
        after = begin("Bob")
        assert after.owner != bob.owner
        assert after.name == bob.name

    def test_steps_of_another_shape_are_not_applied(self, begin):
        edit = begin()
        edit.apply_message({**self.message(edit), "owner": "somebody's"})
        assert edit.steps == ()

    def test_a_step_that_cannot_be_done_leaves_those_before(self, begin):
        edit = begin()
        edit.apply_message(self.message(edit))
        edit.apply_message(self.message(edit, 2, steps=[*STEPS, {"do": "fly"}]))
        assert "one of click" in edit.problem
        assert len(edit.steps) == 2

    def test_new_mask_has_a_number_behind_all_others(self, begin):
        edit = begin(target=None)
        step = {"do": "new", "x": edit.photo.width / 2, "y": edit.photo.height / 2}
        edit.apply_message(self.message(edit, steps=[step], keep={"client": "a", "seq": 1}))
        assert edit.kept == DRAWN
        decisions.undo(edit.run, "Ada", scope=Scope.MASKS)
        assert decisions.read_repairs(edit.run).forms == {}


def test_two_sessions_share_one_photo(editable_run):
    """What sessions share is made once, and gives both the same masks at the same time."""
    run_view = read_run_view(editable_run)
    start = decode_mask(shape_of(run_view, int(run_view.frame["mask_id"].iat[0])))

    def mend(seed):
        ready = edited_photo(run_view, 0)
        generator = np.random.default_rng(seed)
        steps = [
            {"do": "click", "x": float(x), "y": float(y), "adds": True}
            for x, y in generator.uniform(0, min(start.shape), (4, 2))
        ]
        return ready, apply_steps(Subject(ready.mender, ready.scale), resized(start, ready.mender.size), steps).mask

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(mend, [number % 2 for number in range(16)]))
    assert len({id(ready) for ready, _ in found}) == 1
    for number, (_, mask) in enumerate(found):
        np.testing.assert_array_equal(mask, mend(number % 2)[1])


@pytest.mark.parametrize("page", ["audit", "proposals", "clusters"])
@pytest.mark.parametrize("edit", ["abc", "987654321", "-1 drawn", "new"])
def test_a_link_that_names_no_mask_is_said(editable_run, open_page, page, edit):
    app = open_page(page, run="tiny", edit=edit)
    assert not app.exception


def test_a_new_mask_stays_on_its_photo_when_the_page_beneath_goes_on_to_another(editable_run, open_page):
    first, second = (photo.id for photo in read_run_view(editable_run).photos[:2])
    app = open_page("audit", run="tiny", edit=f"new {first}", photo=second)
    assert not app.exception
    assert any(f"A new mask of photo {first} " in item.value for item in app.caption)


def test_a_mask_that_went_into_another_cannot_be_mended(editable_run, open_page):
    run_view = read_run_view(editable_run)
    frame = run_view.frame
    image = frame["image_id"].value_counts().index[0]
    first, second = frame.loc[frame["image_id"] == image, "mask_id"].tolist()[:2]
    both = encode_mask(run_view.codes.decode(first) | run_view.codes.decode(second))
    changes = [
        decisions.MaskChange(first, run_view.codes.code(first), both),
        decisions.MaskChange(second, run_view.codes.code(second), None),
    ]
    decisions.repair(editable_run, "Ann", image, changes, tool=Tool.MERGE)
    app = open_page("audit", run="tiny", edit=str(second))
    assert not app.exception
    assert any("joined the two" in item.value for item in app.warning)


def test_cuts_with_another_threshold_are_offered_beside_what_the_run_holds(editable_run, monkeypatch):
    run_view = read_run_view(editable_run)
    mask_id = int(run_view.frame["mask_id"].iat[0])
    mask = decode_mask(shape_of(run_view, mask_id))
    mender = edited_photo(run_view, int(run_view.frame["image"].iat[0])).mender
    other = np.zeros_like(mask)
    rows, cols = np.nonzero(mask)
    other[rows[: 2 * len(rows) // 3], cols[: 2 * len(rows) // 3]] = True
    monkeypatch.setattr(choices, "other_cuts", lambda _tokens, _mask, _config: iter([other]))
    found = choices.find_choices(run_view, 0, mask_id, mask, mender)
    assert "cut with another τ" in [choice.name for choice in found]
    assert all(choice.mask.shape == mender.size for choice in found)


def test_other_shapes_come_by_the_settings_and_tokens_of_the_run(editable_run):
    run_view = read_run_view(editable_run)
    for mask_id in run_view.frame.loc[run_view.frame["image"] == 0, "mask_id"].tolist():
        mask = decode_mask(shape_of(run_view, mask_id))
        found = choices.find_choices(run_view, 0, mask_id, mask, edited_photo(run_view, 0).mender)
        assert len(found) <= 9
        assert all(choice.src.startswith("data:image/jpeg") and choice.mask.any() for choice in found)
