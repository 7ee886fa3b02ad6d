"""`aerostack reload`: a running server reads its settings again."""

import asyncio

import msgspec

from aerostack_realtime.cli.client import DEFAULT_URL, Key, Url
from aerostack_realtime.cli.console import fail, out
from aerostack_realtime.config import DEV_SECRET_KEY
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.endpoint import Endpoint


class _Reloaded(msgspec.Struct, rename="camel"):
    changed: list[str]
    needs_restart: list[str]


def reload(url: Url = DEFAULT_URL, key: Key = DEV_SECRET_KEY) -> None:
    """Let a running server read its settings again: rules, keys, limits, origins, log bounds and the certificate.

    All of them apply, or nothing changes and the reason is printed. Connections that lose a right leave its topics
    at once. Sending SIGHUP to the server does the same; the result is then in its log.

    Example: `aerostack reload --url https://realtime.example.com --key "$SECRET_KEY"`
    """

    async def run() -> _Reloaded:
        endpoint = Endpoint(url, api_key=key)
        try:
            return await endpoint.post("/api/v1/realtime/reload", {}, _Reloaded, repeatable=True)
        finally:
            await endpoint.close()

    try:
        found = asyncio.run(run())
    except AerostackError as error:
        fail(error.message)
    except ValueError as error:
        fail(f"--url or --key: {error}", 2)
    out.print(f"reloaded: {', '.join(found.changed) or 'no setting has changed'}", markup=False)
    if found.needs_restart:
        out.print(f"needs a restart: {', '.join(found.needs_restart)}", markup=False)
