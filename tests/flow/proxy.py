"""A network between a client and a server, which a test can cut or hold up."""

import asyncio
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Forwards bytes both ways until `cut`; then both ends hear nothing more, not even an end.

    Between `hold` and `release` nothing is taken from the server, as by a client that is slow.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._whole = True
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        self._whole = False

    def restore(self) -> None:
        """Let new connections through; those from before have lost bytes."""
        self._whole = True

    def hold(self) -> None:
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        always = asyncio.Event()
        always.set()
        for source, sink, flowing in ((reader, back, always), (there, writer, self._flowing)):
            self._pumps.add(asyncio.create_task(self._pump(source, sink, flowing)))

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, flowing: asyncio.Event
    ) -> None:
        try:
            while data := await source.read(65536):
                await flowing.wait()
                if self._whole:
                    sink.write(data)
        finally:
            sink.close()
