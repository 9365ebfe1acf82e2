"""What the benchmarks' relay makes of the bytes that pass it."""

import pytest

from benchmarks.relay import _Frames

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n"


def frame(payload: bytes, opcode: int = 2, mask: bytes = b"") -> bytes:
    flag = 0x80 if mask else 0
    if len(payload) < 126:
        size = bytes([flag | len(payload)])
    elif len(payload) < 1 << 16:
        size = bytes([flag | 126]) + len(payload).to_bytes(2, "big")
    else:
        size = bytes([flag | 127]) + len(payload).to_bytes(8, "big")
    return bytes([0x80 | opcode]) + size + mask + payload


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_messages_come_out_whole_however_they_are_cut(size, step):
    sent, frames = HEAD + frame(b"x" * size) + frame(b"last"), _Frames()
    chunks = [sent[start : start + step] for start in range(0, len(sent), step)]
    assert [item for chunk in chunks for item in frames.take(chunk)] == [(size, b"x" * size), (4, b"last")]


def test_housekeeping_is_left_out():
    assert list(_Frames().take(HEAD + frame(b"ping", opcode=9) + frame(b"a"))) == [(1, b"a")]


def test_masked_messages_are_counted_and_not_read():
    question = b"GET /_stcore/stream HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
    assert list(_Frames().take(question + frame(b"abc", mask=b"1234"))) == [(3, b"")]


def test_other_connections_are_not_looked_at():
    assert list(_Frames().take(b"HTTP/1.1 200 OK\r\n\r\n" + frame(b"a"))) == []
