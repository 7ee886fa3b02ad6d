import pytest

from aerostack_realtime.protocol.errors import Forbidden, Overloaded, TooLarge, Unavailable
from aerostack_realtime.protocol.messages import Ack
from aerostack_realtime.sdk.outbox import Outbox, new_id


async def test_unanswered_commands_are_kept_in_order() -> None:
    outbox = Outbox()
    outbox.add("a", b"1")
    outbox.add("b", b"2")
    outbox.add("c", b"3")
    assert outbox.answer("b", Ack(id="b"))
    assert list(outbox.frames()) == [b"1", b"3"]


async def test_an_answer_settles_its_command_once() -> None:
    outbox = Outbox()
    answer = outbox.add("a", b"1")
    reply = Ack(id="a", duplicate=True)
    assert outbox.answer("a", reply)
    assert await answer is reply
    assert not outbox.answer("a", reply)


async def test_an_error_is_raised_where_the_answer_is_awaited() -> None:
    outbox = Outbox()
    answer = outbox.add("a", b"1")
    assert outbox.fail("a", Forbidden("no"))
    with pytest.raises(Forbidden, match="no"):
        await answer
    assert not outbox.fail("a", Forbidden("no"))


async def test_a_withdrawn_command_is_not_sent_again() -> None:
    outbox = Outbox()
    outbox.add("a", b"1").cancel()
    outbox.withdraw("a")
    assert list(outbox.frames()) == []
    assert not outbox.answer("a", Ack(id="a"))


async def test_an_answer_to_a_cancelled_caller_is_ignored() -> None:
    outbox = Outbox()
    outbox.add("a", b"1").cancel()
    assert outbox.answer("a", Ack(id="a"))
    assert len(outbox) == 0


async def test_an_unnamed_frame_that_is_too_large_is_the_largest() -> None:
    outbox = Outbox()
    small, large = outbox.add("a", b"1"), outbox.add("b", b"22")
    assert outbox.fail_largest(TooLarge("too large"))
    with pytest.raises(TooLarge):
        await large
    assert not small.done()
    outbox.withdraw("a")
    assert not outbox.fail_largest(TooLarge("too large"))


async def test_the_end_fails_all_commands() -> None:
    outbox = Outbox()
    answers = [outbox.add(id, b"") for id in "abc"]
    outbox.fail_all(Unavailable("gone"))
    for answer in answers:
        with pytest.raises(Unavailable):
            await answer
    assert len(outbox) == 0


async def test_the_number_of_waiting_commands_is_bounded() -> None:
    outbox = Outbox(limit=1)
    outbox.add("a", b"")
    with pytest.raises(Overloaded):
        outbox.add("b", b"")


def test_ids_are_long_and_unique() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(id) >= 22 for id in ids)  # 128 bits


async def test_the_oldest_command_can_be_failed() -> None:
    outbox = Outbox()
    first, second = outbox.add("a", b"1"), outbox.add("b", b"2")
    assert outbox.fail_oldest(Forbidden("no"))
    with pytest.raises(Forbidden):
        await first
    assert not second.done()
    outbox.withdraw("b")
    assert not outbox.fail_oldest(Forbidden("no"))


async def test_of_equal_frames_the_oldest_is_the_largest() -> None:
    outbox = Outbox()
    first, second = outbox.add("a", b"11"), outbox.add("b", b"22")
    assert outbox.fail_largest(TooLarge("too large"))
    with pytest.raises(TooLarge):
        await first
    assert not second.done()


async def test_invalid_frames_fail_with_their_own_error() -> None:
    outbox = Outbox()
    small, large = outbox.add("a", b"1"), outbox.add("b", b"22")

    def check(frame: bytes) -> None:
        if len(frame) > 1:
            raise TooLarge("2 bytes")

    outbox.fail_invalid(check)
    with pytest.raises(TooLarge, match="2 bytes"):
        await large
    assert not small.done()
    assert list(outbox.frames()) == [b"1"]
