"""Gives two processes of a pool work that takes for ever: ``pool_parent.py FOLDER``."""

import sys
from pathlib import Path

from maskdistill.config import RunConfig
from maskdistill.stages.pool import map_photos
from maskdistill.stages.tasks import WorkerSpec

if __name__ == "__main__":
    spec = WorkerSpec("echo_worker:make_sleeper", Path(sys.argv[1]), RunConfig(), torch=False)
    list(map_photos(spec, [(0,), (1,)], 2))
