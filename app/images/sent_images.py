"""Each picture is sent to a browser once: later messages only name it.

The browser's side is ``sent_images.js``. It keeps more than is remembered here, and asks again for pictures that it
does not have, as after a message that a newer run replaced.
"""

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

from app import session

MAX_CHARACTERS = 24_000_000  # remembered as sent, of the pictures used last; sent_images.js keeps twice as many


class SentImages:
    """Pictures that a browser has, by names that their content gives them."""

    def __init__(self, most: int = MAX_CHARACTERS) -> None:
        self._most = most
        self._lengths: OrderedDict[str, int] = OrderedDict()

    def pack(self, pictures: Iterable[str]) -> tuple[list[str], dict[str, str]]:
        """Names of pictures, in order, and those to send along.

        Args:
            pictures: Data URLs; an empty one is named "".
        """
        names, new = [], {}
        for picture in pictures:
            name = blake2b(picture.encode("ascii"), digest_size=9).hexdigest() if picture else ""
            names.append(name)
            if not name:
                continue
            if name not in self._lengths:
                new[name] = picture
            self._lengths[name] = len(picture)
            self._lengths.move_to_end(name)
        self._shrink(keep=set(names))
        return names, new

    def forget(self, names: Iterable[str]) -> None:
        """Send these again the next time."""
        for name in names:
            self._lengths.pop(name, None)

    def _shrink(self, keep: set[str]) -> None:
        total = sum(self._lengths.values())
        for name in list(self._lengths):
            if total <= self._most:
                return
            if name not in keep:
                total -= self._lengths.pop(name)


def sent() -> SentImages:
    """What this session's browser has."""
    images = session.recall(session.Key.PICTURES)
    if images is None:
        images = SentImages()
        session.remember(session.Key.PICTURES, images)
    return images


def send_again(key: str) -> None:
    """Callback of a component: its trigger ``missing`` has the names of pictures that the browser does not have."""
    sent().forget(session.component_value(key, "missing") or ())
