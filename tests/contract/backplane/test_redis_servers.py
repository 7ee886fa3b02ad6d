"""What a node says about a server that it cannot use, and the ways to a server that it can."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from aerostack_realtime.backplane.base import JournalUnusable
from tests.authority import Authority
from tests.contract.backplane.conftest import RedisCluster
from tests.contract.backplane.node import PATIENCE, settle
from tests.contract.backplane.sharing_proxy import SharingProxy
from tests.ports import free_port
from tests.redis import RedisServer, Sentinel

PASSWORD = "s3cret-pa55"
RIGHTS = ("+@stream", "+@hash", "+@scripting", "+@connection", "+@pubsub", "+time", "+exists", "+info", "+role")
WRONG = "wr0ng-pa55"


async def refusal(url: str, directory: Path, *, start_seconds: float = PATIENCE) -> str:
    """Why a node does not start with this address."""
    async with RedisCluster(url, directory) as cluster:
        with pytest.raises(JournalUnusable) as raised:
            await cluster.join("a", start_seconds=start_seconds)
    sentence = str(raised.value)
    assert PASSWORD not in sentence
    assert WRONG not in sentence
    return sentence


class Awaited(logging.Handler):
    """`heard` is set once a part of the journal's log contains `words`."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
        self.heard = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.words in record.getMessage():
            self.heard.set()


async def until_logged(words: str, url: str, directory: Path) -> None:
    """Return once a node that tries to start with this address has logged `words`."""
    logger = logging.getLogger("aerostack_realtime.backplane.redis.journal")
    awaited = Awaited(words)
    logger.addHandler(awaited)
    async with RedisCluster(url, directory) as cluster:
        starting = asyncio.create_task(cluster.join("a", start_seconds=PATIENCE))
        heard = asyncio.create_task(awaited.heard.wait())
        try:
            await asyncio.wait((starting, heard), return_when=asyncio.FIRST_COMPLETED)
            assert awaited.heard.is_set(), starting.exception() or "it started"
        finally:
            logger.removeHandler(awaited)
            for task in (starting, heard):
                task.cancel()
            await asyncio.wait((starting, heard))


@pytest.fixture
def protected() -> Iterator[RedisServer]:
    server = RedisServer.started(requirepass=PASSWORD)
    yield server
    server.remove()


async def test_a_password_is_missing(protected: RedisServer, tmp_path: Path) -> None:
    assert "asks for a password: write redis://:password@host" in await refusal(protected.url, tmp_path)


@pytest.mark.parametrize("login", [f":{WRONG}", f"default:{WRONG}", f"nobody:{PASSWORD}"])
async def test_a_password_or_user_is_wrong(protected: RedisServer, tmp_path: Path, login: str) -> None:
    url = f"redis://{login}@127.0.0.1:{protected.port}"
    assert "refuses the user or the password" in await refusal(url, tmp_path)


async def test_a_password_is_given_where_none_is_set(redis_server: RedisServer, tmp_path: Path) -> None:
    url = f"redis://:{PASSWORD}@127.0.0.1:{redis_server.port}"
    assert "has no password for the default user: remove it" in await refusal(url, tmp_path)


async def test_the_right_password_and_a_user_with_few_rights_are_enough(
    protected: RedisServer, tmp_path: Path
) -> None:
    rights = ("~{ae:*", "resetchannels", "&{ae:*", *RIGHTS)
    protected.command("ACL", "SETUSER", "node", "on", f">{PASSWORD}", *rights, user=("default", PASSWORD))
    for login in (f":{PASSWORD}", f"node:{PASSWORD}"):
        async with RedisCluster(f"redis://{login}@127.0.0.1:{protected.port}", tmp_path) as cluster:
            await settle(await cluster.join("a"))


async def test_a_user_lacks_rights(protected: RedisServer, tmp_path: Path) -> None:
    admin = ("default", PASSWORD)
    protected.command("ACL", "SETUSER", "node", "on", f">{PASSWORD}", "+@connection", "+info", user=admin)
    url = f"redis://node:{PASSWORD}@127.0.0.1:{protected.port}"
    assert "may not run ROLE" in await refusal(url, tmp_path)
    protected.command("ACL", "SETUSER", "node", "+role", "+hmget", user=admin)
    assert "lacks rights" in await refusal(url, tmp_path)


async def test_a_database_does_not_exist(redis_server: RedisServer, tmp_path: Path) -> None:
    assert "has no database 99" in await refusal(f"{redis_server.url}/99", tmp_path)


async def test_databases_keep_journals_apart(redis_server: RedisServer, tmp_path: Path) -> None:
    async with RedisCluster(f"{redis_server.url}/3", tmp_path) as cluster:
        await settle(await cluster.join("a"))
        assert b"db3:" in redis_server.command("INFO", "keyspace")
        assert b"db0:" not in redis_server.command("INFO", "keyspace")


async def test_a_replica_is_named_as_the_master(redis_server: RedisServer, tmp_path: Path) -> None:
    replica = RedisServer.started(replicaof=f"127.0.0.1 {redis_server.port}")
    try:
        sentence = await refusal(replica.url, tmp_path)
    finally:
        replica.remove()
    assert f"is a replica of 127.0.0.1:{redis_server.port}: name the master" in sentence


