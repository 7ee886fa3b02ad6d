"""Which files are refused as a database, and that nothing is left beside them."""

from pathlib import Path

import pytest

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.sqlite.connection import first_connection
from aerostack_realtime.database.sqlite.lock import ServerLock


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (":memory:", "name a file"),
        (".", "is a directory"),
        ("nowhere/shop.db", "create the directory"),
        ("notes.txt", "is not a SQLite database"),
    ],
)
def test_an_unusable_file_is_refused_with_a_next_step(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("to do: " * 1000)
    with pytest.raises(DatabaseUnusable, match=reason):
        first_connection(Path(name), busy_ms=0)


@pytest.mark.parametrize("name", [":memory:", ".", "nowhere/shop.db"])
def test_a_lock_without_a_database_file_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ServerLock(Path(name)).release()
    assert list(tmp_path.iterdir()) == []
