"""Every setting as data: where it is written, its type, default and description, and its environment variable."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from aerostack_realtime.config.settings import Settings

PREFIX: Final = "AEROSTACK_"
_WORDS: Final = {int: "whole number", float: "number", str: "text", bool: "true or false"}


class Setting(Struct, frozen=True):
    """One setting, a field of `struct`. `section` is None for those at the top of the file; `variable` is None
    where the environment cannot set it. `default` is NODEFAULT for a required one."""

    struct: type[Struct]
    section: str | None
    name: str
    type: Any
    kind: str
    default: Any
    variable: str | None

    @property
    def description(self) -> str:
        """Read from the source of the struct, which takes longer than everything else here."""
        return _descriptions(self.struct).get(self.name, "")


class Section(Struct, frozen=True):
    """A table of the file: `[limits]`, or `[[channels]]` when it is `repeated`."""

    name: str
    struct: type[Struct]
    repeated: bool
    description: str

    @property
    def title(self) -> str:
        return f"[[{self.name}]]" if self.repeated else f"[{self.name}]"


def sections() -> list[Section]:
    """The tables of the file, in the order of the structs."""
    found = []
    for field in fields(Settings):
        struct = struct_of(field.type)
        if struct is not None:
            about = inspect.cleandoc(struct.__doc__ or "")
            found.append(Section(field.name, struct, is_list(field.type), about))
    return found


def settings() -> list[Setting]:
    """The settings at the top of the file, then those of each section."""
    top = [each for each in _settings(Settings, None, True) if struct_of(each.type) is None]
    for section in sections():
        top += _settings(section.struct, section.name, not section.repeated)
    return top


def struct_of(type_: Any) -> type[Struct] | None:
    """The struct of a section's type; None for a plain setting."""
    for each in (type_, *get_args(type_)):
        if isinstance(each, type) and issubclass(each, Struct):
            return each
    return None


def is_list(type_: Any) -> bool:
    return get_origin(type_) is tuple


def kind_of(type_: Any) -> str:
    """The type in words."""
    if isinstance(type_, UnionType) or (get_origin(type_) is not None and NoneType in get_args(type_)):
        return " or ".join(kind_of(each) for each in get_args(type_) if each is not NoneType)
    if get_origin(type_) is Literal:
        return "one of " + ", ".join(f'"{each}"' for each in get_args(type_))
    if is_list(type_):
        return "list of texts"
    return _WORDS.get(type_, "table")


def _settings(struct: type[Struct], section: str | None, environment: bool) -> Iterator[Setting]:
    for field in fields(struct):
        default = field.default
        if default is NODEFAULT and field.default_factory is not NODEFAULT:
            default = field.default_factory()
        yield Setting(
            struct=struct,
            section=section,
            name=field.name,
            type=field.type,
            kind=kind_of(field.type),
            default=default,
            variable=_variable(section, field.name, field.type) if environment else None,
        )


def _variable(section: str | None, name: str, type_: Any) -> str:
    """A list is set by a variable in the singular, whose values are separated by commas."""
    if is_list(type_):
        name = name.removesuffix("ies") + "y" if name.endswith("ies") else name.removesuffix("s")
    return PREFIX + "_".join(filter(None, (section, name))).upper()


@cache
def _descriptions(struct: type[Struct]) -> dict[str, str]:
    """The docstrings below the fields."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    assert isinstance(definition, ast.ClassDef), "it is the source of a class"
    found = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as written)):
                found[name] = " ".join(written.split())
            case _:
                pass  # not a field with a docstring
    return found


def toml(value: Any) -> str:
    """A value as it is written in the file."""
    if isinstance(value, tuple):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    return msgspec.json.encode(value).decode()
