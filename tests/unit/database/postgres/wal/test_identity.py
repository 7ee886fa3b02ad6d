"""By what a server shows that it was restored from a backup."""

import pytest
from msgspec.structs import replace

from aerostack_realtime.database.postgres.wal.stream import CHECKPOINT_BYTES, SystemIdentity

BEFORE = SystemIdentity("1", timeline=1, wal_end=5_000, started="10:00", checkpoint=1_000)
AFTER = replace(BEFORE, wal_end=9_000, checkpoint=4_000)
POSITION = 5_000


def test_a_server_that_was_not_started_again_lacks_nothing() -> None:
    assert not AFTER.lacks(POSITION, BEFORE, {})


@pytest.mark.parametrize("checkpoint", [POSITION - CHECKPOINT_BYTES, POSITION, 8_000])
def test_a_restart_from_the_end_of_the_log_lacks_nothing(checkpoint: int) -> None:
    """The record of a checkpoint may be the last that was read before the restart."""
    assert not replace(AFTER, started="11:00", checkpoint=checkpoint).lacks(POSITION, BEFORE, {})


def test_a_restart_from_an_earlier_end_of_the_log_shows_a_backup() -> None:
    after = replace(AFTER, started="11:00", checkpoint=POSITION - CHECKPOINT_BYTES - 1)
    assert after.lacks(POSITION, BEFORE, {})


def test_a_server_that_does_not_say_when_it_started_lacks_nothing() -> None:
    assert not replace(AFTER, started=None, checkpoint=None).lacks(POSITION, BEFORE, {})


def test_a_shorter_log_or_another_system_shows_a_backup() -> None:
    assert replace(AFTER, wal_end=POSITION - 1).lacks(POSITION, BEFORE, {})
    assert replace(AFTER, system="2").lacks(POSITION, BEFORE, {})


@pytest.mark.parametrize(("switch", "lacks"), [(POSITION, False), (POSITION - 1, True)])
def test_a_promoted_server_lacks_what_came_after_the_switch(switch: int, lacks: bool) -> None:
    """Its last checkpoint may be older than the switch."""
    after = replace(AFTER, timeline=2, started="11:00")
    assert after.lacks(POSITION, BEFORE, {1: switch}) is lacks
