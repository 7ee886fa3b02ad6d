"""The newest lines of this node's logs, for the console."""

import logging
from collections import deque
from itertools import count
from typing import Any, Final, Literal

from msgspec import Struct

from aerostack_realtime.gateway import audit

KEPT: Final = 500
"""Lines that are kept of each log."""
ROOT: Final = "aerostack_realtime"

LogKind = Literal["audit", "server"]


class Line(Struct, frozen=True):
    """One line. `at` is in ms; `facts` are those of an audit record. `number` is the line's in its node."""

    number: int
    at: int
    level: str
    part: str
    message: str
    facts: dict[str, Any] = {}
    node: str = ""


class RecentLog(logging.Handler):
    """Keeps the newest lines of the audit log and of the server's log. `attach` it once."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count(1)
        self._lines: dict[LogKind, deque[Line]] = {"audit": deque(maxlen=KEPT), "server": deque(maxlen=KEPT)}

    def attach(self) -> None:
        """Take in what is logged from now on."""
        logging.getLogger(ROOT).addHandler(self)
        if not audit.log.propagate:
            audit.log.addHandler(self)

    def detach(self) -> None:
        logging.getLogger(ROOT).removeHandler(self)
        audit.log.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        facts = getattr(record, audit.FACTS, None)
        kind: LogKind = "server" if facts is None else "audit"
        self._lines[kind].append(
            Line(
                next(self._numbers),
                int(record.created * 1000),
                record.levelname.lower(),
                record.name.removeprefix(f"{ROOT}."),
                record.getMessage() if facts is None else str(facts.get("audit", "")),
                {} if facts is None else {name: value for name, value in facts.items() if name != "audit"},
            )
        )

    def newest(self, kind: LogKind, search: str, limit: int) -> list[Line]:
        """The newest lines that contain `search`, newest first."""
        found = []
        wanted = search.lower()
        for line in reversed(self._lines[kind]):
            if not wanted or wanted in f"{line.part} {line.message} {line.facts}".lower():
                found.append(line)
                if len(found) >= limit:
                    break
        return found
