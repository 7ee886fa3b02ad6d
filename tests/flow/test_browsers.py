"""What browsers receive: origins, CORS, security headers; and TLS with a certificate that is renewed."""

import asyncio
import datetime
import os
import signal
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.flow.calls import Http
from tests.flow.command import aerostack
from tests.flow.wire import Refused, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

Serve = Callable[[str], Awaitable["ServerProcess"]]

HISTORY: Final = "/api/v1/public/realtime/history?room=a/b"
APP: Final = "https://app.example.com"


async def fetched(
    server: "ServerProcess", path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, server.url + path, headers={each.replace("_", "-"): headers[each] for each in headers}
        ) as answer,
    ):
        await answer.read()
        return answer.status, dict(answer.headers)


@pytest.mark.parametrize("path", ["/", HISTORY, "/nowhere", "/healthz"])
async def test_every_answer_has_security_headers(server: "ServerProcess", path: str) -> None:
    _, headers = await fetched(server, path)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers


async def test_pages_of_allowed_origins_may_read_answers_and_others_get_none(serve: Serve) -> None:
    server = await serve(f'anonymous = true\norigins = ["{APP}", "https://*.example.org"]')
    for origin in (APP, "https://a.example.org"):
        status, headers = await fetched(server, HISTORY, Origin=origin)
        assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (200, origin, "Origin")
        assert "Access-Control-Allow-Credentials" not in headers
        status, headers = await fetched(
            server, HISTORY, "OPTIONS", Origin=origin, Access_Control_Request_Method="GET"
        )
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, origin)
    for origin in ("https://evil.example.com", "https://example.org", "null"):
        for method in ("GET", "OPTIONS"):
            status, headers = await fetched(
                server, HISTORY, method, Origin=origin, Access_Control_Request_Method="GET"
            )
            assert "Access-Control-Allow-Origin" not in headers
            assert status == (403 if method == "GET" else 204)
        with pytest.raises(Refused) as refused:
            await Wire.open(server.url, headers=[("Origin", origin)])
        assert refused.value.status == 403


async def test_dev_answers_to_no_name_that_others_own(server: "ServerProcess") -> None:
    """DNS rebinding against a developer's machine."""
    status, _ = await fetched(server, HISTORY, Host="rebound.evil.com", X_Aerostack_Key="ac_secret_dev")
    assert status == 403
    status, _ = await fetched(server, HISTORY, Host="localhost:1", X_Aerostack_Key="ac_secret_dev")
    assert status == 200


def issue(place: Path, name: str, *, password: bytes | None = None) -> bytes:
    """Write a self-signed certificate for localhost and its key, and return the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    (place / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    (place / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return certificate.public_bytes(Encoding.DER)


async def shown(server: "ServerProcess") -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    parts = urlsplit(server.url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    found: Any = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return bytes(found)


def tls(place: Path) -> str:
    return f'anonymous = true\ntls_cert = "{place / "cert.pem"}"\ntls_key = "{place / "key.pem"}"'


async def test_tls_is_served_and_its_certificate_renewed_on_sighup(serve: Serve, tmp_path: Path) -> None:
    first = issue(tmp_path, "first")
    server = await serve(tls(tmp_path))
    assert server.url.startswith("https://")
    assert await shown(server) == first
    second = issue(tmp_path, "second")
    assert await shown(server) == first
    os.kill(server.pid, signal.SIGHUP)
    while await shown(server) != second:
        pass
    (tmp_path / "cert.pem").write_text("no certificate")
    os.kill(server.pid, signal.SIGHUP)
    while "Nothing changed: TLS" not in server.log.read_text():
        assert await shown(server) == second
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get(server.url + "/healthz") as answer:
            assert answer.headers["Strict-Transport-Security"]
        async with session.ws_connect(server.url + "/api/realtime") as socket:
            assert (await socket.receive_json())["type"] == "connected"


async def test_sighup_without_a_certificate_is_nothing(serve: Serve, calls: Callable[..., Http]) -> None:
    server = await serve("anonymous = true")
    os.kill(server.pid, signal.SIGHUP)
    assert (await calls(server).get("/healthz"))[0] == 200


@pytest.mark.parametrize("password", [None, b"secret"])
async def test_a_certificate_that_cannot_be_used_keeps_the_server_from_starting(
    tmp_path: Path, password: bytes | None
) -> None:
    issue(tmp_path, "first", password=password)
    if password is None:
        (tmp_path / "key.pem").write_text("no key")
    files = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    ran = await aerostack("serve", *files, cwd=tmp_path)
    assert ran.code == 2
    assert "TLS: cannot use the certificate" in ran.err
    ran = await aerostack("serve", *files[:2], cwd=tmp_path)
    assert "TLS needs both" in ran.err
