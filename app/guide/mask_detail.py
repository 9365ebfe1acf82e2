"""A crop of the run that is clicked opens its detail, which takes the crop's photo along; the guide keeps its own."""

from app import selection, session
from app.mask_detail.dialog import open_mask
from app.session import Key


def look_into(mask_id: int) -> None:
    """Callback: show a mask's detail."""
    _remember()
    open_mask(mask_id)


def keep_photo() -> None:
    """Go on with the photo of before, if a mask was looked into since."""
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
