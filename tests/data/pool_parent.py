"""Gives processes of a pool work that takes for ever: ``pool_parent.py photos FOLDER``, or ``precision`` for photos."""

import sys
from pathlib import Path

from echo_worker import sleep

from maskdistill.config import RunConfig
from maskdistill.stages import local_pool
from maskdistill.stages.pool import Workers, ask_features, map_photos
from maskdistill.stages.tasks import WorkerSpec

if __name__ == "__main__" and sys.argv[1] == "photos":
    spec = WorkerSpec("echo_worker:make_sleeper", Path(sys.argv[2]), RunConfig(), torch=False)
    list(map_photos(spec, [(0,), (1,)], Workers(2)))
elif __name__ == "__main__":
    local_pool.settle_features = sleep
    ask_features(RunConfig().features)
