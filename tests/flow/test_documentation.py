"""The documentation under /docs of a development server."""

from typing import TYPE_CHECKING

import aiohttp
import pytest

from aerostack_realtime.gateway.http import pages

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")


async def test_dev_serves_the_documentation_when_it_is_built(node: "ServerProcess") -> None:
    async with aiohttp.ClientSession(node.url) as browser:
        async with browser.get("/docs/") as answer:
            text = await answer.text()
        if not (pages.ROOT / "docs").is_dir():  # `make check` builds it
            assert (answer.status, "run `make docs`" in text) == (404, True)
            return
        assert "<title>Aerostack Realtime" in text
        assert "worker-src 'self'" in answer.headers["Content-Security-Policy"]
        async with browser.get("/docs/search.json") as index:
            assert "cursor" in await index.text()
        async with browser.get("/docs/../../server.py") as outside:
            assert outside.status == 404
        async with browser.get("/docs", allow_redirects=False) as bare:
            assert bare.headers["Location"] == "/docs/"
