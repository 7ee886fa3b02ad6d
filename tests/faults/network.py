"""The network between two parts of a run: a TCP proxy that can be cut, closed, stalled, silenced and slowed."""

import asyncio
from typing import Self

CHUNK = 1 << 16


class _Link:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(self, network: "Network", near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.network = network
        self.near = near
        self.far = far
        self.torn = False

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(CHUNK):
                await self.network.flowing.wait()
                if self.network.latency:
                    await asyncio.sleep(self.network.latency)
                if self.network.silent:
                    self.torn = True
                if not self.torn:
                    sink.write(data)
                    await sink.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Both ends are reset."""
        for writer in (self.near, self.far):
            writer.transport.abort()


class Network:
    """Forwards to the server's port, which may be closed now and then. Listens where it is `bound_to`."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._port = port
        self._host = host
        self.bound_to = "127.0.0.1"
        self._links: set[_Link] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.latency = 0.0
        self.silent = False
        self.closed = False
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.bound_to, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is None:
            return
        self._server.close()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Reset every connection."""
        for link in list(self._links):
            link.abort()

    def close(self) -> None:
        """Reset every connection, and each new one, until `heal`."""
        self.closed = True
        self.cut()

    def stall(self) -> None:
        """Hold everything back until `heal`; nothing is lost."""
        self.flowing.clear()

    def silence(self) -> None:
        """Swallow everything until `heal`, as a cable that was pulled."""
        self.silent = True

    def heal(self) -> None:
        """As good as new; connections of which something was swallowed are reset."""
        self.latency = 0.0
        self.silent = self.closed = False
        self.flowing.set()
        for link in list(self._links):
            if link.torn:
                link.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, writer, back)
        if self.closed:
            link.abort()
            return
        self._links.add(link)
        pumps = [asyncio.create_task(link.pump(reader, back)), asyncio.create_task(link.pump(there, writer))]
        for pump in pumps:
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)
            pump.add_done_callback(lambda _: self._links.discard(link))
