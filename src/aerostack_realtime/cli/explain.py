"""`aerostack explain`: why a user did or did not receive something, from a running server."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from aerostack_realtime import config
from aerostack_realtime.access.verdicts import ACTIONS
from aerostack_realtime.cli.client import DEFAULT_URL, Key, Project, Url, run_with_server
from aerostack_realtime.cli.console import fail, out
from aerostack_realtime.cli.settings import AsJson, ConfigFile
from aerostack_realtime.config import DEV_SECRET_KEY, SettingsError
from aerostack_realtime.protocol.explanations import Explanation, Setting
from aerostack_realtime.sdk.aerostack import Aerostack


def explain(
    topic: Annotated[
        str | None, typer.Argument(help="A table (orders) or a topic with a slash (chat/1).", show_default=False)
    ] = None,
    event: Annotated[str | None, typer.Argument(help="The id of an event.", show_default=False)] = None,
    user: Annotated[str | None, typer.Option(help="The user id.", show_default=False)] = None,
    row: Annotated[
        str | None, typer.Option(help="On a table: a key (7), or column=value.", show_default=False)
    ] = None,
    access: Annotated[str | None, typer.Option(help=f"A right: {', '.join(ACTIONS)}.", show_default=False)] = None,
    connection: Annotated[
        str | None, typer.Option(help="The id of a connection: why it ended.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    url: Url = DEFAULT_URL,
    key: Key = DEV_SECRET_KEY,
    project: Project = None,
) -> None:
    """Explain why a user did or did not receive an event or a row change.

    Without EVENT, --row and --access: whether the user may subscribe. The settings file, if it is here, is read
    for the line of the setting that decides.

    Example: `aerostack explain orders --row 7 --user alice`
    """
    if connection is None and (topic is None or user is None):
        fail("Name a topic and --user USER, or --connection ID.", 2)

    async def run(sdk: Aerostack) -> None:
        found = await sdk.explain(
            topic, user_id=user, event=event, row=row, access=access, connection_id=connection
        )
        if as_json:
            out.print(msgspec.json.encode(found).decode(), markup=False)
        else:
            _print(found, config_file)

    run_with_server(run, url, key, None, project)


def _print(found: Explanation, config_file: Path | None) -> None:
    out.print(found.verdict, style="bold", markup=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for each in found.findings:
        table.add_row(each.code, each.sentence.replace("[", r"\["))
    out.print(table)
    if found.setting is not None:
        out.print(f"change it in {_place(found.setting, config_file)}:", markup=False)
        out.print(f"  {found.setting.line}", style="green", markup=False)


def _place(setting: Setting, config_file: Path | None) -> str:
    """Where the setting is written: with its line if the settings file is here."""
    named = f"[[{setting.section}]] number {setting.number}"
    try:
        loaded = config.read(config.find(config_file))
    except SettingsError:
        return named
    path = (setting.section, setting.number - 1)
    place = loaded.place((*path, setting.name))
    return named if place is None else f"{named}, {place}"
