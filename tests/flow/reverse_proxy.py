"""nginx, HAProxy and Caddy as deploy/ configures them, in front of a server under test.

Only addresses, certificates, HAProxy's `maxconn` and times are replaced: seconds instead of minutes.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

BUILT: Final = Path(__file__).parents[2] / ".tools" / "proxies"
NAMES: Final = ["nginx", "haproxy", *(["caddy"] if (BUILT / "caddy").exists() else [])]
"""The proxies that tests run. Caddy is one of them after `make test-caddy`, which builds it: Debian's is old."""

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
CERTIFICATE: Final = "/etc/ssl/realtime"
"""Where the certificate is in the files: `.pem`, and `.key` or `-with-key.pem`."""


def nginx(server: str, listen: str, folder: Path, edits: Mapping[str, str] = {}) -> list[str]:
    """The command of nginx in `folder`, after `edits` of deploy/nginx.conf: a text and its replacement each."""
    site = edited((DEPLOY / "nginx.conf").read_text(), edits)
    site = site.replace("listen 443 ssl", f"listen {listen}").replace("127.0.0.1:8787", server)
    if not listen.endswith(" ssl"):
        site = re.sub(r"^ *ssl_.*\n", "", site, flags=re.MULTILINE)
    site = site.replace("Host $host;", "Host $http_host;")  # with the port, which is not 443 here
    site = site.replace("timeout 120s", "timeout 4s").replace(CERTIFICATE, f"{folder}/realtime")
    (folder / "nginx.conf").write_text(
        f"daemon off; user root; pid {folder}/pid; error_log {folder}/error.log; worker_shutdown_timeout 100ms;\n"
        f"events {{}}\nhttp {{ access_log off; client_body_temp_path {folder}/body;\n{site}\n}}\n"
    )
    return ["nginx", "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(server: str, listen: str, folder: Path, edits: Mapping[str, str] = {}) -> list[str]:
    """The command of HAProxy in `folder`, after `edits` of deploy/haproxy.cfg."""
    text = edited((DEPLOY / "haproxy.cfg").read_text(), edits)
    text = text.replace("bind :443 ssl crt /etc/ssl/realtime-with-key.pem", f"bind {listen}")
    text = text.replace("127.0.0.1:8787", server)
    text = text.replace("tunnel 120s", "tunnel 4s").replace("maxconn 100000", "maxconn 100")
    text = text.replace("hard-stop-after 10m", "hard-stop-after 100ms")
    (folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-W", "-f", str(folder / "haproxy.cfg")]


def caddy(
    server: str, listen: str, folder: Path, edits: Mapping[str, str] = {}, *, tls: bool = False
) -> list[str]:
    """The command of Caddy in `folder`, after `edits` of deploy/Caddyfile."""
    options = f"admin off\n\tauto_https disable_redirects\n\tskip_install_trust\n\tstorage file_system {folder}"
    options += "\n\tservers {\n\t\tprotocols h1 h2\n\t}"  # HTTP/3 needs an address, not a socket
    text = edited(f"{{\n\t{options}\n}}\n{(DEPLOY / 'Caddyfile').read_text()}", edits)
    certificate = f"tls {folder}/realtime.pem {folder}/realtime.key" if tls else ""
    address, _, port = listen.partition(":")
    site = f"{'https' if tls else 'http'}://{port and ':'}{port} {{\n\tbind {address}\n\t{certificate}"
    text = text.replace("realtime.example.com {", site).replace("127.0.0.1:8787", server)
    (folder / "Caddyfile").write_text(text)
    return [str(BUILT / "caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def edited(text: str, edits: Mapping[str, str]) -> str:
    """The text with each edit made. Every edit has to find its place."""
    for old, new in edits.items():
        assert old in text, f"{old!r} is in the file"
        text = text.replace(old, new)
    return text
