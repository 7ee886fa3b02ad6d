"""`aerostack dev`, `serve` and `check`: running a node, and what keeps one from running."""

import asyncio
import ipaddress
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from msgspec.structs import replace

from aerostack_realtime import config
from aerostack_realtime.cli.console import err, fail, note, out
from aerostack_realtime.cli.tables import opened
from aerostack_realtime.config import Settings, SettingsError
from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.factory import backend_of, shown
from aerostack_realtime.gateway.http import static
from aerostack_realtime.server import run

Database = Annotated[str, typer.Option("--db", help="A SQLite file, made when it is not there; or postgresql://…")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="The settings, an aerostack.toml.")]


def dev(
    host: Annotated[
        str, typer.Option(help="Where to listen; loopback only, unless --unsafe-public.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8787,
    database: Database = "aerostack.db",
    project: Annotated[str, typer.Option(help="The project's name.")] = "default",
    unsafe_public: Annotated[
        bool, typer.Option("--unsafe-public", help="Listen for others, open as it is.")
    ] = False,
) -> None:
    """Run a node for development: no set-up, anonymous clients allowed, on this machine only.

    The secret key is `ac_secret_dev`, or what AEROSTACK_SECRET_KEY says.

    Example: `aerostack dev --port 8787 --db shop.db`
    """
    if not _is_loopback(host) and not unsafe_public:
        fail(
            f"aerostack dev is open to everyone who reaches it, and {host} is not this machine alone. "
            "Use `aerostack serve` for a network, or add --unsafe-public if you mean it.",
            2,
        )
    try:
        settings = config.load(None)
    except SettingsError as error:
        fail(str(error), 2)
    settings = config.development(replace(settings, host=host, port=port, database=database, project=project))
    _run(settings)


def serve(
    config_file: ConfigFile = None,
    tls_cert: Annotated[str | None, typer.Option(help="A certificate chain in PEM; read again on SIGHUP.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="Its key.")] = None,
) -> None:
    """Run a node for production, from the settings of a file and of AEROSTACK_* variables.

    Example: `aerostack serve --config aerostack.toml`
    """
    settings = _settings(config_file)
    settings = replace(settings, tls_cert=tls_cert or settings.tls_cert, tls_key=tls_key or settings.tls_key)
    if problems := config.problems(settings):
        for problem in problems:
            err.print(f"- {problem}", markup=False)
        fail("The settings are not fit for a network; see above.", 2)
    _run(settings)


def check(config_file: ConfigFile = None, database: Annotated[str | None, typer.Option("--db")] = None) -> None:
    """Say what is wrong with the settings and the database, without starting anything.

    Example: `aerostack check --config aerostack.toml`
    """
    settings = _settings(config_file)
    found = config.problems(settings) if config_file is not None else []
    address = database or settings.database
    try:
        found += asyncio.run(_database_problems(address, settings))
    except DatabaseUnusable as error:
        found.append(str(error))
    if (unbuilt := static.missing()) is not None:
        note(unbuilt)
    for problem in found:
        err.print(f"- {problem}", markup=False)
    if found:
        fail(f"{len(found)} problem(s) found.", 2)
    out.print("everything is in order")


async def _database_problems(address: str, settings: Settings) -> list[str]:
    """What is wrong with a database; if nothing is, what is watched there is printed. Raises DatabaseUnusable."""
    if found := await backend_of(address).check(address, settings):
        return found
    async with opened(address, settings) as database:
        names = [table.name for table in await database.tables() if table.watched]
    watched = f"watched tables: {', '.join(names)}" if names else "no table is watched yet"
    out.print(f"database {shown(address)}: usable; {watched}", markup=False)
    return []


def _settings(path: Path | None) -> Settings:
    try:
        return config.load(path)
    except SettingsError as error:
        fail(str(error), 2)


def _run(settings: Settings) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # what its warnings say is said by our own, once
    if (unbuilt := static.missing()) is not None:
        note(unbuilt)
    try:
        uvloop.run(_until_signal(settings))
    except DatabaseUnusable as error:
        fail(str(error), 2)
    except OSError as error:
        fail(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}. Try another --port.",
            2,
        )


async def _until_signal(settings: Settings) -> None:
    stop, renew = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, renew.set)

    def ready(url: str) -> None:
        out.print(
            f"aerostack: project {settings.project!r} in {shown(settings.database)}, listening on {url}",
            markup=False,
        )

    await run(settings, ready=ready, stop=stop, renew=renew)
    out.print("aerostack: stopped, everything accepted is stored")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
