"""`aerostack dev` and `aerostack serve`: running a server."""

import asyncio
import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable
from typing import Annotated, Literal, NoReturn

import typer
import uvloop
from msgspec.structs import replace

from aerostack_realtime import config, console
from aerostack_realtime.backplane.base import JournalUnusable
from aerostack_realtime.backplane.factory import MEMORY
from aerostack_realtime.cli import log_format
from aerostack_realtime.cli.console import err, fail, note, out
from aerostack_realtime.cli.settings import ConfigFile, fail_with, loaded, sources
from aerostack_realtime.cli.workers import serve_workers
from aerostack_realtime.config import DEV_SECRET_KEY, Loaded, Settings, SettingsError
from aerostack_realtime.config.log_settings import LogSettings
from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.factory import shown
from aerostack_realtime.gateway.http import pages
from aerostack_realtime.server import run

DevPort = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="0 picks a free one. Default: 8787, or the next free one.", show_default=False
    ),
]

log = logging.getLogger(__name__)

Backplane = Annotated[
    str | None,
    typer.Option(
        help="What connects the nodes of a cluster: redis://host:6379. Default: memory, one node.",
        show_default=False,
    ),
]
LogFormat = Annotated[
    Literal["text", "json"] | None,
    typer.Option("--log-format", help="How the log on stderr is written. Default: text.", show_default=False),
]

_PORTS_TRIED = 20


def dev(
    host: Annotated[
        str, typer.Option(help="The address to listen on; others than loopback need --unsafe-public.")
    ] = "127.0.0.1",
    port: DevPort = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--db",
            help="A SQLite file, created if it does not exist, or postgresql://… Default: aerostack.db.",
            show_default=False,
        ),
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="The project's name. Default: default.", show_default=False)
    ] = None,
    backplane: Backplane = None,
    config_file: ConfigFile = None,
    unsafe_public: Annotated[
        bool, typer.Option("--unsafe-public", help="Accept remote connections, without authentication.")
    ] = False,
    format: LogFormat = None,
) -> None:
    """Run a server for development: no set-up, no authentication, on this machine only.

    The secret key is `ac_secret_dev`. If the settings contain rules, they apply to users and anonymous clients;
    without rules everything is allowed.

    Example: `aerostack dev --db shop.db`
    """
    if not config.is_loopback(host) and not unsafe_public:
        fail(
            f"aerostack dev has no authentication, and others can connect to {host}. "
            "Use `aerostack serve` on a network, or add --unsafe-public if you mean it.",
            2,
        )
    settings = development_settings(host, port, database, project, config_file, backplane)
    settings = replace(settings, logging=_logging(settings, format))

    def reread() -> Settings:
        own = config.load(config.find(config_file))
        return config.development(
            replace(
                own,
                host=host,
                port=settings.port,
                database=settings.database,
                project=settings.project,
                backplane=settings.backplane,
                logging=_logging(own, format),
            )
        )

    serve_development(settings, reread=reread)


