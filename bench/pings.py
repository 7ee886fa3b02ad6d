"""What another connection notices while the server works: pings from a process of their own."""

import asyncio
import sys
from asyncio.subprocess import Process
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import msgspec

from bench.load import pinger
from bench.load.latency import Histogram
from bench.machine import ROOT
from bench.servers import Running


class Pings(msgspec.Struct, frozen=True):
    """What pings took. `whole`: from when a ping was due to when its pong was read. `server` is the part between:
    from when it was sent to when the pong arrived. `own` is the rest, while this process waited for its core."""

    whole: Histogram
    server: Histogram
    own: Histogram


class Pinger(AbstractAsyncContextManager["Pinger"]):
    """Runs bench.load.pinger; `take` gives what its pings took since it was last asked."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._process: Process | None = None

    async def __aenter__(self) -> "Pinger":
        self._process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "bench.load.pinger",
            self._server.host, str(self._server.port),
            cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await self._line()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            await self._process.communicate(b"")

    async def take(self) -> Pings:
        """Once every ping has its pong. Raises RuntimeError when the process has ended."""
        assert self._process is not None, "it was entered"
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.write(b"\n")
        found = msgspec.json.decode(await self._line(), type=pinger.Counts)
        return Pings(Histogram(found.whole), Histogram(found.server), Histogram(found.own))

    async def _line(self) -> bytes:
        assert self._process is not None, "it was entered"
        assert self._process.stdout is not None, "it is a pipe"
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that sends pings has ended")
        return line


def shares(found: Histogram) -> str:
    """The median, the 99th percentile and the longest, for a table; a dash when there are none."""
    if not found.counts:
        return "–"
    return " / ".join(f"{found.percentile(share):.1f}" for share in (0.5, 0.99, 1)) + " ms"
