"""Fetching what identity providers publish."""

from typing import Final

import aiohttp

SECONDS: Final = 10
MAX_BYTES: Final = 1024 * 1024


async def fetch(url: str) -> bytes:
    """What is at a URL, without following it elsewhere. Raises aiohttp.ClientError, TimeoutError, ValueError."""
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=True) as client,
        client.get(url, allow_redirects=False) as answer,
    ):
        if answer.status != 200:
            raise ValueError(f"it answers with {answer.status}")
        body = await answer.content.read(MAX_BYTES + 1)
        while len(body) <= MAX_BYTES and (more := await answer.content.read(MAX_BYTES)):
            body += more
        if len(body) > MAX_BYTES:
            raise ValueError(f"it is longer than {MAX_BYTES} bytes")
        return body
