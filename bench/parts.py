"""The shorter benchmarks that `make bench` includes: each is the command of its own, in a short form."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from time import monotonic

from msgspec import Struct

from bench.machine import ROOT
from bench.suite import say


class Part(Struct, frozen=True):
    """A section of the report: `module` is run with `arguments`, and ended after `seconds`."""

    title: str
    about: str
    module: str
    arguments: tuple[str, ...] = ()
    seconds: float = 90.0

    @property
    def command(self) -> str:
        """How to repeat it."""
        return " ".join(["python -m", self.module, *self.arguments])


class Result(Struct, frozen=True):
    """The tables that a part printed, or the reason why it has none; and how long it took."""

    part: Part
    text: str
    measured: bool
    seconds: float


PARTS = (
    Part(
        "Connections with tokens",
        "A storm of connections, each with a subscription; ours also with one token for all, and with one each.",
        "bench.connect",
        ("--rounds", "1"),
    ),
    Part(
        "Natural rates: the floor",
        "A message that arrives alone costs a system call per subscriber; the C programs do nothing else.",
        "bench.floor",
        ("--seconds", "4", "--rounds", "1"),
    ),
    Part(
        "Row changes",
        "From a commit to the client, and the server's CPU while it waits and per change, on both databases.",
        "bench.changes",
        ("--subscribers", "1"),
        120.0,
    ),
    Part("Rows of PostgreSQL's WAL", "µs of CPU on the event loop, step by step.", "bench.pgoutput"),
    Part(
        "Steady readers",
        "Slow clients beside quick ones while many rows are written: nobody is disconnected, nothing is missed.",
        "bench.steady",
        ("--rows", "100000", "--readers", "20", "--quick", "100", "--seconds", "4"),
    ),
    Part(
        "Compression",
        "Bytes and CPU per delivery, and memory per connection, where a client offers permessage-deflate.",
        "bench.compression",
        ("--seconds", "0.5"),
    ),
    Part(
        "Clients that return after a restart",
        "Half of them watch a table, half are in rooms of ten; each resumes from its cursor.",
        "bench.reconnect",
        ("--clients", "2000"),
    ),
    Part("Streams", "A piece of a stream beside an ordinary message.", "bench.streams", ("--seconds", "3")),
    Part(
        "Two nodes on one Redis",
        "Beside two nodes of Centrifugo and of Socket.IO.",
        "bench.cluster",
        ("--seconds", "1", "--short"),
        150.0,
    ),
    Part(
        "Persisted publishes on two nodes",
        "From a publish on one node to a subscriber of the other, after the commit in PostgreSQL.",
        "bench.persisted",
        ("--short",),
    ),
    Part(
        "Documents",
        "Beside Hocuspocus with its SQLite extension.",
        "bench.documents",
        ("--peers", "--scale", "0.1"),
        seconds=150.0,
    ),
)


def run(parts: Sequence[Part], until: float) -> list[Result]:
    """Do each part; those that begin after the time `until` (monotonic) are left out, with that as the reason."""
    return [_run(part, until - monotonic()) for part in parts]


def _run(part: Part, left: float) -> Result:
    say(f"{part.title} … ")
    began = monotonic()
    if left <= 0:
        text, measured = f"Left out: the time for the whole run was over. `{part.command}` measures it.", False
    else:
        text, measured = _output(part, min(part.seconds, left))
    seconds = monotonic() - began
    say(f"{seconds:.0f} s\n" if measured else f"{text}\n")
    return Result(part, text, measured, seconds)


def _output(part: Part, seconds: float) -> tuple[str, bool]:
    command = [sys.executable, "-m", part.module, *part.arguments]
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_on_all_cores,
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)  # its clients keep our pipes open, and would be waited for
        process.communicate()
        return f"Left out: it took longer than {seconds:.0f} s here. `{part.command}` measures it.", False
    found = tables(output)
    if process.returncode or not found:
        reason = (errors.strip() or output.strip() or "it printed nothing").splitlines()[-1]
        return f"Not measured: {reason}", False
    return found, True


def _on_all_cores() -> None:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))


def tables(output: str) -> str:
    """What a benchmark printed without what it says of the machine; its headings one level lower."""
    lines = [re.sub(r"^##", "###", line) for line in output.strip().splitlines()]
    begin = next((at for at, line in enumerate(lines) if line.startswith(("|", "###"))), len(lines))
    return "\n".join(lines[begin:])


def report(results: Sequence[Result]) -> str:
    """The sections, as Markdown."""
    return "\n\n".join(
        f"## {each.part.title}\n\n{each.part.about} `{each.part.command}`\n\n{each.text}" for each in results
    )
