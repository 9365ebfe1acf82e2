"""Photos in stores, by fsspec."""

import logging
import sys

import numpy as np
import pytest
from photo_server import SECRET, picture

from maskdistill.datasets import addresses, open_source, read_photo
from maskdistill.datasets.remote import RemoteError, fetch, open_piece
from maskdistill.errors import ConfigError


@pytest.fixture
def store(served, monkeypatch):
    """fsspec's file system in memory, taken for a store."""
    fsspec = pytest.importorskip("fsspec", reason="an extra")
    monkeypatch.setattr(addresses, "SCHEMES", [*addresses.SCHEMES, "memory"])
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


def test_store_of_fsspec(store, tmp_path):
    store.pipe({"/bucket/a.png": picture(10), "/bucket/list.txt": b"a.png\ngone.png\nmemory://bucket/a.png"})
    source = open_source("memory://bucket/list.txt")
    assert [photo.id for photo in source.photos] == ["a"]
    assert source.skipped[0].reason == "There is no such object."
    assert np.asarray(read_photo(source.photos[0])).mean() == 10
    store.pipe("/bucket/x.bin", bytes(range(100)))
    with open_piece("memory://bucket/x.bin", 10, 5) as file:
        assert file.read() == bytes(range(10, 15))


def test_trouble_of_a_store_is_told_without_its_words(store, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError(f"denied for key {SECRET}")

    monkeypatch.setattr(type(store), "open", fail)
    with pytest.raises(RemoteError, match="RuntimeError.*2 times") as found:
        fetch("memory://bucket/a.png")
    assert SECRET not in str(found.value)


class HttpError(Exception):
    """As gcsfs raises it."""

    code = 401


class NoCredentialsError(Exception):
    """As s3fs passes it on."""


@pytest.mark.parametrize(
    "error", [PermissionError(SECRET), OSError(f"Forbidden: {SECRET}"), HttpError(SECRET), NoCredentialsError(SECRET)]
)
def test_store_that_refuses_the_account_is_asked_once(store, monkeypatch, error):
    asked = []

    def refuse(*_, **__):
        asked.append(1)
        raise error

    monkeypatch.setattr(type(store), "open", refuse)
    with pytest.raises(RemoteError, match="may not read it: check the credentials") as found:
        fetch("memory://bucket/a.png")
    assert SECRET not in str(found.value)
    assert len(asked) == 1


def test_packages_of_stores_log_nothing(store, caplog):
    with pytest.raises(RemoteError):
        fetch("memory://bucket/none.png")
    logging.getLogger("gcsfs.core").error("Cannot ask for %s", SECRET)
    assert caplog.text == ""


def test_missing_package_is_one_sentence(served, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r"Install it: pip install 'maskdistill\[remote\]'"):
        open_source("s3://bucket/list.txt")
