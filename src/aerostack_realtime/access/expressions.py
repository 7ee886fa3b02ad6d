"""Expressions of rules: CEL, compiled once, by the runtime that the language's own authors maintain.

It checks names and types when it compiles, has no unbounded loops, and matches by RE2, so an expression always
ends: docs/decisions/004-rules-are-cel-in-its-authors-runtime.md has the figures.
"""

import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Final

import msgspec
from cel_expr_python import cel  # type: ignore[import-untyped]

MAX_SOURCE: Final = 2000
USER_ID: Final = "user.id"
USER_CLAIMS: Final = "user.claims"
_MESSAGE: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_TAKEN: Final = re.compile(r"variable '(\w+)' declared multiple times")
_CLAIMS: Final = re.compile(r"\buser\s*\.\s*claims\b(?:\s*\.\s*([A-Za-z_]\w*)\b(?!\s*\())?")
_ROW: Final = re.compile(r"\brow\s*\.\s*([A-Za-z_]\w*)")
_TOKEN: Final = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|&&|\|\||[?()\[\]{}]""")
"""A string, or a sign that decides where an operand of `&&` ends."""


class ExpressionError(ValueError):
    """An expression that cannot be compiled; the message has line and column."""


class Failed(Exception):
    """An expression that has no value for these variables. Its message is for the log only."""


class Expression:
    """A compiled expression over `user.id`, `user.claims` and `names`. Raises ExpressionError.

    With `row` it has a row as a map named `row`; with `boolean` its value must be true or false.
    """

    def __init__(
        self, source: str, names: Collection[str] = (), *, row: bool = False, boolean: bool = True
    ) -> None:
        if len(source) > MAX_SOURCE:
            raise ExpressionError(f"an expression has at most {MAX_SOURCE} characters; this one has {len(source)}")
        self.source = source
        try:
            self._program = _environment(tuple(sorted(names)), row).compile(source)
        except RuntimeError as refused:
            raise ExpressionError(_where(str(refused))) from None
        kind = self._program.return_type()
        if boolean and kind not in (cel.Type.BOOL, cel.Type.DYN):
            raise ExpressionError(f"line 1, column 1: a rule is true or false; this one is a {kind.name()}")
        opaque = "//" in source or "`" in source  # comments and quoted names, which the patterns cannot read
        self._uses_id = opaque or re.search(r"\buser\s*\.\s*id\b", source) is not None
        self._claims = frozenset([""] if opaque else _CLAIMS.findall(source))

    def __call__(self, bindings: Mapping[str, Any]) -> Any:
        """Its value. Raises Failed when there is none: a missing claim, a wrong type, an exhausted budget."""
        try:
            value = self._program.eval(data=bindings)
            kind = value.type()
            found = value.plain_value()
        except (RuntimeError, ValueError, TypeError, OverflowError) as failure:
            raise Failed(str(failure)[:300]) from None
        if kind in (cel.Type.ERROR, cel.Type.UNKNOWN):
            raise Failed(str(found)[:300])
        return found

    def holds(self, bindings: Mapping[str, Any]) -> bool:
        """Whether it is true. Raises Failed when it is neither true nor false."""
        value = self(bindings)
        if value is True or value is False:
            return value
        raise Failed(f"it is neither true nor false but a {type(value).__name__}")

    def group(self, user: Mapping[str, Any]) -> bytes:
        """The part of a user that the expression can see: users with an equal part get equal answers."""
        claims = user[USER_CLAIMS]
        seen: Any = claims if "" in self._claims else {name: claims.get(name) for name in self._claims}
        missing = [name for name in seen if name not in claims]
        id = user.get(USER_ID) if self._uses_id else None
        return msgspec.json.encode([id, seen, missing], order="deterministic")


@cache
def _environment(names: tuple[str, ...], row: bool) -> Any:
    text, anything = cel.Type.STRING, cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    variables = {USER_ID: text, USER_CLAIMS: anything, **dict.fromkeys(names, text)}
    if row:
        variables["row"] = anything
    return cel.NewEnv(variables=variables)


def _where(message: str) -> str:
    found = _MESSAGE.search(message)
    if taken := _TAKEN.search(message):
        return f"line 1, column 1: the name {taken[1]!r} is a word of the language; choose another"
    if found is None or int(found[1]) < 1:
        return "line 1, column 1: the expression is nested too deeply"
    return f"line {found[1]}, column {found[2]}: {found[3]}"


def false_operand(
    source: str, names: Collection[str], known: Mapping[str, Any], *, row: bool = False
) -> tuple[str, str | None]:
    """The first operand of the outermost `&&` that is not true, and why it has no value if it has none. The whole
    expression where its operands cannot stand alone."""
    operand = source
    for operand in conjuncts(source):
        try:
            if not Expression(operand, names, row=row).holds(known):
                break
        except Failed as failed:
            return operand, str(failed)
        except ExpressionError:
            return source, None
    return operand, None


def used(source: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """The values of what an expression names: `user.id`, claims, variables of the pattern, columns of `row`.

    None stands for what is missing.
    """
    found: dict[str, Any] = {}
    if USER_ID in known and re.search(r"\buser\s*\.\s*id\b", source):
        found[USER_ID] = known[USER_ID]
    for name in _CLAIMS.findall(source):
        if name:
            found[f"{USER_CLAIMS}.{name}"] = known.get(USER_CLAIMS, {}).get(name)
    row = known.get("row")
    if isinstance(row, Mapping):
        found |= {f"row.{name}": row.get(name) for name in _ROW.findall(source)}
    for name, value in known.items():
        if name.isidentifier() and name != "row" and re.search(rf"(?<![.\w]){name}\b", source):
            found[name] = value
    return found


def conjuncts(source: str) -> list[str]:
    """The operands of the outermost `&&` of an expression; the expression itself where there is none.

    It stays whole with a comment, with a triple-quoted string, and with `||` or `?:` outside of brackets.
    """
    if "//" in source or '"""' in source or "'''" in source:
        return [source]
    found, depth, begin = [], 0, 0
    for token in _TOKEN.finditer(source):
        text = token[0]
        if text in "([{":
            depth += 1
        elif text in ")]}":
            depth -= 1
        elif depth == 0 and text in ("||", "?"):
            return [source]
        elif depth == 0 and text == "&&":
            found.append(source[begin : token.start()].strip())
            begin = token.end()
    return [*found, source[begin:].strip()]
