"""A training that nobody disturbed."""

import pytest
from toy_training import CONFIG, ToyTask

from maskdistill.models.training.train import train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    task = ToyTask()
    train(task, CONFIG, folder=folder, seed=1)
    return folder, task
