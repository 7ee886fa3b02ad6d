"""Token buckets."""

import pytest

from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.limits.token_bucket import (
    MAX_NAMES,
    ConnectionRateLimiter,
    HttpRateLimiter,
    KeyedTokenBuckets,
    TokenBucket,
)
from aerostack_realtime.protocol.errors import RateLimited


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    clock = Clock()
    allowance = TokenBucket(10, 5, clock)
    assert [allowance.take() for _ in range(6)] == [True] * 5 + [False]
    clock.now += 0.25
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    clock.now += 1000
    assert [allowance.take() for _ in range(6)] == [True] * 5 + [False]


def test_what_is_larger_than_the_burst_has_to_be_waited_off() -> None:
    clock = Clock()
    allowance = TokenBucket(10, 5, clock)
    assert allowance.take(25)
    clock.now += 2.4
    assert not allowance.take(5)
    clock.now += 0.2
    assert allowance.take(5)


def test_a_rate_of_0_means_unlimited() -> None:
    allowance = TokenBucket(0, 0, Clock())
    assert all(allowance.take(1000) for _ in range(100))


def test_it_is_known_how_long_to_wait() -> None:
    clock = Clock()
    allowance = TokenBucket(10, 5, clock)
    assert allowance.wait(3) == 0
    assert allowance.take(5)
    assert allowance.wait(3) == pytest.approx(0.3)
    assert allowance.wait(1000) == pytest.approx(0.5), "a full burst is all there ever is"
    clock.now += allowance.wait(3) + 1e-6
    assert allowance.take(3)


def test_each_caller_has_a_bucket_of_its_own() -> None:
    clock = Clock()
    callers = HttpRateLimiter(Limits(calls_per_second=0.5, calls_burst=2), clock)
    callers.call(("user", "1.2.3.4"), 2)
    callers.call(("address", "1.2.3.4"))
    with pytest.raises(RateLimited) as refused:
        callers.call(("user", "1.2.3.4"))
    assert refused.value.seconds == 2
    clock.now += 2
    callers.call(("user", "1.2.3.4"))


def test_names_are_remembered_up_to_a_bound_those_who_took_last() -> None:
    allowances = KeyedTokenBuckets(0.001, 2, Clock())
    allowances.take("ann", 2, "calls")
    for number in range(MAX_NAMES * 2):
        allowances.take(number, 1, "calls")
        if number % 1000 == 0:
            with pytest.raises(RateLimited):
                allowances.take("ann", 1, "calls")
    assert len(allowances) == MAX_NAMES
    allowances.take(0, 2, "calls")


def test_twice_the_message_rate_becomes_abusive() -> None:
    clock = Clock()

    def refused_until_hopeless(rate: float, seconds: float) -> float | None:
        throttle = ConnectionRateLimiter(
            Limits(messages_per_second=10, messages_burst=10, refused_messages=50), clock
        )
        for number in range(int(rate * seconds)):
            clock.now += 1 / rate
            throttle.message(clock())
            if throttle.abusive:
                return number / rate
        return None

    assert refused_until_hopeless(19, 600) is None
    found = refused_until_hopeless(40, 600)
    assert found is not None
    assert found < 5, "although a message gets through every 0.1 s"


def test_twice_the_byte_rate_becomes_abusive() -> None:
    clock = Clock()

    def bytes_until_hopeless(rate: float, seconds: float) -> float | None:
        limits = Limits(publish_bytes_per_second=1_000, publish_bytes_burst=5_000)
        throttle = ConnectionRateLimiter(limits, clock)
        for number in range(int(rate * seconds / 500)):
            clock.now += 500 / rate
            throttle.published(500, clock())
            if throttle.abusive:
                return number * 500
        return None

    assert bytes_until_hopeless(1_900, 600) is None
    found = bytes_until_hopeless(1_000_000, 600)
    assert found is not None
    assert 15_000 <= found < 16_000, "the burst, and twice as much"
