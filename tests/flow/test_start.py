"""A server that cannot start says why in one sentence, with exit code 2."""

import asyncio
import os
import socket
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.flow.command import COMMAND, aerostack, environment

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")


class Development:
    """`aerostack dev` on a file, without a port."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aenter__(self) -> str:
        self._process = await asyncio.create_subprocess_exec(
            *(COMMAND, "dev", "--db", str(self._path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
        )
        assert self._process.stdout is not None, "it is a pipe"
        line = (await self._process.stdout.readline()).decode()
        return line.split("listening on ")[1].strip()

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()

    async def banner(self) -> str:
        """The lines after the address."""
        assert self._process.stdout is not None, "it is a pipe"
        return "".join([(await self._process.stdout.readline()).decode() for _ in range(3)])

    async def complaints(self) -> str:
        """The first lines of standard error."""
        assert self._process.stderr is not None, "it is a pipe"
        return "".join([(await self._process.stderr.readline()).decode() for _ in range(2)])


async def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    path.write_bytes(b"this is no database " * 500)
    ran = await aerostack("dev", "--port", "0", "--db", str(path))
    assert ran.code == 2
    assert f"{path} is not a SQLite database" in ran.complaint
    assert path.read_bytes() == b"this is no database " * 500


async def test_a_corrupt_database(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE a(b); INSERT INTO a VALUES (zeroblob(20000));")
    connection.close()
    content = bytearray(path.read_bytes())
    content[100:4096] = os.urandom(3996)
    path.write_bytes(content)
    ran = await aerostack("dev", "--port", "0", "--db", str(path))
    assert ran.code == 2
    assert str(path) in ran.complaint


async def test_a_directory_in_place_of_a_database(tmp_path: Path) -> None:
    ran = await aerostack("dev", "--port", "0", "--db", str(tmp_path))
    assert (ran.code, f"{tmp_path} is a directory" in ran.complaint) == (2, True)


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    ran = await aerostack("dev", "--port", "0", "--db", str(tmp_path / "nowhere" / "shop.db"))
    assert (ran.code, "create the directory" in ran.complaint) == (2, True)


async def test_a_read_only_database(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE a(b)")
    connection.close()
    os.chmod(path, 0o444)
    ran = await aerostack("dev", "--port", "0", "--db", str(path), powerless=True)
    assert ran.code == 2
    assert f"{path} cannot be" in ran.complaint
    assert "write access" in ran.complaint


async def test_a_port_in_use(node: "ServerProcess", tmp_path: Path) -> None:
    port = str(urlsplit(node.url).port)
    ran = await aerostack("dev", "--port", port, "--db", str(tmp_path / "shop.db"))
    assert ran.code == 2
    assert f"127.0.0.1:{port}" in ran.complaint


async def test_a_metrics_port_in_use_is_named(node: "ServerProcess", tmp_path: Path) -> None:
    port = str(urlsplit(node.url).port)
    variables = {"AEROSTACK_METRICS_PORT": port}
    ran = await aerostack("dev", "--port", "0", "--db", str(tmp_path / "shop.db"), settings=variables)
    assert ran.code == 2
    assert f"127.0.0.1:{port} for the metrics: the port is in use. Set another metrics_port." in ran.complaint


async def test_dev_takes_the_next_free_port_and_says_so(tmp_path: Path) -> None:
    first, second = (Development(tmp_path / name) for name in ("one.db", "two.db"))
    async with first as url, second as other:
        assert urlsplit(other).port != urlsplit(url).port
        assert f"note: port 8787 is in use; using {urlsplit(other).port}" in await second.complaints()
        assert f"aerostack listen chat/general --url {other}" in await second.banner()


async def test_a_second_server_on_a_sqlite_file_is_refused_until_the_first_ends(
    server: "ServerProcess", tmp_path: Path
) -> None:
    path = server.database.address
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for address in (path, str(link)):
        ran = await aerostack("dev", "--port", "0", "--db", address)
        assert ran.code == 2
        assert ran.complaint == (
            f"error: {address} is already used by the server at {server.url} (process {server.pid} on "
            f"{socket.gethostname()}). A SQLite file has one server: stop that one, or use another file."
        )
    ran = await aerostack("db", "cleanup", "--db", path)
    assert (ran.code, server.url in ran.complaint) == (2, True)
    await server.kill()
    await server.start()
    await server.terminate()
    await server.start()


async def test_a_host_for_others_without_saying_so(tmp_path: Path) -> None:
    ran = await aerostack("dev", "--host", "0.0.0.0", "--db", str(tmp_path / "shop.db"))
    assert (ran.code, "--unsafe-public" in ran.complaint) == (2, True)
    assert not (tmp_path / "shop.db").exists()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("port = 'x'", "port"),
        ("colour = 'red'", "colour"),
        ("[limits]\nframe_bytes = 'many'", "frame_bytes"),
        ("not toml", "TOML"),
        ('[[retention]]\npattern = "a/*"\nmax_age = "soon"', "max_age"),
    ],
)
async def test_settings_that_mean_nothing(tmp_path: Path, settings: str, named: str) -> None:
    config = tmp_path / "aerostack.toml"
    config.write_text(settings)
    ran = await aerostack("serve", "--config", str(config), cwd=tmp_path)
    assert ran.code == 2
    assert named in ran.complaint


async def test_settings_that_are_not_there(tmp_path: Path) -> None:
    ran = await aerostack("serve", "--config", str(tmp_path / "nowhere.toml"), cwd=tmp_path)
    assert (ran.code, "nowhere.toml" in ran.complaint) == (2, True)


async def test_settings_that_are_not_fit_for_a_network(tmp_path: Path) -> None:
    ran = await aerostack("serve", cwd=tmp_path)
    assert ran.code == 2
    assert "secret_keys" in ran.err
    ran = await aerostack("serve", cwd=tmp_path, settings={"AEROSTACK_SECRET_KEY": "short"})
    assert (ran.code, "16 characters" in ran.err) == (2, True)
    assert not (tmp_path / "aerostack.db").exists()


async def test_a_sqlite_file_cannot_serve_several_nodes(tmp_path: Path) -> None:
    path = str(tmp_path / "aerostack.db")
    ran = await aerostack("dev", "--port", "0", "--db", path, "--backplane", "redis://127.0.0.1")
    assert ran.code == 2
    assert ran.complaint.startswith('error: Several nodes need PostgreSQL: set database = "postgresql://…"')
    assert os.listdir(tmp_path) == []


async def test_a_backplane_of_an_unknown_kind() -> None:
    settings = {"AEROSTACK_BACKPLANE": "amqp://127.0.0.1"}
    ran = await aerostack("dev", "--port", "0", "--db", "postgresql://127.0.0.1/x", settings=settings)
    assert ran.code == 2
    assert "redis+sentinel://" in ran.complaint


async def test_a_number_in_the_environment_that_is_none(tmp_path: Path) -> None:
    ran = await aerostack("serve", cwd=tmp_path, settings={"AEROSTACK_PORT": "many"})
    assert (ran.code, "AEROSTACK_PORT" in ran.complaint) == (2, True)
