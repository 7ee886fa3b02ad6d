"""What the commands and a plain start of the server import: each only what it uses."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from aerostack_realtime.cli.main import COMMANDS, command

PROGRAM: Final = """
import sys
from aerostack_realtime.cli.main import app
try:
    app(sys.argv[1:])
finally:
    print("", *sys.modules, file=sys.stderr)
"""
"""Runs a command, and prints the names of the imported modules in the last line."""

RARE: Final = {
    "aerostack_realtime.backplane.redis.journal",
    "aerostack_realtime.cli.doctor",
    "aerostack_realtime.database.postgres.database",
    "aerostack_realtime.documents",
    "aerostack_realtime.gateway.tracing",
    "aerostack_realtime.gateway.yjs",
    "aerostack_realtime.sdk.client",
    "hiredis",
    "opentelemetry",
    "psycopg",
    "psycopg_pool",
    "pycrdt",
}
"""What only some servers need, and no command that reads nothing but the settings."""
SERVER: Final = {
    "aerostack_realtime.channels",
    "aerostack_realtime.database.sqlite",
    "aerostack_realtime.server",
    "aiohttp",
    "apsw",
    "prometheus_client",
    "uvloop",
}


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


def modules(started: subprocess.Popen[str]) -> set[str]:
    """What it has imported when it ends."""
    with started:
        _, errors = started.communicate()
    assert started.returncode == 0, errors
    return set(errors.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("key",), ("token", "--user", "alice"), ("config",), ("init",)],
    ids=lambda words: words[0],
)
def test_a_command_imports_no_server_and_no_client(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert modules(start(tmp_path, *arguments)) & (RARE | SERVER) == set()


def test_the_list_of_commands_imports_no_command(tmp_path: Path) -> None:
    ours = {name for name in modules(start(tmp_path, "--help")) if name.startswith("aerostack_realtime.")}
    assert ours == {"aerostack_realtime.cli", "aerostack_realtime.cli.console", "aerostack_realtime.cli.main"}


def test_check_imports_no_server_and_no_client(tmp_path: Path) -> None:
    found = modules(start(tmp_path, "check"))
    assert found & (RARE | {"aiohttp", "aerostack_realtime.server"}) == set()


def test_a_plain_server_imports_only_what_it_uses(tmp_path: Path) -> None:
    server = start(tmp_path, "dev", "--port", "0")
    assert server.stdout is not None, "it is piped"
    assert any("listening" in line for line in server.stdout)
    server.send_signal(signal.SIGTERM)
    assert modules(server) & RARE == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_has_the_first_line_of_each_help(name: str) -> None:
    assert COMMANDS[name][1] == " ".join(command(name).help.partition("\n\n")[0].split())
