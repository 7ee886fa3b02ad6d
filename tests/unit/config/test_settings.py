"""Settings: what a file and the environment may say, and what is said about mistakes."""

from pathlib import Path

import pytest

from aerostack_realtime import config
from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.keys import hashed
from aerostack_realtime.config import Settings, SettingsError
from aerostack_realtime.config.console_settings import ConsoleSettings

FIT = {"AEROSTACK_SECRET_KEY": "k" * 24, "AEROSTACK_TOKEN_SECRET": "t" * 32}
RULE = '[[channels]]\ntopic = "chat/{room}"\nsubscribe = "authenticated"\n'


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
        ("= 1", "not valid TOML"),
        ("[limits]\nframe_size = 1", "frame_size"),
        ('[[retention]]\npattern = "chat/*"\nmax_age = "30 days"', "max_age"),
        ("[postgres]\npool = 0", "pool is a number from 1 to 1_000"),
        ("[postgres]\nstatement_seconds = inf", "statement_seconds"),
        ("[postgres]\nsilence_seconds = -5", "silence_seconds"),
        ("[postgres]\nsilence_seconds = nan", "silence_seconds"),
        ("[postgres]\nresume_seconds = -1", "resume_seconds"),
        ("[postgres]\nresume_bytes = -1", "resume_bytes"),
        ("[postgres]\nlog_bytes = -1", "log_bytes"),
        ('[postgres]\nslot = "Aero-Stack"', "slot is 1 to 63 of a-z"),
        ('[postgres]\nslot = ""', "slot"),
        (f'[postgres]\nslot = "{"a" * 64}"', "slot"),
        ('[postgres]\npublication = ""', "publication is a name of 1 to 63 bytes"),
        (f'[postgres]\npublication = "{"é" * 32}"', "publication"),
        ('[postgres]\nquery_role = ""', "query_role"),
        ('[postgres]\nquery_role = "a\\u0000b"', "query_role is a name"),
        ("[postgres]\nresume_bytes = nan", "resume_bytes"),
        ("[postgres]\nresume_seconds = inf", "resume_seconds is a number from 0 to 31_536_000"),
        ("[limits]\nclose_seconds = nan", "close_seconds"),
        ("[limits]\nhandshake_seconds = -1", "handshake_seconds"),
        ("[limits]\nmessages_per_second = inf", "messages_per_second"),
        ("[limits]\nframe_bytes = -1", "frame_bytes"),
        ('[[retention]]\npattern = "chat/*"\nmax_count = -1', "max_count"),
        ("port = 70000", "port"),
        ('[[logs]]\npattern = "chat/*"\nmax_age = "an hour"', "max_age"),
        ('[[logs]]\npattern = "chat/*"\nmax_count = -1', "max_count"),
        ("[[logs]]\nmax_count = 1", "pattern"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        config.load(written(tmp_path, text), {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        config.load(tmp_path / "nowhere.toml", {})


def said(tmp_path: Path, text: str, environment: dict[str, str] = FIT) -> str:
    return "\n".join(config.problems(config.load(written(tmp_path, text), environment)))


def test_serve_does_not_start_without_keys_and_rules_and_says_what_to_add(tmp_path: Path) -> None:
    assert said(tmp_path, RULE) == ""
    nothing = "\n".join(config.problems(Settings()))
    for wanted in ("secret_keys", "token_secret", "[[channels]]", "[[tables]]"):
        assert wanted in nothing
    assert "[[channels]]" in said(tmp_path, "")
    assert "secret_keys" in said(tmp_path, RULE, {})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('[[channels]]\ntopic = "chat/{room}"\nsubscribe = "user.id == rom"', "line 1, column 12"),
        (RULE + '[[tables]]\nname = "*"', "name each one"),
        ("open_access = true\n" + RULE, "open_access"),
        ('secret_keys = ["sha256:abc"]\n' + RULE, "64 hexadecimal"),
        (f'publishable_keys = ["{"k" * 24}"]\n' + RULE, "both secret and publishable"),
        ('[[token_keys]]\nsecret = "short"\n' + RULE, "32 characters"),
        ('[[token_keys]]\npublic_key = "/nowhere.pem"\nalgorithm = "RS256"\n' + RULE, "nowhere.pem"),
    ],
)
def test_serve_does_not_start_with_what_would_let_the_wrong_ones_in(
    tmp_path: Path, text: str, wanted: str
) -> None:
    environment = {**FIT}
    if text.startswith("secret_keys"):
        del environment["AEROSTACK_SECRET_KEY"]
    assert wanted in said(tmp_path, text, environment)


def test_hashed_keys_are_fit() -> None:
    settings = config.load(None, {**FIT, "AEROSTACK_SECRET_KEY": hashed("k" * 24)})
    assert "secret key" not in "\n".join(config.problems(settings))


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("", "one of secret, public_key and jwks"),
        ('secret = "x"\njwks = "https://x/"', "one of secret"),
        ('secret = "x"\nalgorithm = "RS256"', "HS256"),
        ('jwks = "https://x/"', "algorithm"),
        ('public_key = "x"\nalgorithm = "HS256"', "RS256"),
        ('public_key = "x"\nalgorithm = "none"', "none"),
        ('jwks = "http://idp.example.com/"\nalgorithm = "RS256"', "https"),
    ],
)
def test_a_token_key_is_of_one_kind_and_one_algorithm(tmp_path: Path, key: str, wanted: str) -> None:
    with pytest.raises(SettingsError, match=wanted):
        config.load(written(tmp_path, f"[[token_keys]]\n{key}"), {})


def test_dev_is_open_and_needs_no_rules() -> None:
    opened = config.rules(config.development(Settings()))
    for topic in ("chat/a/b/default", "table/anything/default"):
        assert opened.decide(Identity("anonymous"), topic, "subscribe").allowed


def test_serve_refuses_the_public_secrets_of_dev() -> None:
    said = "\n".join(config.problems(config.development(Settings())))
    assert "secret key" in said
    assert "token_secret" in said


def test_the_project_of_the_console_is_reserved() -> None:
    with pytest.raises(ValueError, match="reserved for the console"):
        Settings(project="_console")


@pytest.mark.parametrize("project", ["", "a/b", "a b", "ä", "a" * 65])
def test_a_project_is_one_segment_of_a_topic(project: str) -> None:
    with pytest.raises(ValueError, match="project is 1 to 64 of"):
        Settings(project=project)


@pytest.mark.parametrize("metrics_host", ["127.0.0.1", "0.0.0.0", "::"])
def test_the_metrics_have_a_port_of_their_own(metrics_host: str) -> None:
    settings = Settings(port=8787, metrics_port=8787, metrics_host=metrics_host)
    with pytest.raises(SettingsError, match="metrics_port 8787"):
        config.check_ports(settings)
    assert any("metrics_port 8787" in each for each in config.problems(settings))
    for free in (None, 0, 8788):
        config.check_ports(Settings(port=8787, metrics_port=free, metrics_host=metrics_host))


def test_the_metrics_may_use_the_port_of_another_address() -> None:
    config.check_ports(Settings(host="10.0.0.1", port=8787, metrics_port=8787, metrics_host="127.0.0.1"))
    config.check_ports(Settings(port=0, metrics_port=0))


def test_a_mistake_in_the_operators_of_the_console_is_named() -> None:
    with pytest.raises(ValueError, match=r"operators of \[console\]: line 1"):
        ConsoleSettings(operators="user.claims.role ==")
    with pytest.raises(ValueError, match="session_hours"):
        ConsoleSettings(session_hours=0)
