"""What a refusal of the server means: its codes as exceptions, its close codes as what to do next."""

from typing import Final, Literal

from aerostack_realtime.protocol import close_codes
from aerostack_realtime.protocol.errors import (
    ERRORS,
    AerostackError,
    BadMessage,
    Forbidden,
    Internal,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
)

Verdict = Literal["retry", "retry late", "renew", "stop"]
"""What to do after a connection ended: try again after a back-off, after the longest back-off, with a new
token, or not at all."""

_BY_STATUS: Final[dict[int, type[AerostackError]]] = {
    400: BadMessage,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: TooLarge,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(code: str, message: str) -> AerostackError:
    """The exception for an error code of docs/protocol.md §7."""
    error = ERRORS.get(code)
    return error(message) if error else Internal(f"{code}: {message}")


def error_of_status(status: int, message: str) -> AerostackError:
    """The exception for an HTTP status that came without an error code (from a proxy, for one)."""
    return _BY_STATUS.get(status, Internal)(message)


def verdict_of_close(code: int | None) -> Verdict:
    """What to do after the close code `code`; None when the connection broke without one.

    Codes from 4400 are final except 4401 and 4429, so a code the server gains later is understood too.
    """
    match code:
        case close_codes.UNAUTHORIZED:
            return "renew"
        case close_codes.LIMIT:
            return "retry late"
        case int() if 4400 <= code <= 4499:
            return "stop"
        case _:
            return "retry"


def verdict_of_status(status: int) -> Verdict:
    """What to do after the upgrade to WebSocket was answered by HTTP `status`."""
    match status:
        case 401:
            return "renew"
        case 429:
            return "retry late"
        case 400 | 403 | 404 | 405 | 410 | 426:
            return "stop"
        case _:
            return "retry"


def error_of_close(code: int | None, reason: str) -> AerostackError:
    """The exception for a connection that ended for good, or before it was usable."""
    said = f": {reason}" if reason else ""
    match code:
        case close_codes.BAD_MESSAGES:
            return BadMessage(f"The server closed the connection after too many bad messages{said}.")
        case close_codes.UNAUTHORIZED | close_codes.AUTH_TIMEOUT:
            return Unauthorized(f"The server wants other credentials{said}; give it a valid key or token.")
        case close_codes.FORBIDDEN:
            return Forbidden(f"The server does not admit this client{said}.")
        case close_codes.LIMIT:
            return RateLimited(f"The server has too many connections or requests{said}.")
        case int() if 4400 <= code <= 4499:
            return Forbidden(f"The server closed the connection for good with code {code}{said}.")
        case _:
            return Unavailable(f"The connection ended with code {code}{said}.")
