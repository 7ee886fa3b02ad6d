"""The worker process of this node, as seen by the server."""

import asyncio
import sys
from typing import Final

from msgspec.structs import replace

from aerostack_realtime.documents.requests import HEAD, Answer, More, Request, decode_answer, framed
from aerostack_realtime.protocol.errors import Unavailable

PART: Final = 1_000
"""Messages that are sent to the worker at once."""
ANSWER_SECONDS: Final = 60.0
"""How long a request may take: the largest document takes a few seconds on a busy machine."""


class WorkerEnded(Unavailable):
    """The process that reads documents ended or took too long. Both may be the fault of the document."""

    def __init__(self) -> None:
        super().__init__("The process that reads documents ended, or took too long. Try again in a moment.")


class DocumentWorker:
    """Starts with the first request, and again after it has ended. Requests are answered one after the other."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def ask(self, request: Request) -> Answer:
        """The answer of the worker. Raises WorkerEnded."""
        async with self._turn:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await self._ask(request)
            except BaseException as error:
                await self.close()
                if isinstance(error, asyncio.IncompleteReadError | ConnectionError | TimeoutError):
                    raise WorkerEnded from error
                raise

    async def close(self) -> None:
        """End the process. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _ask(self, request: Request) -> Answer:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "aerostack_realtime.documents.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # a signal from the terminal is for the server
            )
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None, "it is a pipe"
        assert answers is not None, "it is a pipe"
        while len(request.messages) > PART:  # a part at a time, so that encoding delays nobody
            requests.write(framed(More(request.messages[:PART])))
            request = replace(request, messages=request.messages[PART:])
            await requests.drain()
            await asyncio.sleep(0)
        requests.write(framed(request))
        await requests.drain()
        size = int.from_bytes(await answers.readexactly(HEAD), "big")
        return decode_answer(await answers.readexactly(size))
