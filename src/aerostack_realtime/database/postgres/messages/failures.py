"""What a failure of PostgreSQL means for the message that was to be stored."""

import psycopg

from aerostack_realtime.database.message_store import OutcomeUnknown
from aerostack_realtime.database.postgres.connection.errors import is_lost, translate
from aerostack_realtime.protocol.errors import Unavailable


def transient(error: Exception) -> bool:
    """Whether a retry may succeed, at once or when the server is reachable again."""
    if isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("40"):
        return True
    return isinstance(error, Unavailable) or is_lost(error)


def unavailable(error: Exception) -> Unavailable:
    """The error that answers a statement that failed."""
    if isinstance(error, TimeoutError):
        return unknown()
    meant = translate(error)
    if isinstance(meant, Unavailable):
        return meant
    return Unavailable(f"The message store fails ({meant}). Fix that, then try again.")


def unknown() -> OutcomeUnknown:
    """The error for a message that was sent to the database without an answer."""
    return OutcomeUnknown("The database does not reply: the message may be there or not. Try again.")


def unsent(failure: Unavailable) -> Unavailable:
    """The same failure for a message that was never sent to the database."""
    if isinstance(failure, OutcomeUnknown):
        return Unavailable("The database does not reply, so the message was not stored. Try again.")
    return failure
