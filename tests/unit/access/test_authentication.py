"""Setting up authentication: which credentials count, and what happens while a provider is down."""

from collections.abc import Sequence
from typing import Any

import pytest

from aerostack_realtime.access.authentication import Access, prepared
from aerostack_realtime.access.identity import Authenticator, Identity
from aerostack_realtime.access.keys import Keys
from aerostack_realtime.access.revocations import Revocations
from aerostack_realtime.protocol.errors import InvalidKey, Unauthorized, Unavailable
from tests.unit.access.test_jwks import NOW, Provider, jwk, token


async def authenticator(*providers: Provider, **options: Any) -> Authenticator:
    access = Access(
        Keys(["ac_secret_0123456789"]),
        Keys(["ac_publishable_0123456789"]),
        key_sets=[each.set() for each in providers],
        **options,
    )
    return await prepared(access, Revocations(), lambda: NOW)


def kind(identity: Identity | None) -> str | None:
    return None if identity is None else identity.kind


async def test_the_keys_of_all_sets_check_tokens() -> None:
    known = await authenticator(Provider(jwk("one")), Provider(jwk("two")))
    for kid in ("one", "two"):
        assert kind(known.identify(None, token(kid))) == "user"


async def test_an_unknown_key_is_unauthorized_once_all_sets_are_there() -> None:
    known = await authenticator(Provider(jwk("one")))
    with pytest.raises(Unauthorized):
        known.identify(None, token("two"))


async def test_a_provider_that_is_down_delays_no_start() -> None:
    provider = Provider()
    provider.document = None
    known = await authenticator(provider)
    with pytest.raises(Unavailable, match="could not be fetched yet"):
        known.identify(None, token("one"))
    assert kind(known.identify("ac_secret_0123456789", None)) == "server"


@pytest.mark.parametrize(
    ("providers", "options", "anonymous", "claimed"),
    [
        ((), {}, False, False),
        ((), {"anonymous": True}, True, True),
        ((Provider(jwk("one")),), {"anonymous": True}, True, False),
        ((Provider(jwk("one")),), {"open_access": True}, True, True),
    ],
)
async def test_user_ids_may_be_claimed_where_nothing_can_prove_them(
    providers: Sequence[Provider], options: dict[str, bool], anonymous: bool, claimed: bool
) -> None:
    known = await authenticator(*providers, **options)
    assert (known.anonymous, known.claimed_ids) == (anonymous, claimed)


async def test_keys_work_without_any_key_set() -> None:
    known = await authenticator()
    assert kind(known.identify("ac_publishable_0123456789", None)) == "anonymous"
    with pytest.raises(InvalidKey):
        known.identify("ac_secret_another_one", None)
