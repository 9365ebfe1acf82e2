import importlib

import pytest

import maskdistill


def test_every_public_name_is_there_and_is_that_of_its_module():
    for name in maskdistill.__all__:
        value = getattr(maskdistill, name)
        assert getattr(importlib.import_module(value.__module__), name) is value
        assert value.__module__.startswith("maskdistill.")
    assert set(maskdistill.__all__) < set(dir(maskdistill))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="propse"):
        _ = maskdistill.propse
