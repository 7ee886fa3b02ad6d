"""The one project that a server holds."""

from aerostack_realtime.protocol.errors import Forbidden


def require(named: str | None, project: str) -> None:
    """Raise Forbidden for a client that names another project. Without a name, or with an empty one, it means
    this server's own."""
    if named and named != project:
        raise Forbidden(f"This server holds no project {named[:64]!r}: check projectId.")
