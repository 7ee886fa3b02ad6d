"""A host of its own for each node: a network namespace, with one cable to the clients, one to Redis and one to
PostgreSQL.

What is sent over a cable that is unplugged is lost without a sign, as between machines: both kernels believe the
connection to stand and send again. A direction alone is cut by a wrong link address, which the other end ignores.
The namespaces are gone with the run's own one (see cable.py) and with its processes, however it ends.
"""

import asyncio
import subprocess
from collections.abc import Sequence
from typing import Final, Literal

CableName = Literal["clients", "redis", "postgres"]
CABLES: Final[tuple[CableName, ...]] = ("clients", "redis", "postgres")
Direction = Literal["both", "to node", "from node"]
SHARED: Final = "10.220.0.1"
"""An address of the run's namespace that every node reaches by its cable to Redis: Sentinels name one address."""
_NOBODY: Final = "02:00:00:00:00:fe"
"""A link address that no interface has."""


class Host:
    """The machine of node `number`. Open it in a network namespace that belongs to the run."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Make the namespace and its cables."""
        self._process = await asyncio.create_subprocess_exec(
            *("unshare", "--net", "sh", "-c", "ip link set lo up; echo up; exec cat"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None, "it is a pipe"
        await self._process.stdout.readline()
        for name in CABLES:
            near, far = self._interfaces(name)
            _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", str(self._process.pid))
            for interface, address, prefix in (
                (near, self.near(name), ()),
                (far, self.far(name), self.prefix()),
            ):
                _run(*prefix, "ip", "address", "add", f"{address}/30", "dev", interface)
                _run(*prefix, "ip", "link", "set", interface, "up")
        _run(*self.prefix(), "ip", "route", "add", f"{SHARED}/32", "via", self.near("redis"))

    @property
    def namespace(self) -> str:
        """The file that names it, for `setns`."""
        assert self._process is not None, "it is open"
        return f"/proc/{self._process.pid}/ns/net"

    def prefix(self) -> Sequence[str]:
        """What to put before a command to run it there."""
        return ("nsenter", f"--net={self.namespace}")

    def near(self, name: CableName) -> str:
        """The address of what the cable leads to, as the node reaches it."""
        return f"10.{210 + CABLES.index(name)}.{self._number}.1"

    def far(self, name: CableName) -> str:
        """The node's own address on a cable."""
        return f"10.{210 + CABLES.index(name)}.{self._number}.2"

    def unplug(self, name: CableName, direction: Direction) -> None:
        """Lose what is sent over a cable from now on, in both directions or one."""
        near, far = self._interfaces(name)
        if direction == "both":
            _run("ip", "link", "set", near, "down")
        elif direction == "to node":
            self._address((), near, self.far(name), _NOBODY)
        else:
            self._address(self.prefix(), far, self.near(name), _NOBODY)

    def plug(self, name: CableName, direction: Direction) -> None:
        near, far = self._interfaces(name)
        if direction == "both":
            _run("ip", "link", "set", near, "up")
        elif direction == "to node":
            _run("ip", "neigh", "del", self.far(name), "dev", near)
        else:
            _run(*self.prefix(), "ip", "neigh", "del", self.near(name), "dev", far)

    async def close(self) -> None:
        if self._process is not None:
            await self._process.communicate(b"")  # the end of its input ends it

    def _interfaces(self, name: CableName) -> tuple[str, str]:
        return f"{name}{self._number}", f"{name}{self._number}n"

    @staticmethod
    def _address(prefix: Sequence[str], interface: str, other: str, link: str) -> None:
        _run(*prefix, "ip", "neigh", "replace", other, "lladdr", link, "dev", interface, "nud", "permanent")


def share_address() -> None:
    """Give the run's namespace the address that all nodes reach."""
    _run("ip", "address", "add", f"{SHARED}/32", "dev", "lo")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
