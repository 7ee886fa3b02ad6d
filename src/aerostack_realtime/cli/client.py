"""`aerostack emit`, `listen` and `db`: what a server can be asked from a shell."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from aerostack_realtime.cli.console import err, fail, out
from aerostack_realtime.cli.tables import clean_up
from aerostack_realtime.config import DEV_SECRET_KEY
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.payload import Payload

Url = Annotated[str, typer.Option("--url", envvar="AEROSTACK_URL", help="The server's address.")]
Key = Annotated[
    str, typer.Option("--key", envvar="AEROSTACK_SECRET_KEY", help="The secret key.", show_default=False)
]
Project = Annotated[str, typer.Option("--project", envvar="AEROSTACK_PROJECT", help="The project's name.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]

_URL = "http://127.0.0.1:8787"


def emit(
    topic: Annotated[str, typer.Argument(help="A topic with a slash, such as notifications/alice.")],
    event: Annotated[str, typer.Argument(help="The event's name.")],
    data: Annotated[str, typer.Argument(help="The payload, as JSON.")] = "null",
    url: Url = _URL,
    key: Key = DEV_SECRET_KEY,
    project: Project = "default",
) -> None:
    """Send an event to all subscribers of a topic.

    Example: `aerostack emit notifications/alice message '{"text": "shipped"}'`
    """
    try:
        payload = msgspec.json.decode(data.encode())
    except msgspec.DecodeError as malformed:
        fail(f"The data has to be JSON: {malformed}. A text is written '\"like this\"'.", 2)

    async def run() -> None:
        async with Aerostack(url, api_key=key, project_id=project) as sdk:
            await sdk.socket.emit(event, payload, topic)

    _run(run())
    out.print(f"sent {event} to {topic}", markup=False)


def listen(
    topic: Annotated[str, typer.Argument(help="A table (orders) or a topic with a slash (chat/general).")],
    as_json: AsJson = False,
    filter: Annotated[str | None, typer.Option(help="Only rows like this, as JSON; tables only.")] = None,
    url: Url = _URL,
    key: Key = DEV_SECRET_KEY,
    project: Project = "default",
) -> None:
    """Print what happens on a topic, one line per event, until it is interrupted.

    Example: `aerostack listen orders --filter '{"status": "paid"}'`
    """
    try:
        wanted = None if filter is None else msgspec.json.decode(filter.encode(), type=dict[str, Any])
    except msgspec.DecodeError as malformed:
        fail(f"--filter has to be a JSON object: {malformed}.", 2)

    async def run() -> None:
        async with Aerostack(url, api_key=key, project_id=project) as sdk:
            channel = sdk.realtime.channel(topic, filter=wanted)
            sdk.realtime.on_status_change(lambda status: err.print(f"[dim]{status}[/dim]"))
            await channel.subscribe()
            err.print(f"listening to {topic}; end with ctrl-c", markup=False)
            async for payload in channel:
                out.print(_line(payload, as_json), markup=False)

    _run(run())


def db(
    sql: Annotated[str, typer.Argument(help="One SQL statement, with ? for parameters; or cleanup.")],
    params: Annotated[list[str] | None, typer.Argument(help="The parameters; JSON where it is JSON.")] = None,
    as_json: AsJson = False,
    url: Url = _URL,
    key: Key = DEV_SECRET_KEY,
    project: Project = "default",
    database: Annotated[str | None, typer.Option("--db", help="For cleanup: which database.")] = None,
    config_file: Annotated[Path | None, typer.Option("--config", help="For cleanup: what names it.")] = None,
) -> None:
    """Run an SQL statement through the server; or, while none runs, remove what it made in a database.

    Example: `aerostack db 'SELECT * FROM orders WHERE status = ?' paid`,
    `aerostack db cleanup --db postgresql://app@localhost/shop`
    """
    if sql == "cleanup":
        clean_up(database, config_file)
        return
    values = [_value(each) for each in params or []]

    async def run() -> None:
        async with Aerostack(url, api_key=key, project_id=project) as sdk:
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

    _run(run())


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it until it ends or ctrl-c does: by the loop's own handler, which wakes a loop that waits."""

    async def interruptible() -> None:
        task = asyncio.current_task()
        assert task is not None, "this is one"
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
        await coroutine

    try:
        asyncio.run(interruptible())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None
    except AerostackError as error:
        fail(f"{error.code}: {error.message}")


def _line(payload: Payload, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(payload).decode()
    data = msgspec.json.encode(payload.data).decode()
    if payload.type == "db_change":
        old = f"  was {msgspec.json.encode(payload.old).decode()}" if payload.operation == "UPDATE" else ""
        return f"{payload.operation:<6} {data}{old}"
    return f"{payload.event}  {data}" + (f"  from {payload.user_id}" if payload.user_id else "")


def _value(written: str) -> Any:
    """JSON scalars where they are, else the text itself."""
    try:
        value = msgspec.json.decode(written.encode())
    except msgspec.DecodeError:
        return written
    return written if isinstance(value, dict | list) else value


def _cell(value: Any) -> Text:
    """As it is: what looks like Rich's markup is data here."""
    return Text("NULL", style="dim") if value is None else Text(str(value))
