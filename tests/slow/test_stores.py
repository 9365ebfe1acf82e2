"""Photos in Google's store: its package against an emulator on this machine.

pip install -e '.[remote]' gcp-storage-emulator
"""

import io
import tarfile
import urllib.request

import numpy as np
import pytest
from PIL import Image

from maskdistill.datasets import open_source, read_photo
from maskdistill.datasets.remote import CACHE_VARIABLE, stamp

pytestmark = pytest.mark.slow


def picture(grey: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((60, 80, 3), grey, np.uint8)).save(file, "PNG")
    return file.getvalue()


def shard(*greys: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for grey in greys:
            info = tarfile.TarInfo(f"{grey}.png")
            info.size = len(picture(grey))
            tar.addfile(info, io.BytesIO(picture(grey)))
    return file.getvalue()


@pytest.fixture
def put(monkeypatch, tmp_path):
    """``put(name, content)``: an object of the bucket "photos"."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # else it looks for credentials on a machine of Google's
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # which asks Google for the kind of bucket
    pytest.importorskip("gcsfs", reason="an extra: pip install -e '.[remote]'")
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="pip install gcp-storage-emulator")
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="photos")
    server.start()
    address = "http://{}:{}".format(*server._api._httpd.server_address)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))

    def upload(name, content):
        place = f"{address}/upload/storage/v1/b/photos/o?uploadType=media&name={name}"
        urllib.request.urlopen(urllib.request.Request(place, data=content, method="POST")).close()

    yield upload
    server.stop()


def test_list_and_photos(put, capfd):
    for grey in (10, 200):
        put(f"{grey}.png", picture(grey))
    put("list.txt", b"gs://photos/10.png\n200.png\ngone.png\n")
    source = open_source("gs://photos/list.txt")
    assert [np.asarray(read_photo(photo)).mean() for photo in source.photos] == [10, 200]
    assert [item.reason for item in source.skipped] == ["There is no such object."]
    assert "gcsfs" not in capfd.readouterr().err


def test_shards_and_a_change_is_seen(put):
    put("a-0.tar", shard(10, 20))
    put("a-1.tar", shard(30))
    source = open_source("gs://photos/a-{0..1}.tar")
    assert [np.asarray(read_photo(photo)).mean() for photo in source.photos] == [10, 20, 30]
    before = stamp("gs://photos/a-1.tar")
    assert stamp("gs://photos/a-1.tar") == before
    put("a-1.tar", shard(40))
    assert stamp("gs://photos/a-1.tar") != before
