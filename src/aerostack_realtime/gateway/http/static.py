"""What the server serves to browsers: the way in, the examples, and the client as ES modules."""

from pathlib import Path
from typing import Final

from aiohttp import web

from aerostack_realtime.gateway.http import headers

ROOT: Final = Path(__file__).parent.parent.parent / "web"
"""Built by `make install` from packages/ and examples/; the wheel contains it."""

BUILT: Final = (ROOT / "index.html", ROOT / "sdk" / "aerostack.js", ROOT / "sdk" / "aerostack-react.js")
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
_HEADERS: Final = {"Content-Security-Policy": headers.PAGES}


def missing() -> str | None:
    """What to say when the pages were not built; None when they are there."""
    if all(path.is_file() for path in BUILT):
        return None
    return "The browser client and the pages are not built: run `make install` in the source tree."


def routes() -> list[web.RouteDef]:
    return [
        web.get("/", _page),
        web.get("/{path:(?:sdk|examples|assets)/.*}", _page),
        web.get("/examples", _page),
    ]


async def _page(request: web.Request) -> web.StreamResponse:
    path = (ROOT / request.path.lstrip("/")).resolve()
    if not path.is_relative_to(ROOT.resolve()):
        raise web.HTTPNotFound
    if path.is_dir():
        if not request.path.endswith("/"):
            raise web.HTTPMovedPermanently(request.path + "/")
        path = path / "index.html"
    if not path.is_file():
        if (note := missing()) is not None:
            return web.Response(text=note + "\n", status=404)
        raise web.HTTPNotFound
    content_type = _TYPES.get(path.suffix, "application/octet-stream")
    immutable = path.parent.name == "assets"
    cache = {"Cache-Control": "public, max-age=31536000, immutable" if immutable else "no-cache"}
    return web.FileResponse(path, headers={**_HEADERS, **cache, "Content-Type": content_type})
