"""Permissions: decided once, remembered within bounds; hooks are asked, and fail closed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aerostack_realtime.access.hooks import Hook, load
from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.permissions import ANSWER_SECONDS, MAX_REMEMBERED, Permissions, Undecided
from aerostack_realtime.access.rules import ChannelRule, Rules
from aerostack_realtime.access.verdicts import Membership, Verdict
from aerostack_realtime.protocol.errors import Forbidden, Unavailable

ANN = Identity("user", "ann", claims={"sub": "ann"})


class Counting(Rules):
    """Rules that count how often they decide, and can be given a hook."""

    hook: Hook | None = None
    decided = 0

    def decide(self, *what: Any) -> Verdict:
        self.decided += 1
        verdict = super().decide(*what)
        return Verdict(verdict.allowed, verdict.member, self.hook)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def permissions(rules: Rules, is_member: Callable[[Membership], bool] = lambda _: True) -> Permissions:
    return Permissions(ANN, rules, is_member, Clock())


def test_a_verdict_is_decided_once() -> None:
    rules = Counting([ChannelRule("chat/{room}", "authenticated")])
    may = permissions(rules)
    for _ in range(3):
        assert may.check("chat/a/P", "subscribe") is None
        with pytest.raises(Forbidden):
            may.check("chat/a/P", "publish")
    assert rules.decided == 2


def test_what_is_remembered_is_bounded() -> None:
    rules = Counting([ChannelRule("chat/{room}", "authenticated")])
    may = permissions(rules)
    for number in range(MAX_REMEMBERED + 1):
        may.check(f"chat/{number}/P", "subscribe")
    may.check("chat/0/P", "subscribe")
    assert rules.decided == MAX_REMEMBERED + 2


def test_a_membership_is_looked_up_every_time() -> None:
    here = {("1", "ann")}

    def is_member(membership: Membership) -> bool:
        return membership.values in here

    rules = Rules([ChannelRule("rooms/{room}", members={"table": "m", "a": "{room}", "b": "{user.id}"})])
    may = permissions(rules, is_member)
    assert may.check("rooms/1/P", "subscribe") == Membership("m", ("a", "b"), ("1", "ann"))
    here.clear()
    with pytest.raises(Forbidden):
        may.check("rooms/1/P", "subscribe")


def test_memberships_that_are_not_known_let_nobody_in() -> None:
    def unknown(_: Membership) -> bool:
        raise Unavailable("loading")

    rules = Rules([ChannelRule("rooms/{room}", members={"table": "m", "a": "{room}"})])
    with pytest.raises(Unavailable):
        permissions(rules, unknown).check("rooms/1/P", "subscribe")


async def asked(authorize: Any, seconds: float = 5) -> bool:
    return await Hook(authorize, timeout=seconds).ask(ANN, "a/b", "publish")


async def test_a_function_decides_whether_it_is_async_or_not() -> None:
    async def waits(identity: Identity, topic: str, action: str) -> bool:
        await asyncio.sleep(0)
        return (identity.user_id, topic, action) == ("ann", "a/b", "publish")

    assert await asked(waits)
    assert await asked(lambda identity, topic, action: identity.user_id == "ann")
    assert not await asked(lambda identity, topic, action: False)


async def test_a_function_that_raises_hangs_or_answers_something_else_denies() -> None:
    async def hangs(*_: Any) -> bool:
        await asyncio.Event().wait()
        return True

    def raises(*_: Any) -> bool:
        raise RuntimeError("no")

    assert not await asked(hangs, 0.01)
    assert not await asked(raises)
    assert not await asked(lambda: True)
    for answer in ("yes", 1, None, [True]):
        assert not await asked(lambda *_, answer=answer: answer)


async def test_an_answer_holds_for_a_while() -> None:
    answers = iter([True, False])
    rules = Counting([ChannelRule("a/b", "anyone")])
    rules.hook = Hook(lambda *_: next(answers))
    may = permissions(rules)
    with pytest.raises(Undecided) as undecided:
        may.check("a/b/P", "subscribe")
    await may.ask(undecided.value)
    assert may.allows("a/b/P", "subscribe")
    may._now.now = ANSWER_SECONDS + 1  # type: ignore[attr-defined]
    with pytest.raises(Forbidden):
        await may.settle("a/b/P", "subscribe")


def test_a_hook_is_loaded_by_its_name() -> None:
    assert isinstance(load("tests.unit.access.test_permissions:asked"), Hook)
