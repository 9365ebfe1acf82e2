"""What tests of remembered photos share."""

import pytest

from maskdistill.datasets import scanning, seen_files


@pytest.fixture
def settled(monkeypatch):
    """Files that were written just now count as old."""
    monkeypatch.setattr(seen_files, "_SETTLED_NS", -(10**12))


@pytest.fixture
def read(monkeypatch):
    """The files that were read, one after the other."""
    paths = []

    def note(path, *more):
        paths.append(path.name)
        return inspect(path, *more)

    inspect = scanning.inspect_image
    monkeypatch.setattr(scanning, "inspect_image", note)
    return paths