async def test_something_else_listens(tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "is not Redis" in await refusal(f"redis://127.0.0.1:{port}", tmp_path)


async def test_nobody_listens(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    await until_logged("check that it runs and listens there", url, tmp_path)
    assert "is out of reach" in await refusal(url, tmp_path, start_seconds=1)


async def test_redis_is_too_old(redis_server: RedisServer, tmp_path: Path) -> None:
    version = redis_server.version.encode()
    old = b"5.0.14"[: len(version)].ljust(len(version), b"9")
    async with SharingProxy(redis_server.port, (b"redis_version:" + version, b"redis_version:" + old)) as proxy:
        assert "upgrade it to 6.2 or newer" in await refusal(proxy.url, tmp_path)


async def test_a_proxy_shares_connections(redis_server: RedisServer, tmp_path: Path) -> None:
    async with SharingProxy(redis_server.port) as proxy:
        assert "is a proxy that shares connections" in await refusal(proxy.url, tmp_path)


async def test_redis_runs_in_cluster_mode(tmp_path: Path) -> None:
    server = RedisServer.started(cluster_enabled="yes")
    try:
        assert "Redis Cluster, which is not supported" in await refusal(server.url, tmp_path)
    finally:
        server.remove()


async def test_two_clusters_with_one_name_are_refused(redis_cluster: RedisCluster, tmp_path: Path) -> None:
    a = await redis_cluster.join("a")
    async with RedisCluster(redis_cluster.url, tmp_path, "cluster-b") as other:
        with pytest.raises(JournalUnusable, match=r"holds the journal \{ae:default\}:log of another cluster"):
            await other.join("b")
        await settle(await other.join("b", name="other"))
    await settle(a)
    assert a.heard.gaps == []


async def test_sentinels_are_wrong(redis_server: RedisServer, tmp_path: Path) -> None:
    sentinel = Sentinel("main", redis_server, quorum=1)
    sentinel.start()
    place = f"127.0.0.1:{sentinel.port}"
    try:
        assert "is a Sentinel: write redis+sentinel://" in await refusal(f"redis://{place}", tmp_path)
        assert "know no master named 'other'" in await refusal(f"redis+sentinel://{place}/other", tmp_path)
        sentence = await refusal(f"redis+sentinel://127.0.0.1:{redis_server.port}/main", tmp_path)
        assert "is not a Sentinel" in sentence
        dead = f"127.0.0.1:{free_port()}"
        both = f"redis+sentinel://{place},{dead}/main"
        await until_logged("1 of 2 Sentinels name a master, less than a majority", both, tmp_path)
        async with RedisCluster(f"redis+sentinel://{place}/main", tmp_path) as cluster:
            await settle(await cluster.join("a"))
    finally:
        sentinel.remove()


@pytest.fixture
def with_tls(tmp_path: Path) -> Iterator[RedisServer]:
    authority = Authority(tmp_path, "authority")
    authority.issue("localhost", tmp_path / "server.crt", tmp_path / "server.key")
    authority.issue("node", tmp_path / "node.crt", tmp_path / "node.key")
    server = RedisServer.started(
        tls_port=str(free_port()),
        tls_cert_file=str(tmp_path / "server.crt"),
        tls_key_file=str(tmp_path / "server.key"),
        tls_ca_cert_file=str(authority.certificate),
    )
    yield server
    server.remove()


async def test_a_server_is_reached_over_tls(with_tls: RedisServer, tmp_path: Path) -> None:
    options = f"ca={tmp_path}/authority.crt&cert={tmp_path}/node.crt&key={tmp_path}/node.key"
    async with RedisCluster(f"rediss://localhost:{with_tls.tls_port}?{options}", tmp_path) as cluster:
        await settle(await cluster.join("a"), await cluster.join("b"))


async def test_tls_goes_wrong(with_tls: RedisServer, tmp_path: Path) -> None:
    place = f"localhost:{with_tls.tls_port}"
    authority = f"ca={tmp_path}/authority.crt"
    assert "cannot be trusted" in await refusal(f"rediss://{place}", tmp_path)
    address = f"rediss://127.0.0.1:{with_tls.tls_port}?{authority}"
    assert "write the host as the certificate does" in await refusal(address, tmp_path)
    words = "if it asks for a client certificate, add cert=FILE&key=FILE"
    await until_logged(words, f"rediss://{place}?{authority}", tmp_path)
    plain = f"rediss://localhost:{with_tls.port}"  # whether Redis answers such bytes depends on which they are
    await until_logged("write redis:// instead", plain, tmp_path)
    await until_logged("if it expects TLS, write rediss://", f"redis://{place}", tmp_path)
    assert "cannot be used" in await refusal(f"rediss://{place}?ca=/nowhere.crt", tmp_path)


async def test_a_unix_socket_is_enough(redis_server: RedisServer, tmp_path: Path) -> None:
    async with RedisCluster(f"unix://{redis_server.socket}", tmp_path) as cluster:
        await settle(await cluster.join("a"), await cluster.join("b"))
    await until_logged("cannot be connected to", "unix:///nowhere.sock", tmp_path)
