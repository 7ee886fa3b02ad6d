"""`aerostack demo`: a server for development with the example pages and their data."""

import asyncio
import sqlite3
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from aerostack_realtime.cli import samples
from aerostack_realtime.cli.console import fail, note
from aerostack_realtime.cli.node import DevPort, development_settings, serve_development
from aerostack_realtime.config import DEV_SECRET_KEY
from aerostack_realtime.database.factory import backend_of
from aerostack_realtime.protocol.errors import AerostackError


def demo(
    port: DevPort = None,
    database: Annotated[
        str, typer.Option("--db", help="A SQLite file, created if it does not exist.")
    ] = "demo.db",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser, if this is a terminal.")
    ] = True,
    messages: Annotated[
        bool, typer.Option("--messages/--no-messages", help="Begin the chat with a few messages.")
    ] = True,
) -> None:
    """Run a server for development with example pages and sample data.

    Example: `aerostack demo --db demo.db`
    """
    settings = samples.ruled(development_settings("127.0.0.1", port, database, None, None))
    if not backend_of(database).file:
        fail("The sample data of `aerostack demo` needs a SQLite file, such as --db demo.db.", 2)
    if not Path(database).absolute().parent.is_dir():
        fail(f"{database} cannot be created: create the directory {Path(database).parent} first.", 2)
    try:
        samples.seed_tables(database)
    except sqlite3.Error as error:
        access = "Give this user write access to the file and its directory, or name another one with --db."
        fail(f"Cannot write the sample data into {database}: {error}. {access}", 2)

    async def fill(url: str) -> None:
        try:
            if messages:
                await samples.seed_messages(url, DEV_SECRET_KEY, settings.project)
        except AerostackError as error:
            note(f"the chat starts empty: {error.message}")
        if browser and sys.stdout.isatty():
            webbrowser.open(url)

    filling: set[asyncio.Task[None]] = set()  # the loop alone would not keep the task

    def ready(url: str) -> None:
        filling.add(asyncio.get_running_loop().create_task(fill(url)))

    serve_development(settings, ready)
