"""Repeats of a publish are found for at least two minutes, and the memory stays bounded."""

from aerostack_realtime.channels.custom.dedup import WINDOW_US, Dedup, Key, Receipt

KEY: Key = ("chat/a/P", "ann", "1")


def test_a_receipt_is_found_for_the_window_and_gone_after_two() -> None:
    dedup = Dedup()
    receipt = Receipt("e.5", 5)
    dedup.remember(KEY, receipt, now=1)
    dedup.remember(("other", "", "1"), receipt, now=WINDOW_US)
    assert dedup.find(KEY) == receipt
    for turn in (2, 4, 6):
        dedup.remember(("other", "", str(turn)), receipt, now=turn * WINDOW_US)
    assert dedup.find(KEY) is None


def test_the_same_id_of_another_user_or_topic_is_another_publish() -> None:
    dedup = Dedup()
    dedup.remember(KEY, Receipt("e.5", 5), now=1)
    assert dedup.find(("chat/a/P", "bob", "1")) is None
    assert dedup.find(("chat/b/P", "ann", "1")) is None
