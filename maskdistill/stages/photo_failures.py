"""What to do when a photo fails: which errors are its own, and the reason it is left out with. Without torch."""

import errno
import logging

from maskdistill.datasets import Photo
from maskdistill.datasets.scanning import is_as_seen
from maskdistill.errors import MaskDistillError
from maskdistill.files import is_disk_full
from maskdistill.machine import is_out_of_memory

logger = logging.getLogger(__name__)

# What a damaged or odd photo can raise on its way; such a photo is noted with its reason and the run goes on.
PHOTO_ERRORS = (MaskDistillError, OSError, ValueError, RuntimeError, ArithmeticError)

# Too many open files; a folder of the run that cannot be written. That a photo may not be read comes as DatasetError.
_OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EACCES, errno.EPERM)


def describe_failure(photo: Photo, error: Exception) -> str:
    """Why a photo is left out, as a sentence.

    Raises:
        Exception: The error itself, where it is no fault of the photo.
    """
    number = getattr(error, "errno", None)
    if is_disk_full(error) or is_out_of_memory(error) or number in _OF_THE_MACHINE:
        raise error  # no fault of the photo: it would stay out of the run for ever
    reason = str(error) if isinstance(error, MaskDistillError) else f"{type(error).__name__}: {error}"
    logger.warning("Skipped %s: %s", photo.id, reason)
    return reason


def is_missed(photo: Photo, error: Exception) -> bool:
    """Whether the file is not the one that was seen first, or the system could not read it: that may pass."""
    if any(getattr(cause, "errno", None) is not None for cause in (error, error.__cause__)):
        return True
    return not is_as_seen(photo)
