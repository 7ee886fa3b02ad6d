"""What the server writes into its log, to be awaited."""

import asyncio
import logging

from tests.contract.conftest import PATIENCE


class Heard(logging.Handler):
    """Lets a test wait for what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._more.set()

    async def until(self, text: str) -> str:
        async with asyncio.timeout(PATIENCE):
            while not (found := [line for line in self.lines if text in line]):
                self._more.clear()
                await self._more.wait()
        return found[0]
