"""`aerostack tables`: which tables are watched; works on the database itself, with or without a server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from aerostack_realtime import config
from aerostack_realtime.cli.console import fail, out
from aerostack_realtime.database.base import Change, Database, DatabaseUnusable
from aerostack_realtime.database.factory import Sections, open_database
from aerostack_realtime.protocol.errors import AerostackError


def tables(
    action: Annotated[str | None, typer.Argument(help="watch or unwatch; without it, list.")] = None,
    name: Annotated[str | None, typer.Argument(help="The table.")] = None,
    database: Annotated[str | None, typer.Option("--db", help="A SQLite file, or postgresql://…")] = None,
    config_file: Annotated[Path | None, typer.Option("--config", help="The settings that name it.")] = None,
) -> None:
    """List the tables, or begin or end to record a table's changes.

    A table is watched by itself when it is first subscribed to; `watch` does it ahead, and `unwatch` removes
    every trace of it from the database.

    Example: `aerostack tables watch orders --db shop.db`
    """
    if action not in (None, "watch", "unwatch") or (action is None) != (name is None):
        fail("Say `aerostack tables`, `aerostack tables watch NAME` or `aerostack tables unwatch NAME`.", 2)
    run_on(database, config_file, lambda opened: _act(opened, action, name))


def clean_up(database: str | None, config_file: Path | None) -> None:
    """Take everything that watching left out of the database."""

    async def run(opened: Database) -> None:
        out.print(f"No table is watched any more. {await opened.clean_up()}", markup=False)

    run_on(database, config_file, run)


def run_on(
    database: str | None, config_file: Path | None, work: Callable[[Database], Coroutine[Any, Any, None]]
) -> None:
    """Open the database that is named, or that the settings name, for one piece of work."""
    try:
        settings = config.load(config_file)
    except config.SettingsError as error:
        fail(str(error), 2)

    async def run() -> None:
        async with opened(database or settings.database, settings) as found:
            await work(found)

    try:
        asyncio.run(run())
    except DatabaseUnusable as error:
        fail(str(error), 2)
    except AerostackError as error:
        fail(error.message)


async def _act(database: Database, action: str | None, name: str | None) -> None:
    if name is None:
        found = await database.tables()
        counted = any(each.changes is not None for each in found)
        listing = Table("table", "watched", *(["changes kept"] if counted else []), box=None, pad_edge=False)
        for each in found:
            count = [str(each.changes)] if counted else []
            listing.add_row(Text(each.name), "yes" if each.watched else "no", *count)
        out.print(listing)
    elif action == "watch":
        await database.changes.watch(name)
        when = "from now on" if await database.is_recording() else "from the first start of a server on"
        out.print(f"watching {name}: every change is recorded {when}", markup=False)
    else:
        await database.changes.unwatch(name)
        out.print(f"no longer watching {name}; nothing of the watch is left in the database", markup=False)


class _Nobody:
    """A command listens to no changes."""

    def changed(self, changes: Sequence[Change]) -> None: ...

    def interrupted(self, table: str, cursor: str, present: bool) -> None: ...


@asynccontextmanager
async def opened(address: str, sections: Sections) -> AsyncIterator[Database]:
    """The database of a command. Raises DatabaseUnusable."""
    database = await open_database(address, _Nobody(), sections, follow=False)
    try:
        yield database
    finally:
        await database.close()
