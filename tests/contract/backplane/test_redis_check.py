"""What `aerostack check` says about the Redis of a backplane, and that its commands help."""

from collections.abc import Iterator

import pytest

from aerostack_realtime.backplane import factory
from tests.contract.backplane.sharing_proxy import SharingProxy
from tests.ports import free_port
from tests.redis import RedisServer, Sentinel

PASSWORD = "s3cret-pa55"
ADMIN = ("default", PASSWORD)


async def problems(url: str) -> list[str]:
    found = await factory.problems(url, name="default")
    assert PASSWORD not in " ".join(found)
    return found


async def only_problem(url: str) -> str:
    (found,) = await problems(url)
    return found


@pytest.fixture
def protected() -> Iterator[RedisServer]:
    """With a user `node`, which has no rights yet."""
    server = RedisServer.started(requirepass=PASSWORD)
    server.command("ACL", "SETUSER", "node", "on", f">{PASSWORD}", "resetchannels", user=ADMIN)
    yield server
    server.remove()


def as_node(server: RedisServer) -> str:
    return f"redis://node:{PASSWORD}@127.0.0.1:{server.port}"


def follow(server: RedisServer, sentence: str) -> list[str]:
    """Run the ACL SETUSER below a sentence; what it grants."""
    command = sentence.partition("\n    ")[2].split(" ")
    assert command[:3] == ["ACL", "SETUSER", "node"]
    server.command(*command, user=ADMIN)
    return command[3:]


async def test_a_usable_redis_has_no_problems_and_nothing_changes(redis_server: RedisServer) -> None:
    assert await problems(redis_server.url) == []
    assert await problems(f"unix://{redis_server.socket}?database=2") == []
    assert redis_server.command("INFO", "keyspace").strip() == b"# Keyspace"


async def test_a_user_without_rights_gets_them_by_the_commands(protected: RedisServer) -> None:
    rights, channels = await problems(as_node(protected))
    assert "so no node can start; grant them by this, then check again" in rights
    assert {"+xadd", "+evalsha", "+client|id", "+script|load"} < set(follow(protected, rights))
    assert set(follow(protected, channels)) == {"+subscribe", "+unsubscribe", "+publish"}
    keys, channels = await problems(as_node(protected))
    assert follow(protected, keys) == ["~{ae:*"]
    assert follow(protected, channels) == ["&{ae:*"]
    assert await problems(as_node(protected)) == []


@pytest.mark.parametrize("right", ["hset", "time", "xtrim", "evalsha", "role"])
async def test_one_missing_command_is_named(protected: RedisServer, right: str) -> None:
    protected.command("ACL", "SETUSER", "node", "~{ae:*", "&{ae:*", "+@all", f"-{right}", user=ADMIN)
    sentence = await only_problem(as_node(protected))
    assert follow(protected, sentence) == [f"+{right}"]
    assert await problems(as_node(protected)) == []


@pytest.mark.parametrize("right", ["publish", "subscribe"])
async def test_a_missing_right_on_channels_is_named(protected: RedisServer, right: str) -> None:
    protected.command("ACL", "SETUSER", "node", "~{ae:*", "&{ae:*", "+@all", f"-{right}", user=ADMIN)
    sentence = await only_problem(as_node(protected))
    assert "lacks rights on channels" in sentence
    assert follow(protected, sentence) == [f"+{right}"]
    assert await problems(as_node(protected)) == []


async def test_keys_and_channels_of_others_are_not_enough(protected: RedisServer) -> None:
    protected.command("ACL", "SETUSER", "node", "~other:*", "&other:*", "+@all", user=ADMIN)
    keys, channels = await problems(as_node(protected))
    assert follow(protected, keys) == ["~{ae:*"]
    assert follow(protected, channels) == ["&{ae:*"]
    assert await problems(as_node(protected)) == []


async def test_a_wrong_password_is_reported(protected: RedisServer) -> None:
    sentence = await only_problem(f"redis://node:wr0ng@127.0.0.1:{protected.port}")
    assert "refuses the user or the password: correct them in the address" in sentence
    assert "asks for a password" in await only_problem(protected.url)


async def test_an_unreachable_host_is_reported() -> None:
    assert "check that it runs and listens there" in await only_problem(f"redis://127.0.0.1:{free_port()}")


async def test_a_replica_is_reported(redis_server: RedisServer) -> None:
    replica = RedisServer.started(replicaof=f"127.0.0.1 {redis_server.port}")
    try:
        assert "name the master" in await only_problem(replica.url)
    finally:
        replica.remove()


async def test_an_old_server_and_a_proxy_are_reported(redis_server: RedisServer) -> None:
    version = redis_server.version.encode()
    old = b"5.0.14"[: len(version)].ljust(len(version), b"9")
    async with SharingProxy(redis_server.port, (b"redis_version:" + version, b"redis_version:" + old)) as proxy:
        assert "upgrade it to 6.2 or newer" in await only_problem(proxy.url)
    async with SharingProxy(redis_server.port) as proxy:
        assert "connect to Redis itself" in await only_problem(proxy.url)


async def test_sentinels_name_the_server_that_is_checked(redis_server: RedisServer) -> None:
    sentinel = Sentinel("main", redis_server, quorum=1)
    sentinel.start()
    try:
        place = f"127.0.0.1:{sentinel.port}"
        assert await problems(f"redis+sentinel://{place}/main") == []
        assert "know no master named" in await only_problem(f"redis+sentinel://{place}/other")
        assert "is a Sentinel" in await only_problem(f"redis://{place}")
    finally:
        sentinel.remove()


async def test_a_renamed_command_is_reported() -> None:
    server = RedisServer.started(rename_command='XADD ""')
    try:
        sentence = await only_problem(server.url)
        assert "does not know XADD: remove `rename-command`" in sentence
    finally:
        server.remove()


async def test_an_eviction_policy_that_deletes_the_journal_is_reported(redis_server: RedisServer) -> None:
    redis_server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert await problems(redis_server.url) == []  # it has no limit to its memory
    redis_server.command("CONFIG", "SET", "maxmemory", "1gb")
    sentence = await only_problem(redis_server.url)
    assert "may delete the journal" in sentence
    redis_server.command(*sentence.partition("\n    ")[2].split(" "))
    assert await problems(redis_server.url) == []


async def test_a_redis_that_refuses_writes_is_reported(redis_server: RedisServer) -> None:
    redis_server.command("CONFIG", "SET", "min-replicas-to-write", "1")
    assert "start the replicas that min-replicas-to-write asks for" in await only_problem(redis_server.url)
    redis_server.command("CONFIG", "SET", "min-replicas-to-write", "0")
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    assert "raise its maxmemory" in await only_problem(redis_server.url)
