"""The photos that masks are brought for."""

import pytest
from given_data import draw_photos


@pytest.fixture
def source(tmp_path):
    return draw_photos(tmp_path / "photos")
