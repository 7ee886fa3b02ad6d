"""Logging in to a server, and what it has to be: a master, Redis 6.2 or newer, alone behind its address."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from aerostack_realtime.backplane.base import JournalUnusable
from aerostack_realtime.backplane.redis.address import Address, Credentials, Endpoint
from aerostack_realtime.backplane.redis.connection import (
    COMMAND_SECONDS,
    Connection,
    ConnectionLost,
    NotRedis,
    Reply,
    ServerError,
)

log = logging.getLogger(__name__)

LOGIN_SECONDS: Final = 0.5
"""How long a server that Sentinels watch may take for a step of the login; then the Sentinels are asked again."""
OLDEST: Final = (6, 2)
"""XTRIM MINID came with it."""


class ServerUnreachable(Exception):
    """The server cannot be used now; it may be later. The message says why, without credentials."""


class RightMissing(JournalUnusable):
    """The user of the address may not run a command that every node needs."""


class Identity(Struct, frozen=True):
    """`run_id` names the server process; it differs after each restart. `client` names the connection there."""

    run_id: str
    client: int


async def log_in(address: Address, endpoint: Endpoint, *, name: str = "aerostack") -> tuple[Connection, Identity]:
    """A connection that is authenticated, in the right database, to a master that can hold a journal.

    Raises JournalUnusable for what stays wrong until somebody changes it, else ServerUnreachable.
    """
    connection = await connected(address, endpoint)
    try:
        return connection, await _checked(connection, address, endpoint, name)
    except BaseException:
        connection.abort()
        raise


async def log_in_twice(
    address: Address, endpoint: Endpoint, *, name: str
) -> tuple[Connection, Connection, Identity]:
    """Two connections to one server process, each as `log_in` returns it. Raises as `log_in`."""
    first, identity = await log_in(address, endpoint, name=name)
    opened = [first]
    try:
        second, other = await log_in(address, endpoint, name=name)
        opened.append(second)
        if other.client == identity.client:
            raise JournalUnusable(multiplexed(endpoint))
        if other.run_id != identity.run_id:
            raise ServerUnreachable(
                f"Two connections to {endpoint} reached different Redis servers: name the master itself, not a "
                "load balancer."
            )
    except BaseException:
        for connection in opened:
            connection.abort()
        raise
    return first, second, identity


async def connected(address: Address, endpoint: Endpoint) -> Connection:
    """A connection that nobody has logged in on. Raises as `log_in`."""
    try:
        return await Connection.open(endpoint, address.tls)
    except ssl.SSLCertVerificationError as error:
        raise JournalUnusable(
            f"The certificate of Redis at {endpoint} cannot be trusted ({error.verify_message}): name the file of "
            "its authority by ?ca=FILE, or write the host as the certificate does."
        ) from None
    except ssl.SSLError as error:
        raise JournalUnusable(
            f"TLS with Redis at {endpoint} fails ({error.reason or error}): if it listens without TLS, write "
            "redis:// instead of rediss://."
        ) from None
    except TimeoutError:
        hint = ", or, if it listens without TLS, write redis:// instead of rediss://" if address.tls else ""
        raise ServerUnreachable(
            f"Redis at {endpoint} does not answer: check that its host is reachable{hint}."
        ) from None
    except OSError as error:
        raise ServerUnreachable(
            f"Redis at {endpoint} cannot be connected to ({error.strerror or error}): check that it runs and "
            "listens there."
        ) from None


def channel_commands(channel: str) -> tuple[tuple[str, ...], ...]:
    """What a connection has to be able to do with a channel, in this order; what is published is empty."""
    return ("HELLO", "3"), ("SUBSCRIBE", channel), ("PUBLISH", channel, ""), ("UNSUBSCRIBE", channel)


async def may_publish(connection: Connection, channel: str) -> bool:
    """Whether this connection can publish on `channel` and subscribe to it beside its commands: the server has to
    speak RESP3, and the user to have the rights. Raises ConnectionLost."""
    try:
        for command in channel_commands(channel):
            await connection.call(*command)
    except ServerError as error:
        log.warning(
            "Redis does not let the user of the address publish (%s), so nodes ask for what others append, which "
            "takes more time and CPU: `aerostack check` prints the ACL SETUSER that lets it",
            str(error)[:120],
        )
        return False
    return True


async def authenticate(connection: Connection, credentials: Credentials, endpoint: Endpoint) -> None:
    if credentials.password is None:
        return
    user = (credentials.user,) if credentials.user else ()
    await _ask(connection, endpoint, "AUTH", *user, credentials.password)


async def _checked(connection: Connection, address: Address, endpoint: Endpoint, name: str) -> Identity:
    await authenticate(connection, address.credentials, endpoint)
    seconds = LOGIN_SECONDS if address.master is not None else COMMAND_SECONDS
    client = await _ask(connection, endpoint, "CLIENT", "ID", seconds=seconds)
    info = fields_of(await _ask(connection, endpoint, "INFO", "server"))
    _check_server(info, endpoint)
    if address.database:
        await _ask(connection, endpoint, "SELECT", str(address.database))
    await _ask(connection, endpoint, "CLIENT", "SETNAME", name)
    role = await _ask(connection, endpoint, "ROLE")
    _check_role(role, endpoint, watched=address.master is not None)
    if await _ask(connection, endpoint, "CLIENT", "ID") != client:
        raise JournalUnusable(multiplexed(endpoint))
    return Identity(info["run_id"], client)


def _check_server(info: Mapping[str, str], endpoint: Endpoint) -> None:
    mode = info.get("redis_mode") or info.get("server_mode", "")  # Redis calls it the former, Valkey the latter
    if mode == "sentinel":
        raise JournalUnusable(
            f"{endpoint} is a Sentinel: write redis+sentinel://{endpoint}/master-name, with all Sentinels."
        )
    if mode == "cluster":
        raise JournalUnusable(
            f"{endpoint} is a node of a Redis Cluster, which is not supported: name a single Redis, or one that "
            "Sentinels watch."
        )
    version = info.get("redis_version", "")
    if "run_id" not in info or not version:
        raise JournalUnusable(
            f"What answers at {endpoint} does not report a server process: connect to Redis itself."
        )
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise JournalUnusable(f"Redis at {endpoint} is version {version}: upgrade it to 6.2 or newer.")


def _check_role(role: Reply, endpoint: Endpoint, *, watched: bool) -> None:
    if role[0] == b"master":
        return
    if watched:
        raise ServerUnreachable(f"The Sentinels name {endpoint} as the master, but it is still a replica.")
    master = f"{role[1].decode()}:{role[2]}"
    raise JournalUnusable(
        f"Redis at {endpoint} is a replica of {master}: name the master, or the Sentinels that know which it is."
    )


def multiplexed(endpoint: Endpoint) -> str:
    return (
        f"What answers at {endpoint} is a proxy that shares connections, which hides what happens to Redis: "
        "connect to Redis itself."
    )


async def _ask(connection: Connection, endpoint: Endpoint, *parts: str, seconds: float = COMMAND_SECONDS) -> Reply:
    """The reply to a command of the login; its errors in plain words."""
    try:
        return await connection.call(*parts, seconds=seconds)
    except ServerError as error:
        raise _meaning(error, endpoint, parts) from None
    except NotRedis:
        raise JournalUnusable(f"What listens at {endpoint} is not Redis: check the host and the port.") from None
    except ConnectionLost as error:
        hint = "asks for a client certificate, add cert=FILE&key=FILE"
        if not connection.tls:
            hint = "expects TLS, write rediss://"
        raise ServerUnreachable(
            f"Redis at {endpoint} closed the connection ({error}): check that it runs; if it {hint}."
        ) from None


def _meaning(error: ServerError, endpoint: Endpoint, parts: tuple[str, ...]) -> Exception:
    """What an error reply to a command of the login says. The server's words do not repeat a password."""
    words = str(error)
    match error.code:
        case "NOAUTH":
            return JournalUnusable(
                f"Redis at {endpoint} asks for a password: write redis://:password@host, or user:password@host."
            )
        case "WRONGPASS":
            return JournalUnusable(
                f"Redis at {endpoint} refuses the user or the password: correct them in the address."
            )
        case "NOPERM":
            return RightMissing(
                f"The user of the address may not run {' '.join(parts[:2]).upper()} at {endpoint}: ACL SETUSER it "
                f"+{parts[0].lower()}."
            )
        case "LOADING" | "BUSY" | "MASTERDOWN":
            return ServerUnreachable(f"Redis at {endpoint} does not serve yet ({words}).")
        case _:
            pass  # the command tells more
    if parts[0] == "AUTH":
        return JournalUnusable(
            f"Redis at {endpoint} has no password for the default user: remove it from the address, or set "
            "`requirepass` there."
        )
    if parts[0] == "SELECT":
        return JournalUnusable(
            f"Redis at {endpoint} has no database {parts[1]}: name one from 0 to its setting `databases` less one."
        )
    if "max number of clients" in words:
        return ServerUnreachable(f"Redis at {endpoint} has no connection free: raise its `maxclients`.")
    return JournalUnusable(
        f"What answers at {endpoint} does not know {' '.join(parts[:2]).upper()} ({words[:100]}): connect to "
        "Redis itself, not to a proxy."
    )


def fields_of(info: bytes) -> dict[str, str]:
    lines = info.decode("utf-8", "replace").splitlines()
    return {key: value for key, colon, value in (line.partition(":") for line in lines) if colon}
