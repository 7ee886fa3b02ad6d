"""The sessions of operators: signed, bounded in time, and ended by what ends the credential."""

from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.operators import Operators
from aerostack_realtime.access.revocations import Revocation, Revocations
from aerostack_realtime.gateway.console.sessions import OperatorSessions
from aerostack_realtime.protocol.errors import Forbidden, Unauthorized
from tests.unit.gateway.websocket.stage import Stage, stage

KEY = "a-secret-key-of-tests"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


async def sessions(node: Stage, revocations: Revocations | None = None) -> OperatorSessions:
    made = OperatorSessions(
        operators=Operators("user.claims.role == 'admin'"),
        authenticator=node.authenticator,
        revocations=revocations or Revocations(),
        database=node.database,
        hours=12,
        now=node.clock,
    )
    await made.load()
    return made


def identity(node: Stage, key: str | None = None, token: str | None = None) -> Identity:
    found = node.authenticator.identify(key, token)
    assert found is not None
    return found


async def test_a_session_is_accepted_by_every_node_and_after_a_restart(node: Stage) -> None:
    first, second = await sessions(node), await sessions(node)
    operator, cookie = first.open(identity(node, KEY))
    assert operator.rights == "full"
    assert second.find(cookie) == operator
    assert (await sessions(node)).find(cookie) == operator


async def test_a_session_ends_with_its_time_or_with_its_token(node: Stage) -> None:
    made = await sessions(node)
    _, long = made.open(identity(node, KEY))
    _, short = made.open(identity(node, token=node.token("ann", 60, role="admin")))
    node.clock.seconds += 61
    made.find(long)
    with pytest.raises(Unauthorized):
        made.find(short)
    node.clock.seconds += 12 * 3600
    with pytest.raises(Unauthorized):
        made.find(long)


async def test_a_session_that_was_ended_is_refused_on_all_nodes(node: Stage) -> None:
    first, second = await sessions(node), await sessions(node)
    operator, cookie = first.open(identity(node, KEY))
    _, other = first.open(identity(node, KEY))
    await second.end(operator)
    for each in (first, second, await sessions(node)):
        with pytest.raises(Unauthorized):
            each.find(cookie)
        each.find(other)


async def test_a_forged_cookie_is_refused(node: Stage) -> None:
    made = await sessions(node)
    _, cookie = made.open(identity(node, KEY))
    claims = jwt.decode(cookie, options={"verify_signature": False})
    forged = jwt.encode(claims, "another-secret-of-32-characters-or-more", algorithm="HS256")
    for each in (None, "", "nonsense", cookie[:-3], forged, jwt.encode(claims, "", algorithm="none")):
        with pytest.raises(Unauthorized):
            made.find(each)


async def test_a_revoked_token_ends_the_session_opened_with_it(node: Stage) -> None:
    revocations = Revocations()
    made = await sessions(node, revocations)
    token = node.token("ann", jti="1", iat=node.clock.seconds, role="admin")
    _, cookie = made.open(identity(node, token=token))
    made.find(cookie)
    revocations.add(Revocation("token", "1", node.clock.seconds, node.clock.seconds + 100))
    with pytest.raises(Unauthorized):
        made.find(cookie)


async def test_a_user_without_the_claim_opens_no_session(node: Stage) -> None:
    made = await sessions(node)
    for each in (identity(node, token=node.token("bob", role="guest")), Identity("anonymous", "ann")):
        with pytest.raises(Forbidden):
            made.open(each)
