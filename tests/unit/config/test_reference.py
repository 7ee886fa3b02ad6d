"""The reference and the file of `aerostack init` follow the structs."""

import tomllib
from pathlib import Path

from aerostack_realtime import config
from aerostack_realtime.config import Settings, catalog, reference, template

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"


def test_every_setting_has_a_description() -> None:
    assert [each.name for each in catalog.settings() if not each.description] == []


def test_the_reference_is_up_to_date() -> None:
    assert REFERENCE.read_text() == reference.markdown(), "run `make reference` and commit the result"


def test_variables_are_unique() -> None:
    variables = [each.variable for each in catalog.settings() if each.variable]
    assert len(variables) == len(set(variables))


def test_the_file_of_init_is_a_server_that_starts(tmp_path: Path) -> None:
    made = Settings(
        database="shop.db", secret_keys=("k" * 24,), token_secret="t" * 32, origins=("https://a.example",)
    )
    path = tmp_path / "aerostack.toml"
    path.write_text(template.written(made))
    settings = config.load(path, {})
    assert config.problems(settings) == []
    assert (settings.database, settings.origins) == ("shop.db", ("https://a.example",))


def test_the_file_of_init_shows_the_defaults_as_comments() -> None:
    rows = template.written(Settings()).splitlines()
    for each in catalog.settings():
        if each.section in (None, "limits", "postgres") and each.default not in (None, ()):
            if each.name in ("open_access", "loopback_origins"):
                continue
            assert f"# {each.name} = {catalog.toml(each.default)}" in rows
            written = tomllib.loads(f"{each.name} = {catalog.toml(each.default)}")
            assert written == {each.name: each.default}
