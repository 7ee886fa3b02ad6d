"""Proxies with one fault each, for the tests of `aerostack doctor`."""

from typing import Final

from msgspec import Struct

from tests.flow.reverse_proxy import NAMES

IDLE_SECONDS: Final = 2.5
"""More than the server's heartbeat of one second."""
CACHE: Final = "proxy_cache_path cache keys_zone=cache:1m;\nserver {"


class Fault(Struct):
    """A proxy with one fault, the check that fails for it, and a part of the line that the doctor names."""

    proxy: str
    edits: dict[str, str]
    check: str
    line: str
    idle: float = 0
    tls: bool = False


_INSTALLED: Final[dict[str, Fault]] = {
    "no upgrade": Fault(
        "nginx", {"proxy_set_header Upgrade $http_upgrade;": ""}, "upgrade", "proxy_set_header Upgrade"
    ),
    "short read time-out": Fault(
        "nginx",
        {"proxy_read_timeout 120s": "proxy_read_timeout 300ms"},
        "idle",
        "proxy_read_timeout",
        IDLE_SECONDS,
    ),
    "another host": Fault("nginx", {"proxy_set_header Host $host;": ""}, "host", "proxy_set_header Host $host;"),
    "clients' own X-Forwarded-For": Fault(
        "nginx",
        {"proxy_set_header X-Forwarded-For $remote_addr;": ""},
        "client address",
        "proxy_set_header X-Forwarded-For $remote_addr;",
    ),
    "no X-Forwarded-For": Fault(
        "nginx",
        {"X-Forwarded-For $remote_addr;": 'X-Forwarded-For "";'},
        "client address",
        "proxy_set_header X-Forwarded-For $remote_addr;",
    ),
    "small headers": Fault(
        "nginx",
        {"listen": "client_header_buffer_size 512; large_client_header_buffers 4 1k; listen"},
        "long headers",
        "large_client_header_buffers",
    ),
    "small bodies": Fault(
        "nginx", {"listen": "client_max_body_size 10k; listen"}, "large bodies", "client_max_body"
    ),
    "a doubled path": Fault(
        "nginx", {"proxy_pass http://aerostack;": "proxy_pass http://aerostack/api/;"}, "path", "proxy_pass"
    ),
    "compressed answers": Fault(
        "nginx",
        {"proxy_buffering off;": "gzip on; gzip_types application/json; gzip_min_length 1; gzip_proxied any;"},
        "compression",
        "gzip off;",
    ),
    "cached answers": Fault(
        "nginx",
        {"server {\n": f"{CACHE}\n", "proxy_buffering off;": "proxy_cache cache; proxy_cache_valid any 1m;"},
        "cache",
        "proxy_cache off;",
    ),
    "no server behind it": Fault("nginx", {"127.0.0.1:8787": "127.0.0.1:9"}, "address", "proxy_pass"),
    "short tunnel time-out": Fault(
        "haproxy", {"timeout tunnel 120s": "timeout tunnel 300ms"}, "idle", "timeout tunnel", IDLE_SECONDS
    ),
    "no option forwardfor": Fault("haproxy", {"option forwardfor": ""}, "client address", "option forwardfor"),
    "Origin removed": Fault(
        "haproxy",
        {"default_backend": "http-request del-header Origin\n  default_backend"},
        "foreign origins",
        "http-request del-header Origin",
    ),
    "sub-protocol removed": Fault(
        "haproxy",
        {"default_backend": "http-response del-header Sec-WebSocket-Protocol\n  default_backend"},
        "upgrade",
        "Sec-WebSocket-Protocol",
    ),
    "no X-Forwarded-Proto": Fault(
        "haproxy",
        {"http-request set-header X-Forwarded-Proto https": ""},
        "scheme",
        "http-request set-header X-Forwarded-Proto",
        tls=True,
    ),
}


def _caddy(check: str, directive: str, line: str, idle: float = 0, *, tls: bool = False) -> Fault:
    """A site of Caddy with one more directive before its proxy."""
    return Fault("caddy", {"\treverse_proxy": f"\t{directive}\n\treverse_proxy"}, check, line, idle, tls)


def _caddy_header(check: str, option: str, line: str, *, tls: bool = False) -> Fault:
    """A site of Caddy whose proxy has one more option."""
    return Fault("caddy", {"flush_interval": f"{option}\n\t\tflush_interval"}, check, line, tls=tls)


_BUILT: Final[dict[str, Fault]] = {
    "Caddy: another path": _caddy("path", "rewrite * /other{uri}", "no rewrite"),
    "Caddy: compressed answers": _caddy("compression", "encode gzip {\n\t\tminimum_length 1\n\t}", "encode"),
    "Caddy: small bodies": _caddy("large bodies", "request_body {\n\t\tmax_size 10KB\n\t}", "max_size"),
    "Caddy: short time-out of streams": Fault(
        "caddy",
        {"flush_interval": "stream_timeout 300ms\n\t\tflush_interval"},
        "idle",
        "stream_timeout",
        IDLE_SECONDS,
    ),
    "Caddy: another host": _caddy_header("host", "header_up Host other.example.com", "header_up Host {host}"),
    "Caddy: Origin removed": _caddy_header("foreign origins", "header_up -Origin", "Origin"),
    "Caddy: sub-protocol removed": _caddy_header(
        "upgrade", "header_up -Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol"
    ),
    "Caddy: no X-Forwarded-For": _caddy_header("client address", "header_up -X-Forwarded-For", "X-Forwarded-For"),
    "Caddy: another X-Forwarded-Proto": _caddy_header(
        "scheme", "header_up X-Forwarded-Proto http", "X-Forwarded-Proto", tls=True
    ),
    "Caddy: small headers": Fault(
        "caddy",
        {"protocols h1 h2": "protocols h1 h2\n\t\tmax_header_size 1KB"},
        "long headers",
        "max_header_size",
    ),
    "Caddy: no server behind it": Fault("caddy", {"127.0.0.1:8787": "127.0.0.1:9"}, "address", "reverse_proxy"),
}

FAULTS: Final = {name: fault for name, fault in (_INSTALLED | _BUILT).items() if fault.proxy in NAMES}
