"""Repeats of a publish are found until the floor passes them, and the memory stays bounded."""

from aerostack_realtime.channels.custom.receipts import Key, Receipt, Receipts

KEY: Key = ("chat/a/P", "ann", "1")


def test_a_receipt_is_found_until_the_floor_passes_it() -> None:
    receipts = Receipts()
    receipts.remember(KEY, Receipt(5, 0, 5))
    receipts.forget_below(5)
    assert receipts.find(KEY) == Receipt(5, 0, 5)
    receipts.forget_below(6)
    assert receipts.find(KEY) is None
    assert len(receipts) == 0


def test_the_floor_never_goes_down() -> None:
    receipts = Receipts()
    receipts.forget_below(6)
    receipts.forget_below(3)
    receipts.remember(KEY, Receipt(5, 0, 5))
    assert receipts.find(KEY) is None


def test_the_same_id_of_another_user_or_topic_is_another_publish() -> None:
    receipts = Receipts()
    receipts.remember(KEY, Receipt(5, 0, 5))
    assert receipts.find(("chat/a/P", "bob", "1")) is None
    assert receipts.find(("chat/b/P", "ann", "1")) is None


def test_a_receipt_learnt_late_is_not_found_below_the_floor() -> None:
    receipts = Receipts()
    receipts.remember(("a", "", "1"), Receipt(10, 0, 10))
    receipts.remember(KEY, Receipt(5, 0, 5))
    receipts.forget_below(7)
    assert receipts.find(KEY) is None
    assert receipts.find(("a", "", "1")) == Receipt(10, 0, 10)


def test_the_floor_that_bounds_the_memory_leaves_the_newest() -> None:
    receipts = Receipts()
    for position in range(1, 11):
        receipts.remember(("a", "", str(position)), Receipt(position, 0, position))
    assert receipts.floor_for(10) == 0
    assert receipts.floor_for(3) == 8


def test_what_the_journal_lost_was_never_accepted() -> None:
    receipts = Receipts()
    late: Key = ("a", "", "late")
    for key, receipt in ((late, Receipt(5, 0, 9)), (KEY, Receipt(6, 0, 6)), (("a", "", "1"), Receipt(8, 0, 8))):
        receipts.remember(key, receipt)
    receipts.forget_above(6)
    assert receipts.find(KEY) == Receipt(6, 0, 6)
    assert [receipts.find(late), len(receipts)] == [None, 1]
