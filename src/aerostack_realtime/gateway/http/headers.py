"""The security headers of every answer."""

import re
from typing import Final

from aiohttp import web

_ALL: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "aerostack",
}
NOTHING: Final = "default-src 'none'; frame-ancestors 'none'"
"""The policy of answers that are not pages."""
PAGES: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The policy of our pages, which have no inline scripts or styles. `ws: wss:` since not every browser counts
the socket of the page's own server as 'self'."""
DOCUMENTATION: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The policy of the documentation, whose generator writes scripts into its pages; it takes no input."""
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,255}(:\d{1,5})?|\[[0-9a-fA-F:.]+\](:\d{1,5})?")
HSTS: Final = "max-age=31536000"


def console(host: str | None) -> str:
    """The policy of the console at a host: nothing inline, no other hosts, and no markup from strings."""
    sockets = f" ws://{host} wss://{host}" if host is not None and _HOST.fullmatch(host) else ""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{sockets}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )


def protect(response: web.StreamResponse, *, secure: bool) -> None:
    """Add the headers to an answer that has not been sent; a policy of its own stays."""
    for name, value in _ALL.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", NOTHING)
    if secure:
        response.headers["Strict-Transport-Security"] = HSTS
