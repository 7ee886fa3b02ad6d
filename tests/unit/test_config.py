"""Settings: what a file and the environment may say, and what is said about mistakes."""

from pathlib import Path

import pytest

from aerostack_realtime import config
from aerostack_realtime.config import Settings, SettingsError

FIT = {"AEROSTACK_SECRET_KEY": "k" * 24, "AEROSTACK_TOKEN_SECRET": "t" * 32}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "aerostack.toml"
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_hold() -> None:
    assert config.load(None, {}) == Settings()


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'port = 1\nhost = "0.0.0.0"\n[limits]\nheartbeat_seconds = 5\n')
    settings = config.load(path, {"AEROSTACK_PORT": "2", "AEROSTACK_SECRET_KEY": "a, b"})
    assert (settings.port, settings.host, settings.secret_keys) == (2, "0.0.0.0", ("a", "b"))
    assert settings.limits.heartbeat_seconds == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 'x'", "port"),
        ("prot = 1", "prot"),
        ("= 1", "not TOML"),
        ("[limits]\nframe_size = 1", "frame_size"),
        ('[[retention]]\npattern = "chat/*"\nmax_age = "30 days"', "max_age"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        config.load(written(tmp_path, text), {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        config.load(tmp_path / "nowhere.toml", {})


def test_serve_does_not_start_without_keys_and_says_what_to_add() -> None:
    assert config.problems(config.load(None, FIT)) == []
    said = "\n".join(config.problems(Settings()))
    assert "secret_keys" in said
    assert "token_secret" in said


def test_serve_refuses_the_public_secrets_of_dev() -> None:
    said = "\n".join(config.problems(config.development(Settings(), {})))
    assert "secret key" in said
    assert "token_secret" in said
