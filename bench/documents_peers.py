"""Documents beside Hocuspocus with its SQLite extension: `python -m bench.documents --peers`.

The editors are headless: both run Yjs in Node (peers/documents/), each with the provider of its server.
Ours is measured with its default, which sends an update at most every 20 ms, and with each edit sent at once, as
the peer does.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final, Literal

from msgspec import Struct, field

from bench.contenders import BUILD_S, PEERS, await_port, node_version
from bench.machine import LOAD_CORE, ROOT, free_port
from bench.proctree import cpu_seconds, resident
from bench.report import table
from bench.servers import Plan, Running, running, scratch
from tests.flow.conftest import SERVE_KEY

Kind = Literal["ours", "batched", "hocuspocus"]
KINDS: Final[dict[Kind, str]] = {
    "ours": "Aerostack, each edit",
    "batched": "Aerostack, default",
    "hocuspocus": "Hocuspocus",
}
FOLDER: Final = PEERS / "documents"
TYPED: Final = 300
PAUSE_MS: Final = 30
DOCUMENT_EDITS: Final = 20_000
OPENINGS: Final = 20
KEPT: Final = 500
SETTINGS: Final = f"""secret_keys = ["{SERVE_KEY}"]
anonymous = true
[[documents]]
topic = "docs/{{id}}"
idle = "2s"
[[channels]]
topic = "**"
subscribe = "anyone"
history = "anyone"
presence = "anyone"
publish = "anyone"
"""


class Figures(Struct):
    """What one contender was measured with. Times are in ms, CPU in µs, memory in bytes."""

    latencies: dict[int, list[float]] = field(default_factory=dict)
    """From an edit to each of the others, by how many editors there are."""
    cpu: dict[int, float] = field(default_factory=dict)
    """Of the server for each edit."""
    openings: list[float] = field(default_factory=list)
    memory: float = 0.0
    """For each document that is open, with one client."""


class Clients:
    """The process of the editors."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def do(self, task: str, **options: Any) -> dict[str, Any]:
        """Carry out a task, and return its answer."""
        assert self._process.stdin is not None, "it is a pipe"
        assert self._process.stdout is not None, "it is a pipe"
        self._process.stdin.write(json.dumps({"task": task, **options}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def _clients(kind: Kind, server: Running) -> Iterator[Clients]:
    url = f"http://{server.host}:{server.port}"
    command = ["taskset", "-c", str(LOAD_CORE), "node", str(FOLDER / "clients.js"), kind, url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=FOLDER
    ) as process:
        try:
            yield Clients(process)
        finally:
            process.kill()


@contextmanager
def _served(kind: Kind) -> Iterator[Running]:
    with scratch() as directory:
        plan = _plan(kind, directory)
        with running(plan, directory) as server:
            await_port(server.port)
            yield server


def _plan(kind: Kind, directory: Path) -> Plan:
    if kind == "hocuspocus":
        port = free_port()
        environment = {"PORT": str(port), "DATABASE": str(directory / "documents.db")}
        return Plan(["node", str(FOLDER / "server.js")], cwd=FOLDER, environment=environment)
    config = directory / "aerostack.toml"
    config.write_text(SETTINGS)
    environment = {"AEROSTACK_PORT": "0", "AEROSTACK_DATABASE": str(directory / "documents.db")}
    command = [str(ROOT / ".venv/bin/aerostack"), "serve", "--config", str(config)]
    return Plan(command, cwd=directory, environment=environment)


def measure(kind: Kind, scale: float = 1.0) -> Figures:
    """All figures of one contender, with servers of its own; `scale` makes it shorter."""
    found, typed = Figures(), round(TYPED * scale)
    for count in (2, 50):
        with _served(kind) as server, _clients(kind, server) as clients:
            clients.do("edit", name="typed", count=count)
            before = cpu_seconds(server.pid)
            found.latencies[count] = clients.do("type", edits=typed, ms=PAUSE_MS)["found"]
            found.cpu[count] = (cpu_seconds(server.pid) - before) / typed * 1_000_000
    edits = round(DOCUMENT_EDITS * scale)
    with _served(kind) as server, _clients(kind, server) as clients:
        length = clients.do("write", name="large", edits=edits, batch=20)["length"]
        for _ in range(round(OPENINGS * scale) or 1):
            found.openings.append(clients.do("open", name="large", length=length)["took"])
    kept = round(KEPT * scale)
    with _served(kind) as server, _clients(kind, server) as clients:
        clients.do("keep", count=20, first=0)
        before_bytes = resident(server.pid)
        clients.do("keep", count=kept, first=20)
        time.sleep(3.0)  # Hocuspocus stores 2 s after an edit
        found.memory = (resident(server.pid) - before_bytes) / kept
    return found


def report(figures: dict[Kind, Figures]) -> str:
    """The table."""
    rows = [
        [
            KINDS[kind],
            f"{median(each.openings):.0f} ms",
            *(_p50_p99(each.latencies[count]) for count in (2, 50)),
            *(f"{each.cpu[count]:,.0f} µs" for count in (2, 50)),
            f"{each.memory / 1024:.1f} KiB",
        ]
        for kind, each in figures.items()
    ]
    heads = ["", "open", "2 editors: p50 / p99", "50: p50 / p99", "CPU per edit, 2", "50", "memory per document"]
    return table(heads, rows)


def _p50_p99(milliseconds: list[float]) -> str:
    return f"{median(milliseconds):.2f} / {quantiles(milliseconds, n=100)[98]:.2f} ms"


def main(scale: float = 1.0) -> int:
    """Print the table."""
    print(f"Hocuspocus {node_version('@hocuspocus/server', FOLDER, BUILD_S)}", end="\n\n")
    print(report({kind: measure(kind, scale) for kind in KINDS}))
    return 0