def serve(
    config_file: ConfigFile = None,
    backplane: Backplane = None,
    tls_cert: Annotated[
        str | None, typer.Option(help="A certificate chain in PEM; a reload reads it again.")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(help="Its private key.")] = None,
    format: LogFormat = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=64, help="Nodes on this machine, on one port: one per core. Need a backplane."),
    ] = 1,
    worker: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run a server for production. `aerostack init` writes the settings to start with.

    Example: `aerostack serve --config aerostack.toml`
    """

    def read(found: Loaded) -> Settings:
        settings = found.settings
        settings = replace(
            settings,
            backplane=backplane or settings.backplane,
            tls_cert=tls_cert or settings.tls_cert,
            tls_key=tls_key or settings.tls_key,
            logging=_logging(settings, format),
        )
        if problems := config.problems(settings, found.place):
            raise SettingsError(*problems)
        return settings

    found = loaded(config_file, silent=True)
    as_json = _logging(found.settings, format).format == "json"
    if not as_json:
        err.print(sources(found), markup=False)
    try:
        settings = read(found)
    except SettingsError as error:
        fail_with(error.mistakes, "These settings are not safe for production; see above.")

    if workers > 1 and worker is None:
        _run_workers(settings, workers)
    if worker is not None:
        settings = _named(settings, worker)

    def ready(url: str) -> None:
        if as_json:
            log.info("%s", sources(found))
        place = f"project {settings.project!r} in {shown(settings.database)}"
        out.print(f"aerostack: {place}, listening on {url}", markup=False)

    run_server(
        settings,
        ready,
        "Set another port in the settings or in AEROSTACK_PORT.",
        lambda: read(config.read(config.find(config_file))),
        shared_port=worker is not None,
    )


def _named(settings: Settings, worker: int) -> Settings:
    """The settings of one of several nodes on this machine."""
    name = settings.node_name or f"{socket.gethostname()}:{settings.port}"
    return replace(settings, node_name=f"{name}/{worker}")


def _run_workers(settings: Settings, count: int) -> NoReturn:
    """Run `count` nodes, each in a process of its own, and end the command with them."""
    if settings.backplane == MEMORY:
        fail("Several workers are the nodes of a cluster: add --backplane redis://…, or leave --workers out.", 2)
    if settings.metrics_port is not None:
        fail("Several workers cannot share metrics_port: remove it, and read /metrics of each with the key.", 2)
    raise typer.Exit(serve_workers(sys.argv[2:], settings.host, settings.port, count))


def development_settings(
    host: str,
    port: int | None,
    database: str | None,
    project: str | None,
    config_file: ConfigFile,
    backplane: str | None = None,
) -> Settings:
    """The settings of `aerostack dev`: options win over the file and the environment; the port is a free one
    unless somebody chose it."""
    found = loaded(config_file)
    try:
        settings = replace(
            found.settings,
            host=host,
            database=database or found.settings.database,
            project=project or found.settings.project,
            backplane=backplane or found.settings.backplane,
        )
    except ValueError as error:
        fail(f"{error}.", 2)
    if port is not None:
        settings = replace(settings, port=port)
    elif found.place(("port",)) is None:
        settings = replace(settings, port=_free_port(host, settings.port))
    return config.development(settings)


def serve_development(
    settings: Settings,
    then: Callable[[str], None] | None = None,
    reread: Callable[[], Settings] | None = None,
) -> None:
    """Run a server for development, and print how to use it. `then` is called with its address, and `reread` for
    the settings of a reload."""

    def ready(url: str) -> None:
        where = "" if url == "http://127.0.0.1:8787" else f" --url {url}"
        project = "" if settings.project == "default" else f" --project {settings.project}"
        out.print(f"aerostack: page and server listening on {url}", markup=False)
        out.print(f"  secret key  {DEV_SECRET_KEY}", markup=False)
        out.print(f"  database    {shown(settings.database)}, project {settings.project!r}", markup=False)
        out.print(f"  try         aerostack listen chat/general{where}{project}", markup=False)
        out.print(f"  console     {url}{console.ADDRESS}", markup=False)
        if then is not None:
            then(url)

    advice = "Choose another --port, or leave it out to get a free one."
    run_server(settings, ready, advice, reread or (lambda: settings))


def _logging(settings: Settings, format: Literal["text", "json"] | None) -> LogSettings:
    return settings.logging if format is None else replace(settings.logging, format=format)


def _free_port(host: str, wanted: int) -> int:
    """The first port from `wanted` on that is free; prints it when it is another one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(wanted, wanted + _PORTS_TRIED):
        with socket.socket(family) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                return wanted  # the server reports it
        if port != wanted:
            note(f"port {wanted} is in use; using {port}")
        return port
    return wanted


def run_server(
    settings: Settings,
    ready: Callable[[str], None],
    advice: str,
    reread: Callable[[], Settings],
    *,
    shared_port: bool = False,
) -> None:
    """Run a server until SIGINT or SIGTERM. Whatever prevents it ends the command with one sentence; `advice`
    completes that of a port in use. With `shared_port` other workers listen on it as well."""
    try:
        log_format.configure(settings.logging)
    except OSError as error:
        reason = error.strerror or str(error)
        fail(str(config.unwritable_audit_file(settings.logging.audit_file or "", reason)), 2)
    if (unbuilt := pages.missing()) is not None:
        note(unbuilt)
    try:
        uvloop.run(_until_signal(settings, ready, reread, shared_port))
    except (DatabaseUnusable, JournalUnusable, SettingsError) as error:
        fail(str(error), 2)
    except OSError as error:
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        fail(f"Cannot listen on {settings.host}:{settings.port}: {reason}. {advice}", 2)


async def _until_signal(
    settings: Settings, ready: Callable[[str], None], reread: Callable[[], Settings], shared_port: bool
) -> None:
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)

    def listening(url: str) -> None:
        ready(url)
        sys.stdout.flush()

    await run(settings, ready=listening, stop=stop, reload=reload, reread=reread, shared_port=shared_port)
    out.print("aerostack: stopped, everything accepted is stored")
