"""`aerostack tables`: which tables are watched. Works on the database itself, with or without a server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from aerostack_realtime.cli.console import fail, out
from aerostack_realtime.cli.settings import ConfigFile, loaded
from aerostack_realtime.database.base import Change, Database, DatabaseUnusable
from aerostack_realtime.database.factory import Sections, claim, open_database
from aerostack_realtime.protocol.errors import AerostackError

DatabaseAddress = Annotated[
    str | None,
    typer.Option(
        "--db",
        help="A SQLite file, or postgresql://… Default: the database of the settings.",
        show_default=False,
    ),
]
TableName = Annotated[str, typer.Argument(help="The table.")]

app = typer.Typer()


@app.callback(invoke_without_command=True)
def tables(context: typer.Context, database: DatabaseAddress = None, config_file: ConfigFile = None) -> None:
    """List the tables, or start or stop recording the changes of one.

    A table is also watched automatically when a client first subscribes to it.

    Example: `aerostack tables --db shop.db`
    """
    if context.invoked_subcommand is None:
        run_on(database, config_file, _list)


@app.command()
def watch(name: TableName, database: DatabaseAddress = None, config_file: ConfigFile = None) -> None:
    """Start recording the changes of a table.

    Example: `aerostack tables watch orders --db shop.db`
    """

    async def run(database: Database) -> None:
        await database.changes.watch(name)
        when = "from now on" if await database.is_recording() else "once a server has started for the first time"
        out.print(f"watching {name}: every change is recorded {when}", markup=False)

    run_on(database, config_file, run)


@app.command()
def unwatch(name: TableName, database: DatabaseAddress = None, config_file: ConfigFile = None) -> None:
    """Stop recording the changes of a table, and remove everything that recording added for it.

    Example: `aerostack tables unwatch orders --db shop.db`
    """

    async def run(database: Database) -> None:
        await database.changes.unwatch(name)
        out.print(f"{name} is no longer watched; its triggers and its log entries are removed", markup=False)

    run_on(database, config_file, run)


async def _list(database: Database) -> None:
    found = await database.tables()
    counted = any(each.changes is not None for each in found)
    listing = Table("table", "watched", *(["changes kept"] if counted else []), box=None, pad_edge=False)
    for each in found:
        count = [str(each.changes)] if counted else []
        listing.add_row(Text(each.name), "yes" if each.watched else "no", *count)
    out.print(listing)


def run_on(
    database: str | None,
    config_file: Path | None,
    work: Callable[[Database], Coroutine[Any, Any, None]],
    *,
    alone: bool = False,
) -> None:
    """Open the database that is named, or that the settings name, for one piece of work. With `alone` the command
    fails while a server uses a SQLite file."""
    settings = loaded(config_file).settings
    address = database or settings.database

    async def run() -> None:
        async with opened(address, settings) as found:
            with claim(address) if alone else nullcontext():
                await work(found)

    try:
        asyncio.run(run())
    except DatabaseUnusable as error:
        fail(str(error), 2)
    except AerostackError as error:
        fail(error.message)


class _IgnoreChanges:
    """The change listener of a command."""

    def changed(self, changes: Sequence[Change]) -> None: ...

    def interrupted(self, table: str, cursor: str, present: bool) -> None: ...


@asynccontextmanager
async def opened(address: str, sections: Sections) -> AsyncIterator[Database]:
    """The database of a command. Raises DatabaseUnusable."""
    database = await open_database(address, _IgnoreChanges(), sections, follow=False)
    try:
        yield database
    finally:
        await database.close()
