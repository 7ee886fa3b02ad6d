"""`aerostack db query` and `aerostack db cleanup`."""

from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from aerostack_realtime.cli.client import DEFAULT_URL, Key, Project, Token, Url, run_with_server
from aerostack_realtime.cli.console import out
from aerostack_realtime.cli.settings import AsJson, ConfigFile
from aerostack_realtime.cli.tables import DatabaseAddress, run_on
from aerostack_realtime.config import DEV_SECRET_KEY
from aerostack_realtime.database.base import Database
from aerostack_realtime.sdk.aerostack import Aerostack

app = typer.Typer(
    no_args_is_help=True, help="Run SQL through a server, or remove what a server added to a database."
)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SQL statement, with ? for parameters.")],
    params: Annotated[
        list[str] | None, typer.Argument(help="The parameters: JSON values, anything else is text.")
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: Key = DEV_SECRET_KEY,
    token: Token = None,
    project: Project = None,
) -> None:
    """Run one SQL statement through the server, with the secret key.

    Example: `aerostack db query 'SELECT * FROM orders WHERE status = ?' paid`
    """
    values = [_value(each) for each in params or []]

    async def run(sdk: Aerostack) -> None:
        result = await sdk.db.query(sql, values)
        if as_json:
            out.print(msgspec.json.encode(result.rows).decode(), markup=False)
        elif result.rows:
            listing = Table(*map(escape, result.rows[0]), box=None, pad_edge=False)
            for row in result.rows:
                listing.add_row(*(_cell(value) for value in row.values()))
            out.print(listing)
        else:
            out.print(f"{result.count} row(s)")

    run_with_server(run, url, key, token, project)


@app.command()
def cleanup(database: DatabaseAddress = None, config_file: ConfigFile = None) -> None:
    """Remove everything that capturing changes added to a database. Stop the server first.

    Triggers, the change log, slots and publications are removed; stored messages stay.

    Example: `aerostack db cleanup --db shop.db`
    """

    async def run(opened: Database) -> None:
        out.print(f"No table is watched any more. {await opened.clean_up()}", markup=False)

    run_on(database, config_file, run, alone=True)


def _value(written: str) -> Any:
    """A JSON scalar where it is one, else the text itself."""
    try:
        value = msgspec.json.decode(written.encode())
    except msgspec.DecodeError:
        return written
    return written if isinstance(value, dict | list) else value


def _cell(value: Any) -> Text:
    """Text that Rich does not interpret as markup."""
    return Text("NULL", style="dim") if value is None else Text(str(value))
