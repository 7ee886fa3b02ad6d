"""The server under test: one process on one port, its database on a disk of its own, its clock ours to set."""

import asyncio
import os
import re
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests import preloaded
from tests.faults.skewed import encoded

_READY: Final = re.compile(r"listening on http://\S+:(\d+)")
START_SECONDS: Final = 300.0
"""With three nodes, their database and everybody else on two busy cores; a stop of PostgreSQL may come first."""
AGAIN_SECONDS: Final = 0.2
ROOT: Final = Path(__file__).parents[2]


class Server:
    """`aerostack dev` on the database that `address` names. `source` is the directory its package is taken from,
    None for the installed one; `name` names its files, and `backplane` what connects it to other nodes. It runs in
    the network `namespace` and is reached at `host`; `plant` names the bug that it gets (plants.py)."""

    def __init__(
        self, place: Path, address: str, source: Path | None, name: str = "server", backplane: str = "memory"
    ) -> None:
        self.name = name
        self.backplane = backplane
        self.address = address
        self.port = 0
        self.crashes: list[str] = []
        self.open_to_others: Sequence[str] = ()
        self.host = "127.0.0.1"
        self.namespace = ""
        self.plant = ""
        self._place = place
        self._source = source
        self._offset = place / f"{name}.clock"
        self._offset.write_bytes(encoded(0))
        self._process: preloaded.Process | asyncio.subprocess.Process | None = None
        self._leaving = False
        self._starting = False

    @property
    def process(self) -> preloaded.Process | asyncio.subprocess.Process:
        assert self._process is not None, "the server runs"
        return self._process

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def start(self, *, patient: bool = False) -> None:
        """Start it, and return when it listens. If `patient`, start it again when it ends before, as a supervisor
        does: what it needs may be away."""
        self._starting = True
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._listens():
                    if not patient:
                        raise AssertionError(f"The server did not start; see {self._place / self.name}.log.")
                    await asyncio.sleep(AGAIN_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"{self.name} did not listen within {START_SECONDS:.0f} s of its start") from None
        finally:
            self._starting = False

    async def _listens(self) -> bool:
        """Start it once; False when it ends instead of listening."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AEROSTACK_")}
        if self._source is not None:
            environment["PYTHONPATH"] = str(self._source)
        environment["FAULTS_CLOCK"] = str(self._offset)
        environment["FAULTS_NETWORK"] = self.namespace
        environment["FAULTS_PLANT"] = self.plant
        environment["AEROSTACK_BACKPLANE"] = self.backplane
        self._process = process = await self._run(environment)
        assert process.stdout is not None, "it is a pipe"
        self._leaving = False
        async for line in process.stdout:
            if ready := _READY.search(line.decode()):
                self.port = int(ready[1])
                return True
        await process.wait()
        return False

    async def _run(self, environment: dict[str, str]) -> preloaded.Process | asyncio.subprocess.Process:
        command = ("dev", "--port", str(self.port), "--db", self.address, *self.open_to_others)
        with (self._place / f"{self.name}.log").open("ab") as log:
            if self._source is None:
                return await preloaded.start(
                    *command, env=environment, stderr=log, cwd=ROOT, entry="tests.faults.skewed:run"
                )
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.skewed", *command),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=ROOT,
            )

    async def ensure(self) -> None:
        """Start it again if it has ended unasked, which is an anomaly."""
        code = None if self._process is None else self._process.returncode
        if code is not None and not self._leaving and not self._starting:
            self.crashes.append(f"{self.name} ended unasked with {code}")
            await self.start()

    async def end(self, number: signal.Signals) -> None:
        """Send SIGKILL or SIGTERM, and wait until it is gone."""
        self._leaving = True
        if self.process.returncode is None:
            self.process.send_signal(number)
        await self.process.communicate()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def limit_files(self) -> None:
        """Let no file of its grow any more, its database's being SQLite's."""
        largest = max(path.stat().st_size for path in Path(self.address).parent.iterdir())
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    def unlimit_files(self) -> None:
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def set_clock(self, seconds: int) -> None:
        """Set its wall clock to this number of seconds from the true one."""
        with self._offset.open("r+b") as file:
            file.write(encoded(seconds))
