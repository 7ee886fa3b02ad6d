"""Free ports of 127.0.0.1, for servers that are given their port or start again on it."""

import socket
import weakref
from typing import Final

HIGHEST: Final = 55_535
"""A node of Redis Cluster also listens on the port that is higher by 10,000."""


class Port:
    """A port that nobody else is given until `release`, or until this object is gone.

    A socket is bound to it and does not listen. A server that sets SO_REUSEADDR, as servers do, can listen there.
    The kernel gives the port to no program that asks for any free one, even while the server is down.
    """

    def __init__(self) -> None:
        while True:
            kept = socket.socket()
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.bind(("127.0.0.1", 0))
            self.number: int = kept.getsockname()[1]
            if self.number <= HIGHEST:
                break
            kept.close()
        self.release = weakref.finalize(self, kept.close)


_kept: Final[list[Port]] = []


def free_port() -> int:
    """A port that nobody else is given while this process runs."""
    _kept.append(Port())
    return _kept[-1].number
