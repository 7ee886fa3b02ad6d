"""The errors of the protocol, one class per code of docs/protocol.md §7.

    AerostackError
    ├── BadMessage  UnknownType  InvalidTopic  InvalidFilter  TooLarge      the client's fault
    ├── Unauthorized  Forbidden  TokenExpired                              who it is, or what it may not do
    ├── NotFound                                                           no such table
    ├── RateLimited  Overloaded  Unavailable                               retryable
    └── Internal                                                           the server's fault

A message says what was wrong and what to do next, and holds no secret: it is sent to the client as it is.
"""

from typing import ClassVar


class AerostackError(Exception):
    """An error with a protocol code.

    `code` is the word on the wire, `status` the HTTP status that carries it, `retryable` whether the same
    request may succeed later.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadMessage(AerostackError):
    code = "bad_message"
    status = 400


class UnknownType(AerostackError):
    code = "unknown_type"
    status = 400


class InvalidTopic(AerostackError):
    code = "invalid_topic"
    status = 400


class InvalidFilter(AerostackError):
    code = "invalid_filter"
    status = 400


class TooLarge(AerostackError):
    code = "too_large"
    status = 413


class Unauthorized(AerostackError):
    code = "unauthorized"
    status = 401


class Forbidden(AerostackError):
    code = "forbidden"
    status = 403


class TokenExpired(AerostackError):
    code = "token_expired"
    status = 401


class NotFound(AerostackError):
    code = "not_found"
    status = 404


class RateLimited(AerostackError):
    """`seconds`: when it is worth another try, where that is known."""

    code = "rate_limited"
    status = 429
    retryable = True

    def __init__(self, message: str, seconds: int = 1) -> None:
        super().__init__(message)
        self.seconds = seconds


class Overloaded(AerostackError):
    code = "overloaded"
    status = 503
    retryable = True


class Unavailable(AerostackError):
    code = "unavailable"
    status = 503
    retryable = True


class Internal(AerostackError):
    code = "internal"
    status = 500


ERRORS: dict[str, type[AerostackError]] = {
    error.code: error
    for error in (
        BadMessage,
        UnknownType,
        InvalidTopic,
        InvalidFilter,
        TooLarge,
        Unauthorized,
        Forbidden,
        TokenExpired,
        NotFound,
        RateLimited,
        Overloaded,
        Unavailable,
        Internal,
    )
}
"""Every error class by its code, for a client that turns a code back into an exception."""
