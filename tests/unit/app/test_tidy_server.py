"""A server that lives for weeks gives back the memory that its pages freed."""

import asyncio

from app import server


def test_server_gives_back_memory_once_it_has_grown(monkeypatch):
    given = []
    monkeypatch.setattr(server, "_TIDY_EVERY", 0.01)
    monkeypatch.setattr(server, "_GROWN", 1.5)
    monkeypatch.setattr(server, "give_back_memory", lambda: given.append("back"))

    async def live():
        async with server.started(None):
            await asyncio.sleep(0.3)

    asyncio.run(live())
    assert given == ["back"]  # the first time; after that the server did not grow
