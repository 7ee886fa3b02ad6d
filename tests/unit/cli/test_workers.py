"""The parent of several workers: signals reach them, and one that ends is started again."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aerostack_realtime.cli.workers import NEVER_STARTED, supervise

PATIENCE = 60.0
WORKER = """
import signal, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
number = sys.argv[-1]
def say(word): line.sendall(f"{word} {number}\\n".encode())
signal.signal(signal.SIGHUP, lambda *_: say("hup"))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
say("ready")
while True:
    signal.pause()
"""


class Lines:
    """What workers say, and the connections by which they say it: one that ends is a worker that ended."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.said.put_nowait(line.decode().strip())
        writer.close()

    async def next(self, count: int) -> list[str]:
        async with asyncio.timeout(PATIENCE):
            return sorted([await self.said.get() for _ in range(count)])


def newest_child() -> int:
    """The process that this one started last."""
    return int(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[-1])


@asynccontextmanager
async def workers(place: Path, count: int) -> AsyncIterator[tuple[Lines, "asyncio.Task[int]"]]:
    lines = Lines()
    server = await asyncio.start_unix_server(lines.listen, place / "line")
    async with server:
        running = asyncio.create_task(supervise([sys.executable, "-c", WORKER, str(place / "line")], count))
        assert await lines.next(count) == [f"ready {number}" for number in range(1, count + 1)]
        yield lines, running
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await running == 0


async def test_a_hangup_reaches_every_worker(tmp_path: Path) -> None:
    async with workers(tmp_path, 2) as (lines, _):
        os.kill(os.getpid(), signal.SIGHUP)
        assert await lines.next(2) == ["hup 1", "hup 2"]


async def test_a_worker_that_ends_is_started_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with workers(tmp_path, 2) as (lines, _):
        os.kill(newest_child(), signal.SIGKILL)
        assert (await lines.next(1))[0].startswith("ready ")
    assert "ended with -9; starting it again" in "".join(capsys.readouterr())


async def test_a_worker_that_cannot_start_ends_all(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", f"import sys; sys.exit({NEVER_STARTED})"]
    async with asyncio.timeout(PATIENCE):
        assert await supervise(failing, 2) == NEVER_STARTED
