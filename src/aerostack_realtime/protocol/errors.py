"""The errors of the protocol, one class per code of docs/protocol.md §7.

    AerostackError
    ├── BadMessage (QueryFailed)  UnknownType  InvalidTopic  InvalidFilter  TooLarge    the client's fault
    ├── Unauthorized (InvalidKey)  Forbidden  TokenExpired              authentication and authorization
    ├── NotFound                                                        no such table or stream
    ├── Conflict (Cancelled)  OutOfStep                                 the state of a stream or of a history
    ├── RateLimited  Overloaded  Unavailable (ServerClosing)            retryable
    └── Internal                                                        the server's fault

A message says what was wrong and what to do next. It is sent to the client as it is, so it holds no secret.
"""

from typing import Any, ClassVar


class AerostackError(Exception):
    """An error with a protocol code.

    `code` is the word on the wire, `status` the HTTP status that carries it, `retryable` whether the same
    request may succeed later, and `published_code` the name that the published SDKs have for it.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    published_code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def body(self) -> dict[str, Any]:
        """The JSON body of an HTTP answer."""
        error = {"code": self.code, "message": self.message}
        return {"error": error, "code": self.published_code, "message": self.message}


class BadMessage(AerostackError):
    """The message or the body is malformed, or the database refused the statement; correct it."""

    code = "bad_message"
    status = 400
    published_code = "VALIDATION_ERROR"


class QueryFailed(BadMessage):
    """The database refused a statement."""

    published_code = "DB_QUERY_FAILED"


class UnknownType(AerostackError):
    """The server does not know this type of message."""

    code = "unknown_type"
    status = 400
    published_code = "VALIDATION_ERROR"


class InvalidTopic(AerostackError):
    """The topic is malformed, or of the wrong kind for this command."""

    code = "invalid_topic"
    status = 400
    published_code = "VALIDATION_ERROR"


class InvalidFilter(AerostackError):
    """The filter is malformed, too large, or names an unknown column."""

    code = "invalid_filter"
    status = 400
    published_code = "VALIDATION_ERROR"


class TooLarge(AerostackError):
    """A frame, body, state or row exceeds a limit; the message names the limit."""

    code = "too_large"
    status = 413
    published_code = "VALIDATION_ERROR"


class Unauthorized(AerostackError):
    """Credentials are missing, wrong or revoked."""

    code = "unauthorized"
    status = 401
    published_code = "AUTH_INVALID_CREDENTIALS"


class InvalidKey(Unauthorized):
    """An API key that is missing or that this server does not know."""

    published_code = "AUTH_INVALID_KEY"


class Forbidden(AerostackError):
    """The credentials are valid, but a rule does not allow this."""

    code = "forbidden"
    status = 403
    published_code = "AUTH_INVALID_CREDENTIALS"


class TokenExpired(AerostackError):
    """The user's token has expired; send a new one."""

    code = "token_expired"
    status = 401
    published_code = "AUTH_INVALID_CREDENTIALS"


class NotFound(AerostackError):
    """The table or the stream does not exist."""

    code = "not_found"
    status = 404
    published_code = "VALIDATION_ERROR"


class Conflict(AerostackError):
    """What the command asks for contradicts what happened before it."""

    code = "conflict"
    status = 409
    published_code = "VALIDATION_ERROR"


class Cancelled(Conflict):
    """The stream was cancelled; its writer should stop."""

    code = "cancelled"


class OutOfStep(AerostackError):
    """A piece of a stream comes before one that is missing; `n` is the number of the piece to continue with."""

    code = "out_of_step"
    status = 409
    published_code = "VALIDATION_ERROR"

    def __init__(self, message: str, n: int = 0) -> None:
        super().__init__(message)
        self.n = n

    def body(self) -> dict[str, Any]:
        body = super().body()
        body["error"]["n"] = self.n
        return body


class RateLimited(AerostackError):
    """More calls or messages than the limits allow; `seconds` is how long to wait before the next attempt."""

    code = "rate_limited"
    status = 429
    published_code = "RATE_LIMIT_EXCEEDED"
    retryable = True

    def __init__(self, message: str, seconds: int = 1) -> None:
        super().__init__(message)
        self.seconds = seconds


class Overloaded(AerostackError):
    """The server has no capacity for this right now; try again in a moment."""

    code = "overloaded"
    status = 503
    retryable = True


class Unavailable(AerostackError):
    """A part that is needed, such as the database, cannot be reached; try again in a moment."""

    code = "unavailable"
    status = 503
    retryable = True


class ServerClosing(Unavailable):
    """The server is shutting down."""

    def __init__(self) -> None:
        super().__init__("The server is closing; try again in a moment.")


class Internal(AerostackError):
    """The server failed; its log has the id that the message contains."""

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
        Conflict,
        Cancelled,
        OutOfStep,
        RateLimited,
        Overloaded,
        Unavailable,
        Internal,
    )
}
"""Every error class by its code, for a client that turns a code back into an exception."""
