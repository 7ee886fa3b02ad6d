"""The negotiation of permessage-deflate (RFC 7692 §7.1), the one extension of the server."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from aerostack_realtime.protocol.deflate import WINDOW_BITS

NAME: Final = "permessage-deflate"

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER: Final = re.compile(rf'[ \t]*;[ \t]*({_TOKEN})(?:[ \t]*=[ \t]*(?:({_TOKEN})|"({_TOKEN})"))?')
_EXTENSION: Final = re.compile(rf"[ \t,]*({_TOKEN})((?:{_PARAMETER.pattern})*)[ \t]*(?=,|$)")
_BITS: Final = re.compile(r"[89]|1[0-5]")
_FLAGS: Final = frozenset({"server_no_context_takeover", "client_no_context_takeover"})
_SERVER_BITS, _CLIENT_BITS = "server_max_window_bits", "client_max_window_bits"


def accept(headers: Iterable[str]) -> str | None:
    """The value of `Sec-WebSocket-Extensions` that accepts the first suitable offer in these headers, or None. A
    header is read up to what is not an extension."""
    for name, parameters in _offers(headers):
        if name == NAME and (accepted := _accepted(parameters)) is not None:
            return accepted
    return None


def _offers(headers: Iterable[str]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    for header in headers:
        at = 0
        while (found := _EXTENSION.match(header, at)) is not None:
            yield (
                found[1],
                [(each[1], each[2] or each[3]) for each in _PARAMETER.finditer(found[2])],
            )
            at = found.end()


def _accepted(parameters: list[tuple[str, str | None]]) -> str | None:
    """The answer to one offer; None declines it: a parameter is unknown, has an improper value or comes twice, or
    the client has less memory than a window needs."""
    answer = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
    if len({name for name, _ in parameters}) < len(parameters):
        return None
    for name, value in parameters:
        if name in _FLAGS:
            if value is not None:
                return None
        elif name == _CLIENT_BITS:
            if value is not None and not _BITS.fullmatch(value):
                return None
        elif name == _SERVER_BITS:
            if value is None or not _BITS.fullmatch(value) or int(value) < WINDOW_BITS:
                return None
            answer += f"; {_SERVER_BITS}={value}"
        else:
            return None
    return answer
