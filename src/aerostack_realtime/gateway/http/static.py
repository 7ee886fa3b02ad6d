"""Files for browsers: the client as ES modules and, for development, the home page and the examples."""

from html import escape
from typing import Final

from aiohttp import web

from aerostack_realtime.gateway.http import headers
from aerostack_realtime.gateway.http.pages import ROOT, missing

_TYPES: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".json": "application/json",
}
_DOCS: Final = ROOT / "docs"
"""Built by `make docs`; the wheel contains it."""


_PROJECT: Final = '<meta name="aerostack-project" content="'
"""How a page learns which project the server holds; the pages are built with `default`."""


def routes(*, project: str, examples: bool) -> list[web.RouteDef]:
    """The client for browsers at `/sdk/`; with `examples` also the home page, the examples, which connect to
    `project`, and the documentation; else one line at `/`."""

    async def page(request: web.Request) -> web.StreamResponse:
        return _file(request, project)

    served = [web.get("/{path:sdk/.*}", page)]
    if not examples:
        return [*served, web.get("/", _running)]
    return [
        *served,
        web.get("/", page),
        web.get("/{path:(?:examples|assets)/.+}", page),
        web.get("/{path:examples/?}", _home),
        web.get("/{path:docs}", page),
        web.get("/{path:docs/.*}", page),
    ]


def console_routes() -> list[web.RouteDef]:
    """The operators' console at `/console/`."""

    async def page(request: web.Request) -> web.StreamResponse:
        response = _file(request, "")
        response.headers["Content-Security-Policy"] = headers.console(request.headers.get("Host"))
        return response

    return [web.get("/{path:console}", page), web.get("/{path:console/(?!api/).*}", page)]


async def _running(_request: web.Request) -> web.Response:
    return web.Response(text="Aerostack Realtime is running.\n")


async def _home(_request: web.Request) -> web.Response:
    """The list of the examples is on the home page."""
    raise web.HTTPFound("/#examples")


def _file(request: web.Request, project: str) -> web.StreamResponse:
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
        if path.is_relative_to(_DOCS) and not _DOCS.is_dir():
            note = "The documentation is not built: run `make docs` in the source tree."
            return web.Response(text=note + "\n", status=404)
        raise web.HTTPNotFound
    policy = {"Content-Security-Policy": headers.DOCUMENTATION if path.is_relative_to(_DOCS) else headers.PAGES}
    content_type = _TYPES.get(path.suffix, "application/octet-stream")
    if path.suffix == ".html":
        text = path.read_text().replace(f'{_PROJECT}default"', f'{_PROJECT}{escape(project)}"')
        cache = {"Cache-Control": "no-cache"}
        return web.Response(text=text, content_type=content_type, headers={**policy, **cache})
    immutable = path.parent.name == "assets"
    cache = {"Cache-Control": "public, max-age=31536000, immutable" if immutable else "no-cache"}
    return web.FileResponse(path, headers={**policy, **cache, "Content-Type": content_type})
