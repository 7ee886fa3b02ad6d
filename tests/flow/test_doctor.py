"""`aerostack doctor` in front of proxies that have one fault each, and of those that have none."""

import asyncio
import contextlib
import functools
import os
import re
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from aerostack_realtime.cli.doctor.examination import examine
from aerostack_realtime.cli.doctor.findings import Report
from aerostack_realtime.cli.doctor.remedies import SERVER
from aerostack_realtime.cli.doctor.visitor import Visitor
from aerostack_realtime.cli.main import app
from tests.authority import Authority
from tests.flow.command import aerostack
from tests.flow.conftest import OPEN_RULE, SERVE_KEY, ServerProcess
from tests.flow.databases import Databases
from tests.flow.proxy_faults import FAULTS, IDLE_SECONDS
from tests.flow.reverse_proxy import NAMES, caddy, haproxy, nginx

pytestmark = [pytest.mark.database("sqlite"), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """The server behind the proxies, which it trusts."""
    place = tmp_path_factory.mktemp("behind")
    settings = f'secret_keys = ["{SERVE_KEY}"]\nanonymous = true\ntrusted_proxies = ["127.0.0.1"]\n'
    config = place / "aerostack.toml"
    config.write_text(f"{settings}[limits]\nheartbeat_seconds = 1\n{OPEN_RULE}")
    server = ServerProcess(databases.new(place), place / "server.log", config)
    await server.start()
    yield server
    await server.close()


@contextlib.asynccontextmanager
async def running(
    proxy: str, server: ServerProcess, folder: Path, edits: Mapping[str, str] = {}, *, tls: bool = False
) -> AsyncIterator[str]:
    """The url of a proxy. It takes a socket that listens already, so connections wait until it has started."""
    target = server.url.removeprefix("http://")
    with socket.create_server(("127.0.0.1", 0)) as listening, (folder / "proxy.log").open("wb") as log:
        port, number = listening.getsockname()[1], listening.fileno()
        if proxy == "nginx":
            command = nginx(target, f"127.0.0.1:{port}{' ssl' if tls else ''}", folder, edits)
        elif proxy == "caddy":
            command = caddy(target, f"fd/{number}", folder, edits, tls=tls)
        else:
            crypt = f" ssl crt {folder}/realtime-with-key.pem" if tls else ""
            command = haproxy(target, f"fd@{number}{crypt}", folder, edits)
        process = await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=log, pass_fds=[number], env={**os.environ, "NGINX": f"{number};"}
        )
    try:
        yield f"{'https' if tls else 'http'}://localhost:{port}"
    finally:
        process.terminate()
        await process.wait()


def certify(folder: Path, name: str = "localhost", *, expired: bool = False) -> Path:
    """Write a certificate for a proxy in `folder`, and return that of its authority."""
    authority = Authority(folder, "authority")
    certificate, key = folder / "realtime.pem", folder / "realtime.key"
    authority.issue(name, certificate, key, expired=expired)
    (folder / "realtime-with-key.pem").write_text(certificate.read_text() + key.read_text())
    return authority.certificate


async def examined(url: str, idle: float = 0, ca: Path | None = None, key: str = SERVE_KEY) -> Report:
    visitor = Visitor(url, key=key, token=None, project=None, ca=None if ca is None else str(ca))
    return await examine(visitor, idle=idle)


def failures(report: Report) -> dict[str, str]:
    """The failed checks, each with the lines that the doctor names."""
    return {each.check: "\n".join(each.remedy.values()) for each in report.findings if each.result == "failed"}


@pytest.mark.parametrize("name", FAULTS)
async def test_the_doctor_names_the_fault_of_a_proxy(name: str, behind: ServerProcess, tmp_path: Path) -> None:
    fault = FAULTS[name]
    ca = certify(tmp_path) if fault.tls else None
    async with running(fault.proxy, behind, tmp_path, fault.edits, tls=fault.tls) as url:
        found = failures(await examined(url, fault.idle, ca))
    assert fault.check in found, found
    assert fault.line in found[fault.check]
    assert set(found) <= {fault.check, "origin"}, "one fault is reported once"


