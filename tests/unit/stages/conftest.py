"""The whole run on drawn photos, and one with single objects; both to look at only."""

import pytest
from tiny_run import run_chain

from maskdistill.storage.run_folder import Run

ON = (
    *("foreground.enabled=true", "foreground.folds=2", "foreground.steps=20", "foreground.dimensions=8"),
    *("instances.enabled=on", "instances.composites=5", "instances.epochs=2", "proposals.pool=on"),
    *("proposals.pool_depth=3", "stage1.epochs=1"),
)


@pytest.fixture
def run(finished):
    """A whole run, to look at only."""
    return finished[0]


@pytest.fixture(scope="session")
def instance_settings(scene):
    return scene[1].with_overrides(ON)


@pytest.fixture(scope="session")
def with_instances(tmp_path_factory, scene, instance_settings):
    """A run up to its single objects, to look at only."""
    run = Run(tmp_path_factory.mktemp("instances") / "run")
    run_chain(run.path, scene[0], instance_settings, wanted=("instances",))
    return run
