"""Mistakes in a settings file: all at once, each with its line and the nearest name."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import fields

from aerostack_realtime.config import Settings, SettingsError, catalog, load, read
from aerostack_realtime.config.mistakes import check, lines

WRONG = """\
datbase = "x.db"
port = "x"
origins = [
  "https://a.example",
]
anonymous = 1
[limts]
frame_bytes = 1
[limits]
frame_size = 3
headers = -1
[[channels]]
topic = "a"
[[channels]]
topic = "b"
project = "x"
[[retention]]
max_age = "1d"
"""


def refused(path: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(path, environment or {})
    return [each.removeprefix(f"{path}, ") for each in raised.value.mistakes]


def test_all_mistakes_are_reported_with_line_and_nearest_name(tmp_path: Path) -> None:
    assert refused(tmp_path / "aerostack.toml", WRONG) == [
        "line 1: there is no setting 'datbase'; did you mean database?",
        'line 2: port is a whole number, not "x".',
        "line 6: anonymous is a true or false, not 1.",
        "line 7: there is no section 'limts'; did you mean [limits]?",
        "line 10: [limits] has no setting 'frame_size'; did you mean frame_bytes?",
        "line 11: headers is a number from 0 to 1_125_899_906_842_624.",
        "line 16: project is not a setting of [[channels]] number 2; move it above the first [section].",
        "line 17: [[retention]] number 1 needs pattern.",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("frame_bytes = 1", "line 1: frame_bytes belongs under [limits]."),
        ("limits = 1", "line 1: limits is a table: write [limits] and its settings below."),
        ("channels = 1", "line 1: channels is a list of tables: write [[channels]] before each."),
        ("zzz = 1", "line 1: there is no setting 'zzz'; `aerostack config` lists all settings."),
        ("[[channels]]\ntopic = 5", "line 2: topic is a text, not 5."),
        ("port = 70000", "line 1: port is a number from 0 (a free one) to 65535."),
        ("port = 2026-11-28", 'line 1: port is a whole number, not "2026-11-28".'),
        (f'port = "{"x" * 99}"', f'line 1: port is a whole number, not "{"x" * 38}….'),
    ],
)
def test_a_mistake_says_what_to_write(tmp_path: Path, text: str, sentence: str) -> None:
    assert refused(tmp_path / "aerostack.toml", text) == [sentence]


VALUES: list[Any] = [-1, float("nan"), "", [5], {"a": 1}]


def test_no_value_of_any_setting_makes_the_check_itself_fail() -> None:
    for section in fields(Settings):
        inner = catalog.struct_of(section.type)
        contents = [{section.name: value} for value in VALUES]
        for field in fields(inner) if inner is not None else ():
            tables: list[dict[str, Any]] = [{field.name: value} for value in VALUES]
            tables += [{**table, "topic": "a/{b}"} for table in tables]
            is_list = catalog.is_list(section.type)
            contents += [{section.name: [table] if is_list else table} for table in tables]
        for content in contents:
            if not check(content, Settings):
                msgspec.convert(content, Settings)


def test_mistakes_in_variables_name_the_variable(tmp_path: Path) -> None:
    environment = {"AEROSTACK_PORT": "many", "AEROSTACK_ANONYMOUS": "perhaps", "AEROSTACK_LIMITS_HEADERS": "-1"}
    assert refused(tmp_path / "aerostack.toml", "prot = 1", environment) == [
        "AEROSTACK_PORT is a whole number, not 'many'.",
        "AEROSTACK_ANONYMOUS is a true or false, not 'perhaps'.",
        "AEROSTACK_LIMITS_HEADERS: headers is a number from 0 to 1_125_899_906_842_624.",
        "line 1: there is no setting 'prot'; did you mean port?",
    ]


def test_every_setting_can_come_from_a_variable() -> None:
    environment = {
        "AEROSTACK_ORIGIN": "https://a.example, https://b.example",
        "AEROSTACK_TRUSTED_PROXY": "10.0.0.0/8",
        "AEROSTACK_LIMITS_FRAME_BYTES": "1024",
        "AEROSTACK_POSTGRES_STATEMENT_SECONDS": "2.5",
        "AEROSTACK_QUERY_CREDENTIALS": "no",
        "AEROSTACK_POSTGRES_BIN": "/not/a/setting",
    }
    loaded = read(None, environment)
    settings = loaded.settings
    assert settings.origins == ("https://a.example", "https://b.example")
    assert settings.trusted_proxies == ("10.0.0.0/8",)
    assert (settings.limits.frame_bytes, settings.postgres.statement_seconds) == (1024, 2.5)
    assert not settings.query_credentials
    assert loaded.place(("limits", "frame_bytes")) == "AEROSTACK_LIMITS_FRAME_BYTES"
    assert loaded.place(("host",)) is None


def test_lines_of_values_that_span_several_lines() -> None:
    found = lines(
        '# a comment\n\norigins = [\n  "a",\n]\n\n[limits]\nheaders = 1\n[[logs]]\npattern = """\na"""\n'
    )
    assert found == {
        ("origins",): 3,
        ("limits",): 7,
        ("limits", "headers"): 8,
        ("logs",): 9,
        ("logs", 0): 9,
        ("logs", 0, "pattern"): 10,
    }
