"""One way to keep what the library makes: bounded, keyed by ids and states of files, never by arrays, guarded."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import partial, wraps
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from maskdistill.machine import give_back_memory

_Made = TypeVar("_Made")
_SLOW = 0.5  # seconds: whatever takes longer has read much, most of which it needs no more


def stamp(paths: Iterable[Path]) -> str:
    """A short name of the state that files are in: another as soon as one is made anew, comes or goes."""
    times = [(str(path), _modified(path)) for path in paths]
    return blake2b(repr(times).encode(), digest_size=12).hexdigest()


def _modified(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # asked for in one step: another thread may delete a file that was there just now
        return None


class Shelf:
    """A small store shared by all sessions, for what must show progress while it is made."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The item, made in the caller's thread if it is not there."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
        item = _make_and_tidy(make)
        with self._lock:
            self._items[key] = item
            while len(self._items) > self._size:
                self._items.popitem(last=False)
        return item

    def drop(self, key: Hashable) -> None:
        """Forget an item."""
        with self._lock:
            self._items.pop(key, None)


def newest(size: int) -> Callable[[Callable[..., _Made]], Callable[..., _Made]]:
    """Decorator: keep what a function makes, for the newest state of each of the ``size`` places used last.

    The function's first argument names the place, such as a run's path, and its second one the state: what was made of
    an earlier state of the place is let go, for nobody asks for it again. Both must be hashable; the other arguments
    are not looked at. One thread makes it while the others that want it wait.
    """

    def decorate(make: Callable[..., _Made]) -> Callable[..., _Made]:
        kept: OrderedDict[Hashable, _Newest] = OrderedDict()
        guard = threading.Lock()

        @wraps(make)
        def get(place: Hashable, state: Hashable, *others: Any) -> _Made:
            with guard:
                found = kept.setdefault(place, _Newest())
                kept.move_to_end(place)
                while len(kept) > size:
                    kept.popitem(last=False)
            with found.lock:
                if not found.made or found.made[0] != state:
                    found.made = None
                    found.made = state, _make_and_tidy(partial(make, place, state, *others))
                return found.made[1]

        return get

    return decorate


def _make_and_tidy(make: Callable[[], _Made]) -> _Made:
    start = time.monotonic()
    made = make()
    if time.monotonic() - start > _SLOW:
        give_back_memory()
    return made


@dataclass
class _Newest:
    made: tuple[Hashable, Any] | None = None  # the state, and what was made of it
    lock: threading.Lock = field(default_factory=threading.Lock)
