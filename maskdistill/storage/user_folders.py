"""Folders that belong to the user and not to a run."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """``$MASKDISTILL_CACHE``, else ``maskdistill`` in the user's cache folder: what can be made again."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "maskdistill"
    return Path(os.environ.get("MASKDISTILL_CACHE", default))
