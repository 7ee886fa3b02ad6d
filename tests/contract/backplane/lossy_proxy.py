"""A way to Redis that loses replies: requests arrive, and their replies do not."""

import asyncio
from contextlib import suppress
from typing import Self

CHUNK = 1 << 16


class _Link:
    """A client's connection: whether its next answer is lost, and whether it reads the log."""

    doomed = False
    reads = False


class LossyProxy:
    """Forwards both ways. After `lose_next_answer`, the connection on which the next append is sent is reset once
    the server has answered it. Without `channels` the server seems to know no RESP3, so nodes read all entries."""

    def __init__(self, port: int, *, channels: bool = False) -> None:
        self._port = port
        self._channels = channels
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._armed = False
        self._answers_lost = asyncio.Semaphore(0)
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def hold_reads(self) -> None:
        """Hold back what connections that read the log are sent, until `release`."""
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        """Reset all connections; what was held back is lost."""
        for writer in self._writers:
            writer.transport.abort()
        self.release()

    def lose_next_answer(self) -> None:
        self._armed = True

    async def until_lost(self) -> None:
        """Return when an answer was lost."""
        await self._answers_lost.acquire()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        link = _Link()
        self._links.add(asyncio.create_task(self._requests(reader, back, link)))
        self._links.add(asyncio.create_task(self._answers(there, writer, link)))

    async def _requests(self, near: asyncio.StreamReader, far: asyncio.StreamWriter, link: _Link) -> None:
        with suppress(ConnectionError):
            while data := await near.read(CHUNK):
                if self._armed and b"EVALSHA" in data:
                    self._armed = False
                    link.doomed = True
                if b"XREAD" in data:
                    link.reads = True
                far.write(data if self._channels else data.replace(b"HELLO", b"HELL0"))
        far.close()

    async def _answers(self, far: asyncio.StreamReader, near: asyncio.StreamWriter, link: _Link) -> None:
        with suppress(ConnectionError):
            while data := await far.read(CHUNK):
                if link.doomed:
                    self._answers_lost.release()
                    break
                if link.reads:
                    await self._flowing.wait()
                near.write(data)
        near.transport.abort()
