"""The examples of the public names run as they stand, in a folder of their own."""

import inspect
import re

import pytest

import maskdistill as md
from maskdistill.stages import local_pool

REAL_WEIGHTS = "focus_vits14"


def example_of(name):
    found = re.search(r"^Example:\n\s*```python\n(.*?)```", inspect.getdoc(getattr(md, name)), re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no example"
    return inspect.cleandoc(found[1])


def runs(name):
    loads = "load_backbone(" in example_of(name) or "run_stages(" in example_of(name)
    slow = REAL_WEIGHTS in example_of(name) and loads
    return pytest.param(name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("name", [runs(name) for name in md.__all__])
def test_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local_pool, "usable_cores", lambda: 1)  # of processes for two photos others tell
    exec(compile(example_of(name), f"the example of {name}", "exec"), {})
