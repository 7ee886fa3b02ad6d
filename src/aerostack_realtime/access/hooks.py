"""A function of the user's own in place of a rule: `authorize = "myapp.realtime:authorize"`."""

import asyncio
import importlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aerostack_realtime.access.identity import Identity

log = logging.getLogger(__name__)

Authorize = Callable[[Identity, str, str], bool | Awaitable[bool]]
"""Called with the identity, the topic without its project, and the action. Only `True` allows."""

TIMEOUT_SECONDS: Final = 5.0


class Hook:
    """Asks the function; denies when it raises, takes too long or answers anything except True."""

    def __init__(self, authorize: Authorize, name: str = "authorize", timeout: float = TIMEOUT_SECONDS) -> None:
        self._authorize = authorize
        self._name = name
        self._timeout = timeout

    async def ask(self, identity: Identity, topic: str, action: str) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._answer(identity, topic, action) is True
        except TimeoutError:
            log.error("%s did not answer within %g s; %s is denied", self._name, self._timeout, action)
        except Exception:
            log.exception("%s failed; %s is denied", self._name, action)
        return False

    async def _answer(self, identity: Identity, topic: str, action: str) -> Any:
        """A plain function may block, so it runs on a thread; one that never ends occupies only that thread."""
        if inspect.iscoroutinefunction(self._authorize):
            return await self._authorize(identity, topic, action)
        answer = await asyncio.to_thread(self._authorize, identity, topic, action)
        return await answer if inspect.isawaitable(answer) else answer


def load(written: str) -> Hook:
    """The hook at `module:function`. Raises ValueError with what is wrong."""
    module, colon, name = written.partition(":")
    if not module or not colon or not name:
        raise ValueError(f"authorize is written module:function; {written!r} is not")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as missing:
        raise ValueError(f"authorize = {written!r} cannot be loaded: {missing}") from None
    if not callable(found):
        raise ValueError(f"authorize = {written!r} is not a function")
    return Hook(found, written)
