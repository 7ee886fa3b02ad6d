"""The server under test as an operator sees it: a process with memory, CPU time and a log."""

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Final

from msgspec import Struct

SECRET_KEY: Final = "ac_secret_for_an_outage"
START_SECONDS: Final = 90.0
_READY: Final = re.compile(r"listening on (http://\S+:(\d+))")
_SETTINGS: Final = """
secret_keys = ["{key}"]
anonymous = true
port = 0
[[channels]]
topic = "outage/{{name}}"
subscribe = "server"
[postgres]
"""


class Spent(Struct, frozen=True):
    """What the server has used by now: `memory` in MiB (resident), `cpu` in seconds, `lines` in its log."""

    memory: float
    cpu: float
    lines: int


class Node:
    """`aerostack serve` on the database at `address`, with `settings` of its `[postgres]`."""

    def __init__(self, place: Path, address: str, settings: dict[str, float]) -> None:
        self.log = place / "server.log"
        self.url = ""
        self.port = 0
        self._address = address
        self._config = place / "aerostack.toml"
        lines = [f"{name} = {value}" for name, value in settings.items()]
        self._config.write_text(_SETTINGS.format(key=SECRET_KEY) + "\n".join(lines) + "\n")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, and return when it listens."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AEROSTACK_")}
        with self.log.open("ab") as log:
            self._process = process = await asyncio.create_subprocess_exec(
                *(str(Path(sys.executable).with_name("aerostack")), "serve", "--config", str(self._config)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment | {"AEROSTACK_DATABASE": self._address},
            )
        assert process.stdout is not None, "it is a pipe"
        async with asyncio.timeout(START_SECONDS):
            async for line in process.stdout:
                if ready := _READY.search(line.decode()):
                    self.url, self.port = ready[1], int(ready[2])
                    return
        raise AssertionError(f"The server did not start: {self.log.read_text()}")

    async def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        if self._process is not None:
            await self._process.communicate()

    def spent(self) -> Spent:
        assert self._process is not None, "it runs"
        here = Path(f"/proc/{self._process.pid}")
        (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", (here / "status").read_text())
        fields = (here / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return Spent(int(resident) / 1024, ticks / os.sysconf("SC_CLK_TCK"), len(self.lines()))

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()
