"""Operators: who may use the console, and whether they may act or only look."""

from typing import Literal

from aerostack_realtime.access.expressions import Expression, ExpressionError, Failed
from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.rules import bindings

OperatorRights = Literal["full", "read"]


class Operators:
    """Decides by a credential's identity. A secret key has full rights; a user has those of the first expression
    (CEL, over `user.id` and `user.claims`) that holds. Raises ValueError for one that cannot be compiled.
    """

    def __init__(self, full: str | None = None, read: str | None = None) -> None:
        self._full = _compiled("operators", full)
        self._read = _compiled("viewers", read)

    def rights(self, identity: Identity) -> OperatorRights | None:
        """The rights of an identity; None for one that may not use the console."""
        if identity.kind == "server":
            return "full"
        if identity.kind != "user":
            return None
        if _holds(self._full, identity):
            return "full"
        return "read" if _holds(self._read, identity) else None


def _compiled(name: str, source: str | None) -> Expression | None:
    try:
        return None if source is None else Expression(source)
    except ExpressionError as error:
        raise ValueError(f"{name} of [console]: {error}") from None


def _holds(expression: Expression | None, identity: Identity) -> bool:
    try:
        return expression is not None and expression.holds(bindings(identity))
    except Failed:
        return False
