"""The whole run on drawn photos, for what its stages leave."""

import pytest


@pytest.fixture
def run(finished):
    """A whole run, to look at only."""
    return finished[0]
