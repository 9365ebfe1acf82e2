"""A run to decide on."""

import pytest
from decisions_data import make_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")
