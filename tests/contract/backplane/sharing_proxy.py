"""A proxy that sends the commands of all its clients over one connection, as twemproxy and Envoy do."""

import asyncio
from typing import Self

import hiredis

CHUNK = 1 << 16


class SharingProxy:
    """`replace` is text of replies that is replaced, by text of the same length."""

    def __init__(self, port: int, replace: tuple[bytes, bytes] = (b"", b"")) -> None:
        self._port = port
        self._replace = replace
        self._turn = asyncio.Lock()
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()
        self._writer.close()
        await self._writer.wait_closed()

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        requests = hiredis.Reader()
        try:
            while data := await near.read(CHUNK):
                requests.feed(data)
                while (request := requests.gets()) is not False:
                    back.write(await self._ask(request))
        except ConnectionError:
            pass
        finally:
            back.close()

    async def _ask(self, request: list[bytes]) -> bytes:
        async with self._turn:
            self._writer.write(hiredis.pack_command(tuple(request)))  # type: ignore[arg-type]
            replies = hiredis.Reader()
            answer = b""
            while replies.gets() is False:
                data = await self._reader.read(CHUNK)
                replies.feed(data)
                answer += data
        return answer.replace(*self._replace) if self._replace[0] else answer
