"""What counting for /metrics costs a fan-out: `python -m bench.counting`.

A copy of the server's source is made in which nothing is counted: the statements that add to a counter, note what
is added up once a second, or observe a duration are taken out. It is loaded beside a copy that counts, and a hub
of each publishes in turn, from the bytes that are read to the write to each subscriber (bench/turns.py). The
writes go to sockets that another process reads. With `--no-sockets` they go nowhere: what is left is the server's
own part.

`--write DIRECTORY` only writes the copy that does not count, which `python -m bench.compare DIRECTORY` can run.
"""

import argparse
import ast
import asyncio
import contextlib
import importlib
import itertools
import multiprocessing
import os
import resource
import selectors
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

from bench.machine import BENCH, LOAD_CORE, ROOT, SERVER_CORE, describe
from bench.servers import scratch
from bench.turns import BUILDS, SUBSCRIBERS, TURNS, Publish, Ratio, compare, report

BUDGET: Final = 1.0
"""Percent that a fan-out may be slower with the metrics."""
PACKAGE: Final = "aerostack_realtime"
COUNTERS: Final = frozenset({"counters", "_counters"})
COUNTING: Final = frozenset({"count", "observe", "_count_others", "_count_resume"})
"""Functions that do nothing but count."""
NOTING: Final = frozenset({"acknowledged", "event_size", "noted", "notes_events"})
"""What is noted, and counted later."""


class Uncounted(ast.NodeTransformer):
    """Takes the counting out of a module. `removed` are the statements that it took out."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        return self._without(node) if _names(node.target) & COUNTERS else node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        call = node.value
        if isinstance(call, ast.Call):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name in COUNTING or _names(call.func) & NOTING:
                return self._without(node)
        return node

    def visit_If(self, node: ast.If) -> ast.stmt:
        if _names(node.test) & NOTING:
            return self._without(node)
        self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        self.generic_visit(node)
        while unused := _unused(node):
            for body in _bodies(node):
                body[:] = [self._without(each) if each in unused else each for each in body]
        return node

    def _without(self, node: ast.stmt) -> ast.stmt:
        self.removed.append(ast.unparse(node))
        return ast.Pass()


def _names(expression: ast.expr) -> set[str]:
    return {
        each.attr if isinstance(each, ast.Attribute) else each.id
        for each in ast.walk(expression)
        if isinstance(each, ast.Attribute | ast.Name)
    }


def _unused(function: ast.FunctionDef) -> list[ast.stmt]:
    """Assignments of counters and of the time to variables that nothing uses any more."""
    used = {
        each.id for each in ast.walk(function) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)
    }
    return [
        each
        for each in ast.walk(function)
        if isinstance(each, ast.Assign)
        and all(isinstance(target, ast.Name) and target.id not in used for target in each.targets)
        and _names(each.value) & (COUNTERS | {"perf_counter"})
    ]


def _bodies(function: ast.FunctionDef) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(function):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                yield body


def copy(target: Path, name: str, *, counts: bool) -> list[str]:
    """Copy the server's source to `target`/`name`, as a package of that name. Returns what was taken out."""
    source = ROOT / "src" / PACKAGE
    removed = []
    for path in source.rglob("*.py"):
        tree = ast.parse(path.read_text().replace(PACKAGE, name))
        if not counts:
            uncounted = Uncounted()
            tree = uncounted.visit(tree)
            removed += [f"{path.relative_to(source)}: {each}" for each in uncounted.removed]
        copied = target / name / path.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_text(ast.unparse(tree))
    return removed


def _load(directory: Path, name: str) -> ModuleType:
    """bench/hotpath.py on the copy of that name."""
    (directory / f"hotpath_{name}.py").write_text((BENCH / "hotpath.py").read_text().replace(PACKAGE, name))
    return importlib.import_module(f"hotpath_{name}")


class Transport:
    """A connection's, as far as a fan-out uses it: what is written is sent at once."""

    __slots__ = ("get_write_buffer_size", "write")

    def __init__(self, connected: socket.socket) -> None:
        self.write = connected.send
        self.get_write_buffer_size = int  # nothing waits here: the socket blocks, and blocking takes no CPU time


@contextlib.contextmanager
def connected(number: int) -> Iterator[Callable[[], Transport]]:
    """Connections whose other ends are read by another process. All copies share them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=number))
        reader = multiprocessing.Process(target=_read, args=(listener.getsockname(), number), daemon=True)
        reader.start()
        stack.callback(reader.join)
        stack.callback(reader.terminate)
        found = []
        for _ in range(number):
            accepted = stack.enter_context(listener.accept()[0])
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            found.append(Transport(accepted))
        os.sched_setaffinity(0, {SERVER_CORE})
        yield itertools.cycle(found).__next__


def _read(address: tuple[str, int], number: int) -> None:
    """Read what comes on `number` connections, until the process is ended."""
    os.sched_setaffinity(0, {LOAD_CORE})
    buffer = bytearray(1 << 20)
    with selectors.DefaultSelector() as selector:
        for _ in range(number):
            selector.register(socket.create_connection(address), selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                key.fileobj.recv_into(buffer)  # type: ignore[union-attr]


async def _measure(
    directory: Path, transport: Callable[[], Transport] | None, builds: int, turns: int
) -> list[Ratio]:
    """The ratios for the copies in the directory."""
    parts = {counts: _load(directory, name) for counts, name in ((True, "counted"), (False, "uncounted"))}
    databases = {
        counts: await part.SqliteDatabase.open(directory / f"{counts}.db", part.Deaf(), retention=[])
        for counts, part in parts.items()
    }

    async def build(subscribers: int, counts: bool) -> Publish:
        part = parts[counts]
        made: Publish = await part.publisher(
            databases[counts], subscribers, None, part.Nowhere if transport is None else transport
        )
        return made

    try:
        return [await compare(build, each, builds, turns) for each in SUBSCRIBERS]
    finally:
        for each in databases.values():
            await each.close()


def main() -> int:
    """Print the table; 1 when a fan-out over sockets is slower than the budget."""
    parser = argparse.ArgumentParser(prog="python -m bench.counting", description=__doc__)
    parser.add_argument("--builds", type=int, default=BUILDS, help="how often both hubs are built")
    parser.add_argument("--turns", type=int, default=TURNS, help="turns of each build")
    parser.add_argument("--no-sockets", action="store_true", help="write nowhere")
    parser.add_argument("--list", action="store_true", help="print the statements that count")
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="only write the copy that does not count")
    chosen = parser.parse_args()
    if chosen.write:
        removed = copy(chosen.write / "src", PACKAGE, counts=False)
        (chosen.write / "src" / PACKAGE / "web").symlink_to(ROOT / "src" / PACKAGE / "web")
        print(f"{len(removed)} statements taken out")
        return 0
    print("\n".join(describe()), flush=True)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(scratch())
        copy(directory, "counted", counts=True)
        removed = copy(directory, "uncounted", counts=False)
        print(f"{len(removed)} statements that count were taken out of the copy", end="\n\n")
        if chosen.list:
            print("\n".join(removed), end="\n\n", flush=True)
        sys.path.insert(0, str(directory))
        transport = None if chosen.no_sockets else stack.enter_context(connected(max(SUBSCRIBERS)))
        found = asyncio.run(_measure(directory, transport, chosen.builds, chosen.turns))
    print(report(found, "metrics"))
    return int(not chosen.no_sockets and any(each.percent > BUDGET for each in found))


if __name__ == "__main__":
    sys.exit(main())
