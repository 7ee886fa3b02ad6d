"""What keeps a server from starting is told in one clear sentence, with exit code 2."""

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.flow.command import aerostack

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
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


async def test_a_number_in_the_environment_that_is_none(tmp_path: Path) -> None:
    ran = await aerostack("serve", cwd=tmp_path, settings={"AEROSTACK_PORT": "many"})
    assert (ran.code, "AEROSTACK_PORT" in ran.complaint) == (2, True)
