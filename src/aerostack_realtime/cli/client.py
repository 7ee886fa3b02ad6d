"""`aerostack emit` and `aerostack listen`: a client of a server, in a shell."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import msgspec
import typer

from aerostack_realtime.access.tokens import is_token
from aerostack_realtime.cli.console import err, fail, note, out
from aerostack_realtime.cli.settings import AsJson
from aerostack_realtime.config import DEV_SECRET_KEY
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.payload import Payload

Url = Annotated[str, typer.Option("--url", envvar="AEROSTACK_URL", help="The server's address.")]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="AEROSTACK_SECRET_KEY",
        help="The secret key. Default: that of `aerostack dev`.",
        show_default=False,
    ),
]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="AEROSTACK_TOKEN", help="A user's token, instead of the secret key."),
]
Project = Annotated[
    str | None,
    typer.Option(
        "--project",
        envvar="AEROSTACK_PROJECT",
        help="The project's name. Default: the server's.",
        show_default=False,
    ),
]

DEFAULT_URL = "http://127.0.0.1:8787"


def emit(
    topic: Annotated[str, typer.Argument(help="A topic with a slash, such as notifications/alice.")],
    event: Annotated[str, typer.Argument(help="The event's name.")],
    data: Annotated[str, typer.Argument(help="The payload, as JSON.")] = "null",
    url: Url = DEFAULT_URL,
    key: Key = DEV_SECRET_KEY,
    token: Token = None,
    project: Project = None,
) -> None:
    """Send an event to all subscribers of a topic.

    Example: `aerostack emit notifications/alice message '{"text": "shipped"}'`
    """
    try:
        payload = msgspec.json.decode(data.encode())
    except msgspec.DecodeError as malformed:
        fail(f"The data has to be JSON: {malformed}. Write a text as '\"like this\"'.", 2)

    async def run(sdk: Aerostack) -> None:
        await sdk.socket.emit(event, payload, topic)

    run_with_server(run, url, key, token, project)
    out.print(f"sent {event} to {topic}", markup=False)


def listen(
    topic: Annotated[str, typer.Argument(help="A table (orders) or a topic with a slash (chat/general).")],
    as_json: AsJson = False,
    filter: Annotated[
        str | None, typer.Option(help="A JSON object: only rows with these values; tables only.")
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = DEV_SECRET_KEY,
    token: Token = None,
    project: Project = None,
) -> None:
    """Print the events of a topic, one per line, until interrupted.

    Example: `aerostack listen orders --filter '{"status": "paid"}'`
    """
    try:
        wanted = None if filter is None else msgspec.json.decode(filter.encode(), type=dict[str, Any])
    except msgspec.DecodeError as malformed:
        fail(f"--filter has to be a JSON object: {malformed}.", 2)

    async def run(sdk: Aerostack) -> None:
        def report(error: AerostackError) -> None:
            if sdk.realtime.status != "disconnected":  # this one ends the command, which then prints it
                note(f"{error.code}: {error.message}")

        channel = sdk.realtime.channel(topic, filter=wanted)
        sdk.realtime.on_error(report)
        sdk.realtime.on_status_change(lambda status: err.print(f"[dim]{status}[/dim]"))
        await channel.subscribe()
        err.print(f"listening to {topic}; stop with ctrl-c", markup=False)
        async for payload in channel:
            out.print(_line(payload, as_json), markup=False)
            sys.stdout.flush()  # a pipe gets each event at once

    run_with_server(run, url, key, token, project)


def run_with_server(
    work: Callable[[Aerostack], Coroutine[Any, Any, None]],
    url: str,
    key: str,
    token: str | None,
    project: str | None,
) -> None:
    """As `run_call`, with a client of the server. With a token the client is that user, without the secret key."""

    if token is not None and not is_token(token):
        fail("--token is a JWT of three parts, as `aerostack token` prints it; a secret key belongs to --key.", 2)

    async def connected() -> None:
        async with Aerostack(url, api_key=key if token is None else None, token=token, project_id=project) as sdk:
            await work(sdk)

    run_call(connected, url)


def run_call(work: Callable[[], Coroutine[Any, Any, None]], url: str) -> None:
    """Run `work` with the server at `url` until it ends or ctrl-c is pressed; errors end the command with one
    sentence."""
    if "://" not in url:
        fail(f"--url needs http:// or https://, such as http://{url.lstrip('/')}.", 2)

    async def interruptible() -> None:
        task = asyncio.current_task()
        assert task is not None, "this is one"
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
        await work()

    try:
        asyncio.run(interruptible())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None
    except AerostackError as error:
        fail(f"{error.code}: {error.message}")
    except ValueError as error:
        fail(f"--url, --key or --token: {error}", 2)


def _line(payload: Payload, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(payload).decode()
    data = msgspec.json.encode(payload.data).decode()
    if payload.type == "db_change":
        old = f"  was {msgspec.json.encode(payload.old).decode()}" if payload.operation == "UPDATE" else ""
        return f"{payload.operation:<6} {data}{old}"
    return f"{payload.event}  {data}" + (f"  from {payload.user_id}" if payload.user_id else "")
