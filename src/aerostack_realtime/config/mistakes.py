"""All mistakes of a settings file at once, each with its place and the nearest name."""

import difflib
import tomllib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from aerostack_realtime.config import catalog

Path = tuple[str | int, ...]
"""Where something is written: `("channels", 0, "topic")`."""
_LONGEST: Final = 40


class SettingsError(Exception):
    """The settings cannot be used. Each of `mistakes` is a sentence that names the setting and what to write."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Mistake(Struct, frozen=True):
    """What is wrong with the setting at `path`, without a full stop."""

    path: Path
    text: str


def check(content: Mapping[str, Any], struct: type[Struct], at: Path = ()) -> list[Mistake]:
    """What keeps `content` from being a `struct`. Empty: `msgspec.convert` succeeds."""
    known = {field.name: field for field in fields(struct)}
    found: list[Mistake] = []
    plain: dict[str, Any] = {}
    for name, value in content.items():
        path = (*at, name)
        if name not in known:
            found.append(Mistake(path, _unknown(name, value, at, list(known))))
        elif (inner := catalog.struct_of(known[name].type)) is None:
            try:
                plain[name] = msgspec.convert(value, known[name].type)
            except msgspec.ValidationError:
                wanted = catalog.kind_of(known[name].type)
                found.append(Mistake(path, f"{name} is a {wanted}, not {_shown(value)}".replace("a one", "one")))
        elif catalog.is_list(known[name].type):
            found += _check_list(name, value, inner, path)
        elif isinstance(value, dict):
            found += check(value, inner, path)
        else:
            found.append(Mistake(path, f"{name} is a table: write [{name}] and its settings below"))
    required = [name for name, field in known.items() if field.required]
    missing = [name for name in required if name not in content]
    if missing:
        found.append(Mistake(at, f"{_title(at)} needs {' and '.join(missing)}"))
    elif plain.keys() >= set(required):
        found += _out_of_bounds(struct, plain, at)
    return found


def _check_list(name: str, value: Any, struct: type[Struct], path: Path) -> list[Mistake]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        return [Mistake(path, f"{name} is a list of tables: write [[{name}]] before each")]
    return [each for number, item in enumerate(value) for each in check(item, struct, (*path, number))]


def _out_of_bounds(struct: type[Struct], values: dict[str, Any], at: Path) -> list[Mistake]:
    """What the struct itself refuses: each field alone where the others have defaults, else all of them."""
    text = _refusal(struct, values)
    if text is None:
        return []
    if not any(field.required for field in fields(struct)) and _refusal(struct, {}) is None:
        alone = [(name, _refusal(struct, {name: value})) for name, value in values.items()]
        found = [Mistake((*at, name), said) for name, said in alone if said is not None]
        if found:
            return found
    return [Mistake(at, f"{_title(at)}: {text}" if at else text)]


def _refusal(struct: type[Struct], values: dict[str, Any]) -> str | None:
    try:
        struct(**values)
    except ValueError as error:
        return str(error)
    return None


def _unknown(name: str, value: Any, at: Path, known: list[str]) -> str:
    top_level = {each.name for each in catalog.settings() if each.section is None}
    if at and name in top_level:
        return f"{name} is not a setting of {_title(at)}; move it above the first [section]"
    nearest = difflib.get_close_matches(name, known, 1)
    titles = {each.name: each.title for each in catalog.sections()}
    if not at and isinstance(value, dict | list) and (not nearest or nearest[0] in titles):
        meant = (
            f"did you mean {titles[nearest[0]]}?" if nearest else f"the sections are {', '.join(titles.values())}"
        )
        return f"there is no section {name!r}; {meant}"
    owner = next((each.section for each in catalog.settings() if each.name == name and each.section), None)
    if not at and owner is not None:
        return f"{name} belongs under [{owner}]"
    place = f"{_title(at)} has" if at else "there is"
    if nearest:
        return f"{place} no setting {name!r}; did you mean {nearest[0]}?"
    others = f"it has {', '.join(known)}" if at else "`aerostack config` lists all settings"
    return f"{place} no setting {name!r}; {others}"


def _title(at: Path) -> str:
    """A section as it is written: `[limits]`, or `[[channels]] number 2`."""
    match at:
        case (str() as name, int() as number, *_):
            return f"[[{name}]] number {number + 1}"
        case (str() as name, *_):
            return f"[{name}]"
        case _:
            return "the file"


def _shown(value: Any) -> str:
    try:
        written = msgspec.json.encode(value).decode()
    except (TypeError, msgspec.MsgspecError):  # a date of TOML
        written = str(value)
    return written if len(written) <= _LONGEST else written[: _LONGEST - 1] + "…"


def lines(text: str) -> dict[Path, int]:
    """The line on which each setting of a valid file begins, from 1.

    The parser reads the file line by line: what a longer beginning adds was written on the lines that were added.
    """
    found: dict[Path, int] = {}
    rows = text.splitlines(keepends=True)
    begin = 0
    for end in range(1, len(rows) + 1):
        try:
            content = tomllib.loads("".join(rows[:end]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a list or a text over several lines
        for path in _paths(content):
            found.setdefault(path, begin + 1)
        begin = end
    return found


def _paths(content: Any, at: Path = ()) -> list[Path]:
    found: list[Path] = [at] if at else []
    items = content.items() if isinstance(content, dict) else enumerate(content) if _is_tables(content) else ()
    for name, value in items:
        found += _paths(value, (*at, name))
    return found


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)
