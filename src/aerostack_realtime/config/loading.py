"""Settings from a file and from the environment, which wins."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from aerostack_realtime.config import catalog, mistakes
from aerostack_realtime.config.catalog import Setting
from aerostack_realtime.config.mistakes import SettingsError
from aerostack_realtime.config.settings import Settings

FILE: Final = Path("aerostack.toml")
"""Read by every command from the directory it is started in, unless --config names another."""
_YES: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class Loaded(Struct, frozen=True):
    """Settings, and the places they come from."""

    settings: Settings
    file: Path | None
    lines: dict[mistakes.Path, int]
    variables: dict[mistakes.Path, str]

    def place(self, path: mistakes.Path) -> str | None:
        """Where a setting was written, or the section that contains it: a variable, or a line of the file; None
        for a default."""
        if path in self.variables:
            return self.variables[path]
        line = self.line(path)
        return f"{self.file}, line {line}" if line else None

    def line(self, path: mistakes.Path) -> int:
        """The line of a setting, or of the section that contains it; 0 when it is not in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def find(path: Path | None) -> Path | None:
    """The file to read: the one that is named, else `./aerostack.toml` if it exists."""
    return path if path is not None else FILE if FILE.is_file() else None


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a file, overridden by `AEROSTACK_*`. Raises SettingsError with all mistakes."""
    return read(path, environment).settings


def read(path: Path | None, environment: Mapping[str, str] = os.environ) -> Loaded:
    """As `load`, with the place of each setting."""
    text = _text(path)
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as malformed:
        raise SettingsError(f"{path} is not valid TOML: {malformed}.") from None
    lines = mistakes.lines(text)
    values, variables, wrong = _from_environment(environment)
    for (*section, name), value in values.items():
        table = content.setdefault(section[0], {}) if section else content
        if isinstance(table, dict):
            table[name] = value
    loaded = Loaded(Settings(), path, lines, variables)
    found = sorted(mistakes.check(content, Settings), key=lambda each: loaded.line(each.path))
    wrong += [_sentence(loaded, each) for each in found]
    if wrong:
        raise SettingsError(*wrong)
    return Loaded(msgspec.convert(content, Settings), path, lines, variables)


def _text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text()
    except FileNotFoundError:
        raise SettingsError(
            f"There is no settings file {path}: name another one with --config, or write it with "
            f"`aerostack init {path}`."
        ) from None
    except OSError as missing:
        raise SettingsError(f"Cannot read the settings in {path}: {missing.strerror}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not valid TOML: it is not UTF-8.") from None


def _sentence(loaded: Loaded, mistake: mistakes.Mistake) -> str:
    place = loaded.place(mistake.path)
    end = "" if mistake.text.endswith("?") else "."
    return f"{place}: {mistake.text}{end}" if place else f"{mistake.text}{end}"


Values = dict[tuple[str, ...], Any]


def _from_environment(
    environment: Mapping[str, str],
) -> tuple[Values, dict[mistakes.Path, str], list[str]]:
    """The values of variables that are set, the variable of each, and what is wrong with them."""
    values: Values = {}
    variables: dict[mistakes.Path, str] = {}
    wrong: list[str] = []
    for setting in catalog.settings():
        written = environment.get(setting.variable) if setting.variable else None
        if not written or setting.variable is None:
            continue
        path = (setting.name,) if setting.section is None else (setting.section, setting.name)
        try:
            values[path] = _value(written, setting)
        except (ValueError, msgspec.ValidationError):
            wrong.append(f"{setting.variable} is a {setting.kind}, not {written!r}.")
        else:
            variables[path] = setting.variable
    return values, variables, wrong


def _value(written: str, setting: Setting) -> Any:
    if catalog.is_list(setting.type):
        return [each.strip() for each in written.split(",") if each.strip()]
    if setting.type is bool:
        if written.lower() not in _YES:
            raise ValueError(written)
        return _YES[written.lower()]
    return msgspec.convert(written, setting.type, strict=False)
