"""One case: what a user does with odd input, and how it ended."""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskdistill.errors import MaskDistillError

Ending = Literal["read", "noted", "refused", "lost", "unhandled"]
Make = Callable[[random.Random, Path], "Attempt"]
_LONGEST = 3000  # letters; the longest names every setting that there is


class WrongError(Exception):
    """What came of a case is not what must come of it."""


@dataclass(frozen=True)
class Attempt:
    """What is tried with a case."""

    act: Callable[
        [], Literal["read", "noted"]
    ]  # raises MaskDistillError if it refuses, WrongError if the result is wrong
    names: tuple[str, ...]  # an error must name one of these
    what: str = ""  # what was drawn, for people
    must_be_read: bool = False  # sound, if unusual: no refusal
    may_change: Callable[[str], bool] = lambda _: False  # paths inside the folder that the act may write


@dataclass(frozen=True)
class Result:
    """How a case ended."""

    ending: Ending
    text: str = ""  # the error, or what is wrong
    what: str = ""


def try_attempt(attempt: Attempt, folder: Path) -> Result:
    """Do it, and see whether it is read or refused as it must be and whether every file is still there."""
    before = contents(folder)
    try:
        result = Result(attempt.act(), what=attempt.what)
    except WrongError as error:
        result = Result("unhandled", str(error), attempt.what)
    except MaskDistillError as error:
        result = _judge(attempt, str(error))
    after = contents(folder)
    lost = [name for name, digest in before.items() if after.get(name) != digest and not attempt.may_change(name)]
    return Result("lost", f"{lost[0]} is gone or another", attempt.what) if lost else result


def contents(folder: Path) -> Mapping[str, str]:
    """Digest of every plain file, by its path inside the folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest() for path in files}


def _judge(attempt: Attempt, sentence: str) -> Result:
    if attempt.must_be_read:
        return Result("unhandled", f"refused, though it is sound: {sentence}", attempt.what)
    if not any(name.replace("\0", "\\0") in sentence for name in attempt.names):
        return Result("unhandled", f"the error names none of {attempt.names[:3]}: {sentence}", attempt.what)
    if len(sentence) > _LONGEST:
        return Result("unhandled", f"an error of {len(sentence)} letters: {sentence[:200]}", attempt.what)
    return Result("refused", sentence, attempt.what)
