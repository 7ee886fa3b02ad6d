"""A cable to a host of its own: two network namespaces and a pair of virtual interfaces, where we may make them.

What a proxy does to a connection, both kernels have said yes to. What is sent while a cable is pulled is lost on
the way, no program is notified, and the kernels send it again: so the server's own sockets are tried here.

A process can make a namespace but not move the threads it has, so the run itself has to begin in one: `isolated`.
Nothing of this is seen by the rest of the machine, and it is gone with the last process in it.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

HERE: Final = "10.203.0.1"
THERE: Final = "10.203.0.2"
_OURS: Final = "FAULTS_NAMESPACE"


def possible() -> bool:
    """Whether this machine lets us make network namespaces and links between them."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return False
    trial = ["unshare", "--net", "ip", "link", "add", "here", "type", "veth", "peer", "name", "there"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def isolated(module: str, arguments: Sequence[str]) -> None:
    """Start this program again in a network namespace of its own, where that is possible. Returns in it."""
    if os.environ.get(_OURS) or not possible():
        return
    inside = ["sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable, "-m", module, *arguments]
    os.execvpe("unshare", ["unshare", "--net", *inside], {**os.environ, _OURS: "1"})


class Cable:
    """From this namespace to one more; `laid` when there is one."""

    def __init__(self) -> None:
        self.laid = False
        self._host: asyncio.subprocess.Process | None = None

    async def lay(self) -> None:
        """Make the other host and the cable to it. Does nothing in a namespace that is not ours."""
        if not os.environ.get(_OURS):
            return
        self._host = await asyncio.create_subprocess_exec(
            *("unshare", "--net", "sh", "-c", "ip link set lo up; echo up; exec cat"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._host.stdout is not None, "it is a pipe"
        await self._host.stdout.readline()
        _run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(self._host.pid))
        for name, address, prefix in (("here", HERE, []), ("there", THERE, self.prefix())):
            _run(*prefix, "ip", "address", "add", f"{address}/30", "dev", name)
            _run(*prefix, "ip", "link", "set", name, "up")
        self.laid = True

    def prefix(self) -> Sequence[str]:
        """What to put before a command to run it on the other host, in a process of the same id."""
        assert self._host is not None, "the cable is laid"
        return ("nsenter", f"--net=/proc/{self._host.pid}/ns/net")

    def pull(self) -> None:
        """Lose what is sent from now on."""
        _run("ip", "link", "set", "here", "down")

    def plug(self) -> None:
        _run("ip", "link", "set", "here", "up")

    async def close(self) -> None:
        if self._host is not None:
            await self._host.communicate(b"")  # and the end of its input ends it


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
