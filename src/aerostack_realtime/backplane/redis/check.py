"""What is wrong with the Redis of a backplane, found by connecting to it as a node does, without changing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from aerostack_realtime.backplane.base import JournalUnusable
from aerostack_realtime.backplane.redis.address import Address, Endpoint
from aerostack_realtime.backplane.redis.connection import Connection, ConnectionLost, ServerError
from aerostack_realtime.backplane.redis.login import (
    RightMissing,
    ServerUnreachable,
    authenticate,
    channel_commands,
    connected,
    fields_of,
    log_in_twice,
)
from aerostack_realtime.backplane.redis.scripts import Keys
from aerostack_realtime.backplane.redis.sentinels import Locator

Command = tuple[str, ...]

_SUBCOMMANDS: Final = frozenset({"CLIENT", "SCRIPT", "XINFO"})
_REFUSED_WRITES: Final[Mapping[str, str]] = {
    "MISCONF": "make room on its disk, or CONFIG SET stop-writes-on-bgsave-error no",
    "NOREPLICAS": "start the replicas that min-replicas-to-write asks for",
    "OOM": "raise its maxmemory, or remove other data",
}


async def problems(address: Address, keys: Keys) -> list[str]:
    """Sentences that say what is wrong and what fixes it; none where nodes can use this Redis as it is meant."""
    locator = Locator(address)
    try:
        endpoint = (await locator.locate()).endpoint
        try:
            return await _examined(address, endpoint, keys)
        except RightMissing as error:
            return await _rights(address, endpoint, keys) or [str(error)]
    except (JournalUnusable, ServerUnreachable) as error:
        return [str(error)]
    except (ConnectionLost, ServerError) as error:
        return [f"Redis at {address} cannot be used now ({str(error)[:200]})."]
    finally:
        locator.close()


async def _examined(address: Address, endpoint: Endpoint, keys: Keys) -> list[str]:
    first, second, _ = await log_in_twice(address, endpoint, name="aerostack:check")
    with _aborted(first), _aborted(second):
        found = await _rights(address, endpoint, keys)
        refusals = await _refusals(first, _needed(address, keys))
        unknown = [
            _name(command) for command, error in refusals.items() if "unknown command" in str(error).lower()
        ]
        if unknown:
            found.append(
                f"Redis at {endpoint} does not know {_listed(unknown)}: remove `rename-command` for it from "
                "redis.conf and restart Redis, or connect to Redis itself where a proxy answers."
            )
        codes = {error.code: error for error in refusals.values() if error.code in _REFUSED_WRITES}
        for code, error in codes.items():
            words = str(error)[:120].rstrip(".")
            found.append(f"Redis at {endpoint} refuses what nodes append ({words}): {_REFUSED_WRITES[code]}.")
        memory = fields_of(await first.call("INFO", "memory"))
        policy = memory.get("maxmemory_policy", "")
        if policy.startswith("allkeys") and memory.get("maxmemory", "0") != "0":
            found.append(
                f"Redis at {endpoint} may delete the journal when its memory is full (maxmemory-policy {policy}); "
                f"write noeviction into redis.conf, and run:{_command('CONFIG SET maxmemory-policy noeviction')}"
            )
        return found


async def _rights(address: Address, endpoint: Endpoint, keys: Keys) -> list[str]:
    """The rights that the user of the address lacks: those without which no node starts, and those on channels."""
    user = address.credentials.user or "default"
    connection = await connected(address, endpoint)
    with _aborted(connection):
        await authenticate(connection, address.credentials, endpoint)
        needed = _granting(await _refusals(connection, _needed(address, keys)))
        channels = _granting(await _refusals(connection, channel_commands(keys.entries)))
    found = []
    if needed:
        found.append(
            f"The user {user} of the backplane lacks rights at {endpoint}, so no node can start; "
            f"{_then('~', needed)}:{_command('ACL SETUSER', user, *needed)}"
        )
    if channels:
        found.append(
            f"The user {user} of the backplane lacks rights on channels at {endpoint}, so nodes ask for what "
            f"others append, which takes more time and CPU; {_then('&', channels)}:"
            + _command("ACL SETUSER", user, *channels)
        )
    return found


def _command(*words: str) -> str:
    """For redis-cli, on a line of its own."""
    return "\n    " + " ".join(words)


def _then(kind: str, rules: list[str]) -> str:
    """Redis says whether a user may use a key or a channel only where the user may run the command."""
    if any(rule.startswith(kind) for rule in rules):
        return "grant them by"
    return "grant them by this, then check again"


def _needed(address: Address, keys: Keys) -> tuple[Command, ...]:
    """Every command that nodes and their scripts use. None changes anything: the key does not exist, and a command
    that would make it is incomplete, which Redis finds out after it has looked at the rights."""
    key = f"{keys.head}:check"
    return (
        ("CLIENT", "ID"),
        ("CLIENT", "SETNAME", "aerostack:check"),
        ("INFO", "server"),
        ("ROLE",),
        *([("SELECT", str(address.database))] if address.database else []),
        ("HMGET", key, "g"),
        ("HGET", key, "g"),
        ("HSET", key, "g", "1", "l"),
        ("EXISTS", key),
        ("XADD", key, "NOMKSTREAM", "1-0", "g", "1"),
        ("XTRIM", key, "MINID", "1"),
        ("XREAD", "COUNT", "1", "STREAMS", key, "0"),
        ("XINFO", "STREAM", key),
        ("TIME",),
        ("SCRIPT", "LOAD", "return 0"),
        ("EVAL", "return 0", "0"),
        ("EVALSHA", "0" * 40, "0"),
    )


async def _refusals(connection: Connection, commands: tuple[Command, ...]) -> dict[Command, ServerError]:
    refusals = {}
    for command in commands:
        try:
            await connection.call(*command)
        except ServerError as error:
            refusals[command] = error
    return refusals


def _granting(refusals: Mapping[Command, ServerError]) -> list[str]:
    """What ACL SETUSER has to add, each once."""
    granting = {}
    for command, error in refusals.items():
        if error.code != "NOPERM":
            continue
        words = str(error)
        if "to run" in words:
            granting["+" + _name(command).lower().replace(" ", "|")] = True
        else:
            granting["&{ae:*" if "channel" in words else "~{ae:*"] = True
    return sorted(granting, key=lambda rule: "~&+".index(rule[0]))


def _name(command: Command) -> str:
    return " ".join(command[: 2 if command[0] in _SUBCOMMANDS else 1])


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


@contextmanager
def _aborted(connection: Connection) -> Iterator[None]:
    try:
        yield
    finally:
        connection.abort()
