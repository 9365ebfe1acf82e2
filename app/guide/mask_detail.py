"""Details of the run's masks in the guide: opening one selects its photo; closing it returns to the guide's."""

from app import selection, session
from app.mask_detail.dialog import open_mask
from app.session import Key


def open_detail(mask_id: int) -> None:
    """Callback: show a mask's detail."""
    _remember()
    open_mask(mask_id)


def restore_photo() -> None:
    """Select the guide's own photo again, if a mask's detail was opened since."""
    kept, chosen = session.recall(Key.GUIDE_PHOTO), selection.current()
    if kept is not None and kept[:2] == (chosen.run, chosen.data):
        selection.select(photo=kept[2], patch=kept[3])
    if chosen.mask is None:
        session.remember(Key.GUIDE_PHOTO, None)
    elif kept is None:
        _remember()


def _remember() -> None:
    chosen = selection.current()
    session.remember(Key.GUIDE_PHOTO, (chosen.run, chosen.data, chosen.photo, chosen.patch))
