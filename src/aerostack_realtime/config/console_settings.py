"""The settings of the operators' console."""

from msgspec import Struct

from aerostack_realtime.access.operators import Operators


class ConsoleSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The console at `/console`, for operators. A secret key signs in with full rights; a user's token does if one
    of these expressions is true for it."""

    enabled: bool = False
    """Whether this server has a console. `aerostack dev` always has one."""
    operators: str | None = None
    """Which users have full rights: an expression such as `user.claims.role == 'admin'`."""
    viewers: str | None = None
    """Which users may look at everything and change nothing: an expression as above."""
    session_hours: float = 12
    """Hours after which an operator signs in again, or earlier, when the token expires."""

    def __post_init__(self) -> None:
        Operators(self.operators, self.viewers)
        if not 0 < self.session_hours <= 24 * 30:
            raise ValueError("session_hours is more than 0 and at most 720")
