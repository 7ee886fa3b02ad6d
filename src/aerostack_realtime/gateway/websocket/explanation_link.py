"""In development a refused or silent subscription gets the address of its explanation on the console."""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlencode

from msgspec.structs import replace

from aerostack_realtime.protocol import messages, topics

REMEMBERED: Final = 16
"""Hosts whose object all connections share."""
PAGE: Final = "/console/#/explain?"
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")


class ExplanationLinks:
    """Makes addresses on the console at `origin`, such as `http://127.0.0.1:8787`."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    @staticmethod
    @lru_cache(REMEMBERED)
    def of(scheme: str, host: str | None) -> "ExplanationLinks | None":
        """Those of the server that a client has connected to; None for a host that cannot be written."""
        return ExplanationLinks(f"{scheme}://{host}") if host is not None and _HOST.fullmatch(host) else None

    def added(self, error: messages.Error, user: str | None, connection: str) -> messages.Error:
        """The answer to a subscription, with the address that explains it. Clients print the message."""
        question = {"connection": connection}
        if user is not None and isinstance(error.topic, str):
            question = {"topic": topics.without_project(error.topic), "user": user, "access": "subscribe"}
        return replace(error, message=f"{error.message} Why: {self.page(**question)}")

    def page(self, **question: str) -> str:
        """The address of the page that answers a question."""
        return f"{self._origin}{PAGE}{urlencode(question, safe='/=')}"
