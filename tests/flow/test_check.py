"""`aerostack check --as`: which rule decides about an action, and why."""

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aerostack_realtime.cli.main import app

SETTINGS = """\
[[channels]]
topic = "notifications/{user_id}"
subscribe = "user.id == user_id && user.claims.plan == 'pro'"

[[channels]]
topic = "rooms/{room}"
members = { table = "members", room_id = "{room}", user_id = "{user.id}" }

[[tables]]
name = "orders"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("aerostack.toml").write_text(SETTINGS)
    with sqlite3.connect("aerostack.db") as database:
        database.executescript(
            "CREATE TABLE members(room_id INTEGER, user_id TEXT); INSERT INTO members VALUES (1, 'alice')"
        )
    database.close()


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments], env={"COLUMNS": "200"})


def test_the_deciding_rule_and_its_reason_are_reported() -> None:
    denied = check("--as", "alice", "--claim", "plan=free", "subscribe", "notifications/alice")
    assert denied.exit_code == 1
    assert denied.stdout.splitlines() == [
        "alice may not subscribe notifications/alice",
        "  rule    [[channels]] number 1 (notifications/{user_id}), aerostack.toml, line 1",
        "  reason  subscribe = \"user.id == user_id && user.claims.plan == 'pro'\": "
        "user.claims.plan == 'pro' is not true",
        "  where   user_id = 'alice'",
    ]
    allowed = check("--as", "alice", "--claim", "plan=pro", "subscribe", "notifications/alice")
    assert (allowed.exit_code, "alice may subscribe" in allowed.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (
            ("--as", "alice", "publish", "rooms/1"),
            0,
            "members contains a row with room_id = '1', user_id = 'alice'",
        ),
        (("--as", "bob", "publish", "rooms/1"), 1, "members does not contain a row"),
        (("publish", "rooms/1"), 1, "a value that `members` needs is missing"),
        (("--as", "alice", "subscribe", "nowhere/1"), 1, "no rule matches"),
        (("--as", "alice", "subscribe", "orders"), 0, "subscribe = 'authenticated'"),
        (("--as", "alice", "publish", "orders"), 1, "nobody publishes on a table"),
        (("subscribe", "orders"), 1, "subscribe = 'authenticated' is not fulfilled"),
    ],
)
def test_each_kind_of_rule_is_explained(arguments: tuple[str, ...], code: int, reason: str) -> None:
    ran = check(*arguments)
    assert (ran.exit_code, reason in ran.stdout) == (code, True), ran.output


@pytest.mark.parametrize(
    "arguments",
    [("--as", "alice"), ("dance", "chat/1"), ("subscribe",), ("--as", "alice", "subscribe", "a//b")],
)
def test_a_question_that_makes_no_sense_ends_with_one_sentence(arguments: tuple[str, ...]) -> None:
    ran = check(*arguments)
    assert (ran.exit_code, "error: " in ran.stderr) == (2, True)
