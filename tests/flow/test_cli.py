"""The command line, against a real server."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from aerostack_realtime.access.keys import Keys
from aerostack_realtime.cli.main import app
from aerostack_realtime.database.postgres.connection.address import names_server
from tests.flow.calls import Http
from tests.flow.command import COMMAND, aerostack, environment
from tests.flow.wire import PATIENCE_SECONDS, Dial
from tests.redis import RedisServer

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess
    from tests.flow.databases import Database

COMMANDS = (
    "dev",
    "serve",
    "init",
    "config",
    "check",
    "doctor",
    "explain",
    "key",
    "token",
    "emit",
    "listen",
    "cluster",
    "db",
    "tables",
)
WITH_EXAMPLES = (
    *(command for command in COMMANDS if command != "db"),
    *("db query", "db cleanup", "tables watch", "tables unwatch"),
)


def invoke(*arguments: str) -> Result:
    """Run a command in this process, which is quicker, where a process of its own would prove no more."""
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


@pytest.mark.parametrize("command", WITH_EXAMPLES)
def test_every_command_shows_an_example(command: str) -> None:
    ran = invoke(*command.split(), "--help")
    assert ran.exit_code == 0
    assert f"Example: aerostack {command}" in ran.stdout


async def test_the_help_names_every_command() -> None:
    ran = await aerostack("--help")
    assert ran.code == 0
    assert all(command in ran.out for command in COMMANDS)


async def test_emit_reaches_subscribers(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    await wire.subscribe("cli/emit")
    ran = await aerostack("emit", "cli/emit", "shipped", '{"text": "[b]hi[/b]"}', "--url", node.url)
    assert (ran.code, "shipped" in ran.out) == (0, True)
    event = await wire.hear("event")
    assert (event["event"], event["data"]) == ("shipped", {"text": "[b]hi[/b]"})


async def test_the_address_and_the_key_come_from_the_environment_too(node: "ServerProcess") -> None:
    settings = {"AEROSTACK_URL": node.url, "AEROSTACK_SECRET_KEY": node.secret_key}
    ran = await aerostack("db", "query", "SELECT 1 AS one", "--json", settings=settings)
    assert (ran.code, json.loads(ran.out)) == (0, [{"one": 1}])


async def test_db_takes_parameters_and_prints_a_table(node: "ServerProcess", http: Http) -> None:
    await http.sql("CREATE TABLE cli_db(a TEXT, b TEXT)")
    ran = await aerostack("db", "query", "INSERT INTO cli_db VALUES (?, ?)", "1", "[x] y", "--url", node.url)
    assert (ran.code, ran.out.split()[0]) == (0, "1")
    ran = await aerostack("db", "query", "SELECT * FROM cli_db", "--url", node.url)
    assert ran.code == 0
    assert [line.rstrip().split(maxsplit=1) for line in ran.out.splitlines()] == [["a", "b"], ["1", "[x] y"]]


async def test_listen_prints_a_line_per_event(node: "ServerProcess", http: Http) -> None:
    await http.sql("CREATE TABLE cli_listen(a INTEGER)")
    async with listening("cli_listen", "--url", node.url, "--json") as (process, lines):
        await http.sql("INSERT INTO cli_listen VALUES (1)")
        payload = json.loads(await anext(lines))
        assert (payload["operation"], payload["data"]) == ("INSERT", {"a": 1})
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() in (0, 130)
    async with listening("cli/listen", "--url", node.url) as (_, lines):
        await http.post("/api/v1/realtime/publish", {"topic": "cli/listen", "event": "e", "data": "[red]x"})
        line = await anext(lines)
        assert line.startswith("e ")
        assert '"[red]x"' in line


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("emit", "a/b", "e", "not json"), 2, "JSON"),
        (("emit", "a//b", "e"), 1, "invalid_topic"),
        (("emit", "orders", "e"), 1, "forbidden"),
        (("db", "query", "SELEC 1"), 1, "syntax error"),
        (("db", "query", "SELECT ?"), 1, "give one for each ?"),
        (("db", "query", "SELECT 1", "--key", "wrong"), 1, "unauthorized"),
        (("listen", "nowhere"), 1, "not_found"),
        (("listen", "a//b"), 1, "invalid_topic"),
        (("listen", "a/b", "--filter", "x"), 2, "JSON"),
        (("listen", "a/b", "--token", "x"), 2, "a secret key belongs to --key"),
        (("listen", "a/b", "--token", "x.y.z"), 1, "unauthorized"),
    ],
)
def test_refusals_end_a_command_with_one_sentence_and_an_exit_code(
    node: "ServerProcess", arguments: tuple[str, ...], code: int, named: str
) -> None:
    ran = invoke(*arguments, "--url", node.url)
    assert (ran.exit_code, "error: " in ran.stderr, named in ran.stderr) == (code, True, True)


async def test_listen_prints_a_final_refusal_once(node: "ServerProcess") -> None:
    ran = await aerostack("listen", "a/b", "--token", "x.y.z", "--url", node.url)
    refusal = "unauthorized: The token is not a JWT: a part of it is not base64url."
    assert ran.err.splitlines() == ["connecting", "disconnected", f"error: {refusal}"]


@pytest.mark.parametrize("command", [("emit", "a/b", "e"), ("db", "query", "SELECT 1")])
def test_an_unreachable_server_is_reported(command: tuple[str, ...]) -> None:
    ran = invoke(*command, "--url", "http://127.0.0.1:9")
    assert ran.exit_code == 1
    assert "No connection to http://127.0.0.1:9: Connection refused. Check that a server runs there" in ran.stderr


@pytest.mark.parametrize("command", [("emit", "a/b", "e"), ("listen", "a/b"), ("db", "query", "SELECT 1")])
def test_an_address_without_a_scheme_is_refused_with_one_sentence(command: tuple[str, ...]) -> None:
    ran = invoke(*command, "--url", "127.0.0.1:8787")
    assert ran.exit_code == 2
    assert ran.stderr == "error: --url needs http:// or https://, such as http://127.0.0.1:8787.\n"


@pytest.mark.database("sqlite")
async def test_commands_use_the_project_of_the_server(
    serve: Callable[[str], Awaitable["ServerProcess"]],
) -> None:
    server = await serve('project = "shop"\nanonymous = true')
    place = ("--url", server.url, "--key", server.secret_key)
    assert (await aerostack("db", "query", "SELECT 1", *place)).code == 0
    other = await aerostack("emit", "cli/shop", "other", *place, "--project", "default")
    assert "holds no project 'default'" in other.complaint
    assert (await aerostack("emit", "cli/shop", "own", *place)).code == 0


async def test_a_token_replaces_the_secret_key(node: "ServerProcess", dial: Dial) -> None:
    token = (await aerostack("token", "--user", "alice")).out.strip()
    wire = await dial(node)
    await wire.subscribe("cli/token")
    ran = await aerostack("emit", "cli/token", "hello", "--url", node.url, "--token", token)
    assert (ran.code, (await wire.hear("event")).get("userId")) == (0, "alice")
    ran = await aerostack("db", "query", "SELECT 1", "--url", node.url, "--token", token)
    assert (ran.code, "secret key" in ran.complaint) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("serve", "--config", "missing.toml"), "write it with `aerostack init missing.toml`"),
        (("init", "missing/a.toml"), "create the directory missing first"),
        (("init", "--origin", "app.example.com"), "an origin is written https://app.example.com"),
        (("init", "--project", "a/b"), "project is 1 to 64 of"),
        (("dev", "--project", "a b"), "project is 1 to 64 of"),
        (("demo", "--db", "missing/a.db"), "create the directory missing first"),
        (("token", "--user", ""), "--user is the id of a user"),
    ],
)
def test_wrong_arguments_are_refused_with_what_to_write(
    arguments: tuple[str, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = invoke(*arguments)
    assert (ran.exit_code, named in ran.stderr) == (2, True), ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_printed() -> None:
    assert invoke("--version").stdout == invoke("-V").stdout == f"{version('aerostack-realtime')}\n"


def test_init_writes_settings_that_pass_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = invoke("init", "--db", "shop.db", "--origin", "https://app.example.com")
    assert (made.exit_code, "ac_secret_" in made.stdout) == (0, True)
    assert Path("aerostack.toml").stat().st_mode & 0o777 == 0o600
    checked = invoke("check")
    assert (checked.exit_code, checked.stderr.splitlines()[0]) == (0, "settings: aerostack.toml")
    assert "no problems found" in checked.stdout
    assert "exists already" in invoke("init").stderr
    shown = invoke("config").stdout
    assert 'database = "shop.db"  (aerostack.toml, line 10; default: "aerostack.db")' in shown
    assert "token_secret = (hidden)" in shown


def test_check_without_settings_says_that_serve_would_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checked = invoke("check")
    assert "settings: defaults; there is no ./aerostack.toml" in checked.stderr
    assert (checked.exit_code, "aerostack init" in checked.stdout) == (0, True)


@pytest.mark.parametrize(
    "address",
    [
        "connect_timeout=2 host=127.0.0.1 port=9 password=secret",
        "HOST=127.0.0.1 PASSWORD=secret",
        "PostgreSQL://ann:secret@127.0.0.1:9/shop",
        "'postgresql://ann:secret@127.0.0.1:9/shop'",
        "postgres:ann:secret@127.0.0.1:9/shop",
        "jdbc:postgresql://127.0.0.1:9/shop?password=secret",
        "//ann:secret@127.0.0.1:9/shop",
        "ann:sec/ret@127.0.0.1:9/shop",
    ],
)
@pytest.mark.parametrize("command", [("check",), ("tables",), ("db", "cleanup")])
def test_a_malformed_postgresql_address_is_refused_and_not_printed(
    command: tuple[str, ...], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert names_server(address), "or `aerostack dev` would make a file of that name"
    ran = invoke(*command, "--db", address)
    assert (ran.exit_code, "postgresql://" in ran.stderr) == (2, True)
    assert "ret" not in ran.output


@pytest.mark.parametrize("name", ["shop.db", "data/shop.db", "./a=1:b@c.db"])
def test_a_path_is_a_file_of_sqlite(name: str) -> None:
    assert f"no database at {name}" in invoke("check", "--db", name).stderr


@pytest.mark.parametrize("kind", ["secret", "publishable"])
def test_a_key_is_known_by_the_digest_that_is_printed_with_it(kind: str) -> None:
    ran = invoke("key", *(["--publishable"] if kind == "publishable" else []))
    key, setting = ran.stdout.strip(), ran.stderr.strip()
    assert key not in setting
    assert setting.startswith(f'{kind}_keys = ["sha256:')
    assert Keys([setting.split('"')[1]]).find(key)


async def test_a_token_lets_its_user_in(node: "ServerProcess", dial: Dial) -> None:
    ran = await aerostack("token", "--user", "alice", "--name", "Alice", "--claim", "admin=true", "--ttl", "5m")
    assert ran.code == 0
    wire = await dial(node, protocols=["aerostack-v1", f"aerostack-token.{ran.out.strip()}"])
    assert wire.connected["userId"] == "alice"
    for wrong in (("--ttl", "soon"), ("--claim", "novalue"), ("--config", "/nowhere.toml")):
        assert invoke("token", "--user", "alice", *wrong).exit_code == 2


TRACES = {
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'",
    "postgres": "SELECT count(*) FROM pg_class LEFT JOIN pg_publication_rel r ON r.prrelid = pg_class.oid "
    "WHERE relname = 'orders' AND (relreplident = 'f' OR r.oid IS NOT NULL)",
}
"""How much of a watch there is in a database."""


def test_tables_are_watched_and_left_without_a_trace(database: "Database") -> None:
    def written(sql: str) -> str:
        return asyncio.run(database.write(sql)).strip()

    def tables(*arguments: str) -> Result:
        return invoke("tables", *arguments, "--db", database.address)

    written("CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT)")

    kept = ["0"] if database.kind == "sqlite" else []  # PostgreSQL's log is not counted by tables
    assert tables().stdout.splitlines()[1].split() == ["orders", "no", *kept]
    begun = tables("watch", "orders")
    assert begun.exit_code == 0
    assert ("from now on" if kept else "once a server has started for the first time") in begun.stdout
    assert tables().stdout.splitlines()[1].split() == ["orders", "yes", *kept]
    assert written(TRACES[database.kind]) != "0"
    checked = invoke("check", "--db", database.address)
    assert (checked.exit_code, "watched tables: orders" in checked.stdout) == (0, True)
    assert tables("unwatch", "orders").exit_code == 0
    assert written(TRACES[database.kind]) == "0"
    for wrong in (("watch", "nowhere"), ("unwatch", "orders")):
        refused = tables(*wrong)
        assert (refused.exit_code, wrong[1] in refused.stderr) == (1, True)
    assert tables("watch").exit_code == 2


def test_a_database_that_is_not_there_has_no_tables(tmp_path: Path) -> None:
    for address in (str(tmp_path / "nowhere.db"), f"postgresql:///nowhere?host={tmp_path}"):
        assert invoke("tables", "--db", address).exit_code == 2


async def test_check_names_every_problem(tmp_path: Path) -> None:
    config, path = tmp_path / "aerostack.toml", tmp_path / "shop.db"
    path.write_bytes(b"no database" * 100)
    config.write_text(f'secret_keys = ["short"]\ndatabase = "{path}"')
    ran = await aerostack("check", "--config", str(config), cwd=tmp_path)
    assert ran.code == 2
    assert "16 characters" in ran.err
    assert "not a SQLite database" in ran.err


@pytest.mark.database("postgres")
def test_check_connects_to_the_backplane(
    database: "Database", redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("aerostack.toml").write_text(
        f'secret_keys = ["{"k" * 32}"]\nanonymous = true\ndatabase = "{database.address}"\n'
        f'backplane = "{redis.url}"\n[[channels]]\ntopic = "chat/{{room}}"'
    )
    checked = invoke("check")
    assert checked.exit_code == 0, checked.stderr
    assert f"backplane {redis.url}/0: usable" in checked.stdout
    redis.command("ACL", "SETUSER", "node", "on", "nopass", "~*", "resetchannels", "+@all")
    monkeypatch.setenv("AEROSTACK_BACKPLANE", redis.url.replace("//", "//node:secret@"))
    refused = invoke("check")
    redis.command("ACL", "DELUSER", "node")
    assert refused.exit_code == 2
    assert "lacks rights on channels" in " ".join(refused.stderr.split())
    assert refused.stderr.splitlines()[-1] == "    ACL SETUSER node &{ae:*"


@asynccontextmanager
async def listening(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, AsyncIterator[str]]]:
    """`aerostack listen`, once it listens."""
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "listen", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = ""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (line := (await process.stderr.readline()).decode()).startswith("listening to"):
                assert line, "it ended"
                said += line
    except TimeoutError:
        raise AssertionError(f"it does not listen, and said {said!r}") from None
    stdout = process.stdout

    async def lines() -> AsyncIterator[str]:
        while True:
            async with asyncio.timeout(PATIENCE_SECONDS):
                line = await stdout.readline()
            if not line:
                return
            yield line.decode()

    yield process, lines()
    if process.returncode is None:
        process.kill()
    await process.communicate()
