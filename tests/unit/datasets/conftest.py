"""What tests of remembered photos, and of those on other machines, share."""

import pytest
from photo_server import serving

from maskdistill.datasets import remote, scanning, seen_files


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


@pytest.fixture
def served(tmp_path, monkeypatch):
    """(folder, its address, the server) with an empty cache of what was fetched."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv(remote.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(remote.ALLOW_VARIABLE, raising=False)
    monkeypatch.setattr(remote, "_PATIENCE", 0.001)
    with serving(folder) as server:
        yield folder, f"http://127.0.0.1:{server.server_port}", server
