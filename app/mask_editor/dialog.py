"""The editor of a mask as a dialog that opens from any page; the link names the mask, so that it opens again.

A page calls ``show_editor`` at its end, and gives ``open_editor`` as what a button or a key does.
"""

import secrets
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from app import photo_cache, selection, session, widgets
from app.components.editable_image import Choice, Edit, editable_image
from app.components.layered_image import Layer, LayeredImage, View
from app.mask_editor.choices import find_choices
from app.mask_editor.edit_session import EditSession, PhotoMask
from app.mask_editor.shapes import Subject, resized
from app.mask_editor.subject import edited_photo
from app.run_view import RunView, repairs_of, shape_of
from app.selection import Option
from app.session import Key
from maskdistill.datasets.photo_table import number_of
from maskdistill.errors import ConfigError, MaskDistillError
from maskdistill.masks import bounding_box, decode_mask
from maskdistill.pictures import drawing
from maskdistill.pictures.colors import mask_color
from maskdistill.proposals.crf import crf_available

FRAGMENT = "editor"  # where a page has no dialog of a mask's details
_NEW, _DRAWN = "new", "drawn"  # "new" stands before the photo: the page beneath may go on to another one meanwhile
_MASK, _PART, _OTHERS, _BEFORE = mask_color(0), mask_color(1), "#B9C2CC", "#E8EEF4"
_CLOSE_UP = 0.5  # of the photo's sides: smaller masks are shown enlarged


def open_editor(mask_id: int | None, *, drawn: bool = False, fragment: str) -> None:
    """Callback: mend a mask, or a new one of the photo on show.

    Args:
        mask_id: The mask; None for a new one.
        drawn: Whether it begins as the first model draws it.
        fragment: The part of the page that shows the dialog: ``FRAGMENT``, or that of the details.
    """
    _choose(mask_id, drawn=drawn)
    st.rerun(fragment)


def _choose(mask_id: int | None, *, drawn: bool = False) -> None:
    if mask_id is None:
        name = f"{_NEW} {selection.current().photo}"
    else:
        name = f"{mask_id} {_DRAWN}" if drawn else str(mask_id)
    selection.set_option(Option.EDIT, name)
    session.remember(Key.EDITOR, None)


def is_open() -> bool:
    """Whether the editor is to be shown."""
    return bool(selection.option(Option.EDIT))


def close_editor() -> None:
    """Callback: leave the mask as it is."""
    selection.set_option(Option.EDIT, "")
    session.remember(Key.EDITOR, None)


@st.fragment(key=FRAGMENT)
@widgets.show_errors()
def show_editor(run_view: RunView) -> None:
    """Open the editor if a mask is to be mended."""
    if is_open():
        draw_dialog(run_view)
    selection.write_link()


def draw_dialog(run_view: RunView) -> None:
    """The dialog itself, where another fragment decides that it is shown."""

    @st.dialog("Mend a mask", width="large", icon=":material/draw:", on_dismiss=_dismiss)
    def opened() -> None:
        if not is_open():
            st.rerun()  # which closes it; the page beneath shows what was mended
        _draw(run_view)
        selection.write_link()

    opened()


def _dismiss() -> None:
    close_editor()
    st.rerun()


def _draw(run_view: RunView) -> None:
    try:
        edit = _session(run_view)
    except MaskDistillError as error:
        st.warning(widgets.escape(str(error)), icon=":material/broken_image:")
        return
    try:
        photo_url = photo_cache.photo_url(edit.photo)
    except MaskDistillError as error:
        st.warning(widgets.escape(str(error)), icon=":material/broken_image:")
        return
    st.caption(_title(edit))
    field = edited_photo(run_view, _number(run_view, edit)).field
    editable_image(
        _image(edit, photo_url),
        Edit(
            owner=edit.owner,
            subject=edit.name,
            server=_server(),
            answered=edit.answered,
            applied=len(edit.steps),
            fresh=edit.target is None,
            field=field,
            choices=tuple(Choice(src, name) for src, name in edit.pictures),
            sharpens=crf_available(),
            after=_after(edit),
            problem=edit.problem,
            refused=edit.refused,
        ),
        key="mask-editor",
        on_edit=partial(_apply, edit),
        on_leave=close_editor,
        on_open=partial(_open, edit),
    )


def _apply(edit: EditSession, message: dict[str, Any]) -> None:
    edit.apply_message(message)
    if edit.kept is not None:  # at once: a run of the whole page sees another mask by now, and would begin with that
        close_editor()
    elif edit.refused:  # the mask is another one by now: begin with that
        session.remember(Key.EDITOR, None)
        session.remember(Key.EDITOR_SAID, (edit.answered, edit.problem))


def _open(edit: EditSession, which: str) -> None:
    selection.select(photo=edit.photo.id)
    _choose(None if which == _NEW else int(which))


@st.cache_resource(max_entries=1, show_spinner=False)
def _server() -> str:
    return secrets.token_hex(4)


def _number(run_view: RunView, edit: EditSession) -> int:
    number = number_of(run_view.photos, edit.photo.id)
    assert number is not None  # the editor was begun on a photo of this run
    return number


