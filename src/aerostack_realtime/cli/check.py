"""`aerostack check`: what is wrong with settings and database, and what a user may do."""

import asyncio

from aerostack_realtime import config
from aerostack_realtime.cli.console import note, out
from aerostack_realtime.cli.settings import ConfigFile, fail_with, loaded
from aerostack_realtime.cli.tables import DatabaseAddress, opened
from aerostack_realtime.config import Settings
from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.factory import backend_of, shown
from aerostack_realtime.gateway.http import static


def check(config_file: ConfigFile = None, database: DatabaseAddress = None) -> None:
    """Report what is wrong with the settings and the database, without starting a server.

    Example: `aerostack check`
    """
    found = loaded(config_file)
    problems = config.problems(found.settings, found.place) if found.file is not None else []
    address = database or found.settings.database
    try:
        if database is None and backend_of(address).creates(address):
            out.print(f"database {address}: does not exist; the first server creates it", markup=False)
        else:
            problems += asyncio.run(_database_problems(address, found.settings))
    except DatabaseUnusable as error:
        problems.append(str(error))
    if (unbuilt := static.missing()) is not None:
        note(unbuilt)
    if problems:
        fail_with(problems, f"{len(problems)} problems found.")
    if found.file is None:
        out.print("nothing is wrong, but without settings only `aerostack dev` starts: see `aerostack init`")
    else:
        out.print("everything is in order")


async def _database_problems(address: str, settings: Settings) -> list[str]:
    """What is wrong with a database; if nothing is, prints what is watched there. Raises DatabaseUnusable."""
    if found := await backend_of(address).check(address, settings):
        return found
    async with opened(address, settings) as database:
        names = [table.name for table in await database.tables() if table.watched]
    watched = f"watched tables: {', '.join(names)}" if names else "no table is watched yet"
    out.print(f"database {shown(address)}: usable; {watched}", markup=False)
    return []