@pytest.mark.parametrize("proxy", NAMES)
async def test_the_example_configurations_have_no_fault(proxy: str, behind: ServerProcess, tmp_path: Path) -> None:
    ca = certify(tmp_path)
    async with running(proxy, behind, tmp_path, tls=True) as url:
        report = await examined(url, IDLE_SECONDS, ca)
    assert [each for each in report.findings if each.result not in ("ok", "warning")] == []
    assert [each.check for each in report.findings if each.result == "warning"] == [
        "certificate"
    ]  # one day is left


@pytest.mark.parametrize(
    ("name", "expired", "sentence"),
    [("localhost", True, "has expired"), ("realtime.example.com", False, "is not for localhost")],
)
async def test_the_doctor_names_the_fault_of_a_certificate(
    name: str, expired: bool, sentence: str, behind: ServerProcess, tmp_path: Path
) -> None:
    ca = certify(tmp_path, name, expired=expired)
    async with running("nginx", behind, tmp_path, tls=True) as url:
        [only] = (await examined(url, ca=ca)).findings
    assert (only.check, only.result) == ("certificate", "failed")
    assert sentence in only.sentence


async def test_frames_held_back_by_a_proxy_are_reported(behind: ServerProcess) -> None:
    async with holding(behind.url) as url:
        found = failures(await examined(url))
    assert "proxy_buffering off;" in found["buffering"], found


@contextlib.asynccontextmanager
async def holding(server: str) -> AsyncIterator[str]:
    """A proxy that passes on heads and bodies of answers, and holds back frames after an upgrade."""
    host, port = server.removeprefix("http://").split(":")
    tasks: set[asyncio.Task[None]] = set()

    async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, held: bool) -> None:
        head = await source.readuntil(b"\r\n\r\n")
        sink.write(head)
        while data := await source.read(65536):
            if not (held and head.startswith(b"HTTP/1.1 101")):
                sink.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        try:
            both = forward(reader, back, held=False), forward(there, writer, held=True)
            await asyncio.wait(map(asyncio.ensure_future, both), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (writer, back):
                each.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    proxy = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    finally:
        proxy.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_proxy_that_the_server_does_not_trust_is_reported(node: ServerProcess, tmp_path: Path) -> None:
    async with running("nginx", node, tmp_path) as url:
        report = await examined(url, key=node.secret_key)
    [fault] = [each for each in report.findings if each.check == "client address"]
    assert fault.remedy == {SERVER: 'trusted_proxies = ["127.0.0.1"]'}


async def test_without_a_key_the_rest_is_still_tested(behind: ServerProcess) -> None:
    report = await examined(behind.url, key="ac_secret_unknown")
    assert failures(report) == {}
    skipped = [each.check for each in report.findings if each.result == "skipped"]
    assert skipped == ["host", "client address", "scheme", "idle"]


async def test_the_command_prints_the_missing_line_and_fails(behind: ServerProcess, tmp_path: Path) -> None:
    edits = {"proxy_set_header Upgrade $http_upgrade;": ""}
    async with running("nginx", behind, tmp_path, edits) as url:
        ran = await aerostack("doctor", url, "--key", SERVE_KEY, "--idle", "0")
    assert ran.code == 1
    assert re.search(r"^failed +upgrade ", ran.out, re.MULTILINE)
    assert re.search(r"^  nginx +proxy_http_version 1.1; proxy_set_header Upgrade ", ran.out, re.MULTILINE)
    assert "haproxy" not in ran.out, "the proxy names itself"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("http://127.0.0.1:9/api/realtime", "--json"), 1, "use http://127.0.0.1:9 as the url"),
        (("http://127.0.0.1:9",), 1, "No connection"),
        (("https://127.0.0.1:9",), 1, "No connection"),
        (("localhost",), 2, "https://"),
        (("http://127.0.0.1:9", "--proxy", "apache"), 2, "--proxy is one of nginx, haproxy, caddy, traefik."),
        (("https://127.0.0.1:9", "--ca", __file__), 2, "is not a file with certificates"),
    ],
)
async def test_addresses_without_a_server_are_explained(
    arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    run = functools.partial(CliRunner().invoke, app, ["doctor", *arguments], env={"COLUMNS": "200"})
    ran = await asyncio.to_thread(run)
    assert (ran.exit_code, sentence in ran.output) == (code, True), ran.output