def _session(run_view: RunView) -> EditSession:
    """This session's editor on the mask that the link names."""
    wanted, reviewer = selection.option(Option.EDIT), selection.reviewer()
    known: tuple[Any, EditSession] | None = session.recall(Key.EDITOR)
    key = (run_view.run.path, run_view.stamp, wanted, reviewer)
    if known is not None and known[0] == key:
        return known[1]
    edit = _begin(run_view, wanted, reviewer)
    edit.answered, edit.problem = session.recall(Key.EDITOR_SAID) or (0, "")
    edit.refused = bool(edit.problem)
    session.remember(Key.EDITOR_SAID, None)
    session.remember(Key.EDITOR, (key, edit))
    return edit


def _begin(run_view: RunView, wanted: str, reviewer: str) -> EditSession:
    name, _, rest = wanted.partition(" ")
    if name == _NEW:
        number = number_of(run_view.photos, rest)
        if number is None:
            raise ConfigError("The run has no such photo. Choose one of its photos first.")
        target = None
    elif name.isdecimal():
        target = _target(run_view, int(name), drawn=rest == _DRAWN)
        number = _photo_number(run_view, target.mask_id)
    else:
        raise ConfigError(f"The link's 'edit={wanted[:40]}' names no mask. Leave the editor, and open it on one.")
    photo = run_view.photos[number]
    ready = edited_photo(run_view, number)
    others = {
        mask.mask_id: mask for mask in _masks_of(run_view, number) if target is None or mask.mask_id != target.mask_id
    }
    small = {id: resized(decode_mask(mask.code), ready.mender.size) for id, mask in others.items()}
    choices = []
    if target is not None:
        choices = find_choices(run_view, number, target.mask_id, decode_mask(target.code), ready.mender)
    subject = Subject(ready.mender, ready.scale, small, [choice.mask for choice in choices])
    pictures = tuple((choice.src, choice.name) for choice in choices)
    return EditSession(run_view.run, reviewer, photo, subject, target, others, pictures)


def _target(run_view: RunView, mask_id: int, *, drawn: bool) -> PhotoMask:
    form = repairs_of(run_view).by_shown.get(mask_id)
    if form is not None and form.code is None:
        raise ConfigError(f"Mask {mask_id} went into another one: {form.reviewer} joined the two. Undo that first.")
    if form is not None and form.code is not None:
        return PhotoMask(form.mask_id, form.code, form.step)
    return PhotoMask(mask_id, shape_of(run_view, mask_id, drawn=drawn), 0)


def _photo_number(run_view: RunView, mask_id: int) -> int:
    form = repairs_of(run_view).forms.get(mask_id)
    if form is not None:
        return form.image
    return int(run_view.frame["image"].to_numpy()[run_view.table.rows_of([mask_id])[0]])


def _masks_of(run_view: RunView, number: int) -> list[PhotoMask]:
    """The masks of a photo as they are now, without objects that only a model saw."""
    frame, forms = run_view.frame, repairs_of(run_view).forms
    mine = frame[(frame["image"] == number) & (frame["origin"] == "proposal")]
    found = {int(id): PhotoMask(int(id), run_view.codes.code(int(id)), 0) for id in mine["mask_id"].tolist()}
    for form in forms.values():
        if form.image != number:
            continue
        found.pop(form.mask_id, None)
        if form.code is not None:
            found[form.mask_id] = PhotoMask(form.mask_id, form.code, form.step)
    return list(found.values())


def _after(edit: EditSession) -> int:
    """The photo's next mask, round and round; -1 for none."""
    ids, here = sorted(edit.others), -1 if edit.target is None else edit.target.mask_id
    return next((id for id in ids if id > here), ids[0]) if ids else -1


def _title(edit: EditSession) -> str:
    name = "A new mask" if edit.target is None else f"Mask {edit.target.mask_id}"
    return f"{name} of photo {widgets.escape(edit.photo.id)} · kept as {widgets.escape(edit.reviewer)}"


def _image(edit: EditSession, photo_url: str) -> LayeredImage:
    shapes = edit.shapes
    layers = [_layer(shapes.mask, _MASK)]
    if shapes.part is not None:
        layers.append(_layer(shapes.part, _PART))
    others = [mask for id, mask in edit.subject.others.items() if id not in shapes.joined]
    if others:
        layers.append(_layer(np.any(others, axis=0), _OTHERS, opacity=0.35))
    box = _box(edit)
    return LayeredImage(
        src=photo_url,
        size=(edit.photo.width, edit.photo.height),
        alt=f"Photo {edit.photo.id} with the mask that is being mended",
        height="min(66vh, 760px)",
        fills=True,
        views=(View(tuple(layers), "Now", box=box), View((_layer(edit.start, _BEFORE),), "Before", box=box)),
        opacity=45,
        keep_settings="editor",
    )


def _layer(mask: np.ndarray, color: str, opacity: float = 1.0) -> Layer:
    return Layer(drawing.png_url(drawing.mask_layer(mask, color)), opacity, smooth=False, outline=True)


def _box(edit: EditSession) -> tuple[int, int, int, int] | None:
    """The part of the photo that is enlarged: around a small mask as it was, so that nothing moves at a click."""
    if not edit.start.any():
        return None
    x, y, width, height = (round(side / edit.subject.scale) for side in bounding_box(edit.start))
    is_small = max(width / edit.photo.width, height / edit.photo.height) < _CLOSE_UP
    return (x, y, width, height) if is_small else None
