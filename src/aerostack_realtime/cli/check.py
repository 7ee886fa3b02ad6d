"""`aerostack check`: what is wrong with the settings, the database and the backplane, and what a user may do."""

import asyncio
from typing import Annotated

import typer

from aerostack_realtime import config
from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.verdicts import ACTIONS
from aerostack_realtime.backplane import factory
from aerostack_realtime.cli import decision
from aerostack_realtime.cli.console import fail, note, out
from aerostack_realtime.cli.keys import claims_of
from aerostack_realtime.cli.settings import ConfigFile, fail_with, loaded
from aerostack_realtime.cli.tables import DatabaseAddress, opened
from aerostack_realtime.config import Loaded, Settings, SettingsError
from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.factory import backend_of, shown
from aerostack_realtime.gateway.http import pages
from aerostack_realtime.gateway.websocket.batched_writes import open_batch, path_of
from aerostack_realtime.protocol.errors import AerostackError


def check(
    action: Annotated[
        str | None, typer.Argument(help="With TOPIC: subscribe, publish, presence or history.", show_default=False)
    ] = None,
    topic: Annotated[
        str | None, typer.Argument(help="A topic (chat/1) or a table (orders).", show_default=False)
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--as", help="The user id. Default: a client without a token.", show_default=False),
    ] = None,
    claim: Annotated[list[str] | None, typer.Option(help="A claim of --as, key=value; may be repeated.")] = None,
    config_file: ConfigFile = None,
    database: DatabaseAddress = None,
) -> None:
    """Report what is wrong with the settings, the database and the backplane, without starting a server.

    With an action and a topic, report which rule decides about it, and how. The exit code is then 0 if the action
    is allowed and 1 if it is not.

    Example: `aerostack check`, `aerostack check --as alice subscribe chat/1`
    """
    found = loaded(config_file)
    address = database or found.settings.database
    if action is None and user is None:
        _check_all(found, address, named=database is not None)
    elif action not in ACTIONS or topic is None:
        fail(f"Write aerostack check --as USER ACTION TOPIC, where ACTION is {', '.join(ACTIONS)}.", 2)
    else:
        identity = Identity("anonymous")
        if user is not None:
            identity = Identity("user", user, claims={"sub": user, **claims_of(claim or [])})
        try:
            allowed = asyncio.run(decision.explain(found, address, identity, action, topic))
        except (SettingsError, AerostackError) as error:
            fail(str(error), 2)
        raise typer.Exit(0 if allowed else 1)


def _check_all(found: Loaded, address: str, named: bool) -> None:
    problems = config.problems(found.settings, found.place) if found.file is not None else []
    try:
        if not named and backend_of(address).creates(address):
            out.print(f"database {address}: does not exist; the first server creates it", markup=False)
        else:
            problems += asyncio.run(_database_problems(address, found.settings))
    except DatabaseUnusable as error:
        problems.append(str(error))
    problems += _backplane_problems(found.settings)
    if (unbuilt := pages.missing()) is not None:
        note(unbuilt)
    out.print(f"frames are written by: {path_of(open_batch(found.settings.batched_writes, lambda _: None))}")
    if problems:
        fail_with(problems, f"{len(problems)} problems found.")
    if found.file is None:
        out.print("nothing is wrong, but without settings only `aerostack dev` starts: see `aerostack init`")
    else:
        out.print("no problems found")


def _backplane_problems(settings: Settings) -> list[str]:
    """What is wrong with the server of the backplane; if nothing is, prints that it is usable."""
    if settings.backplane == factory.MEMORY:
        return []
    try:
        config.check_backplane(settings)
    except SettingsError:
        return []  # reported with the settings
    found = asyncio.run(factory.problems(settings.backplane, name=settings.backplane_name))
    if not found:
        out.print(f"backplane {factory.shown(settings.backplane)}: usable", markup=False)
    return found


async def _database_problems(address: str, settings: Settings) -> list[str]:
    """What is wrong with a database; if nothing is, prints what is watched there. Raises DatabaseUnusable."""
    if found := await backend_of(address).check(address, settings):
        return found
    async with opened(address, settings) as database:
        names = [table.name for table in await database.tables() if table.watched]
    watched = f"watched tables: {', '.join(names)}" if names else "no table is watched yet"
    out.print(f"database {shown(address)}: usable; {watched}", markup=False)
    return []
