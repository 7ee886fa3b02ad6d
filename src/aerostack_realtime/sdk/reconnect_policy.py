"""What an answer of the server means: error codes as exceptions, close codes as the next step."""

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

NextStep = Literal["reconnect", "reconnect late", "renew token", "stop"]
"""What to do after a connection ended: reconnect after a back-off, after the longest back-off, with a new
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
    """The exception for an HTTP status without an error code, for example from a proxy."""
    return _BY_STATUS.get(status, Internal)(message)


def next_step_of_close(code: int | None) -> NextStep:
    """What to do after the close code `code`; None when the connection broke without one.

    Ranges decide (docs/protocol.md §7), so that a server may add codes without a new client: 4400 to 4899 stop,
    all others reconnect. 4401 and 4429 are the two exceptions.
    """
    match code:
        case close_codes.UNAUTHORIZED:
            return "renew token"
        case close_codes.LIMIT:
            return "reconnect late"
        case int() if 4400 <= code <= 4899:
            return "stop"
        case _:
            return "reconnect"


def next_step_of_status(status: int) -> NextStep:
    """What to do after the server answered the upgrade to WebSocket with HTTP `status`."""
    match status:
        case 401:
            return "renew token"
        case 429:
            return "reconnect late"
        case 400 | 403 | 404 | 405 | 410 | 426:
            return "stop"
        case _:
            return "reconnect"


def error_of_close(code: int | None, reason: str) -> AerostackError:
    """The exception for a connection that was closed for good, or before it was usable."""
    because = f": {reason}" if reason else ""
    match code:
        case close_codes.BAD_MESSAGES:
            return BadMessage(f"The server closed the connection after too many bad messages{because}.")
        case close_codes.UNAUTHORIZED | close_codes.AUTH_TIMEOUT:
            return Unauthorized(f"The server did not accept the credentials{because}; pass a valid key or token.")
        case close_codes.FORBIDDEN:
            return Forbidden(f"The server does not admit this client{because}.")
        case close_codes.LIMIT:
            return RateLimited(f"A connection or rate limit of the server was reached{because}.")
        case int() if 4400 <= code <= 4899:
            return Forbidden(f"The server closed the connection for good with code {code}{because}.")
        case _:
            return Unavailable(f"The connection ended with code {code}{because}.")
