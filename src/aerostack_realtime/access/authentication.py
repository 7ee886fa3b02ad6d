"""Setting up authentication: the keys, the fetched key sets, and what was revoked."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from aerostack_realtime.access.identity import Authenticator
from aerostack_realtime.access.jwks import KeySet
from aerostack_realtime.access.keys import Keys
from aerostack_realtime.access.revocations import Revocations
from aerostack_realtime.access.tokens import TokenKey, Tokens
from aerostack_realtime.protocol.errors import Unavailable


class Access(Struct, frozen=True):
    """Which credentials are accepted.

    `fixed_keys` check tokens, as do the keys of `key_sets`; without either no token is accepted. `anonymous`
    admits clients without credentials, `open_access` also believes their claimed user ids.
    """

    secret_keys: Keys
    publishable_keys: Keys
    fixed_keys: Sequence[TokenKey] = ()
    key_sets: Sequence[KeySet] = ()
    anonymous: bool = False
    open_access: bool = False


async def prepared(access: Access, revocations: Revocations, now: Callable[[], float]) -> Authenticator:
    """An authenticator, after every key set was fetched once. `now` is in seconds since the Unix epoch.

    A provider that is down does not delay the start: `KeySet.keep` fetches its keys later, and until then a token
    that no key fits is answered with `unavailable`.
    """
    key_sets = access.key_sets
    await asyncio.gather(*(each.refresh() for each in key_sets))

    def keys() -> Sequence[TokenKey]:
        if not key_sets:
            return access.fixed_keys
        return [*access.fixed_keys, *(key for each in key_sets for key in each.keys)]

    def unknown() -> None:
        for each in key_sets:
            each.want()
        if not all(each.keys for each in key_sets):
            raise Unavailable("The keys that check this token could not be fetched yet; try again in a moment.")

    checks_tokens = bool(access.fixed_keys or key_sets)
    return Authenticator(
        secret_keys=access.secret_keys,
        publishable_keys=access.publishable_keys,
        tokens=Tokens(keys, now, unknown) if checks_tokens else None,
        anonymous=access.anonymous,
        claimed_ids=access.anonymous and not checks_tokens,
        open_access=access.open_access,
        revocations=revocations,
        now=now,
    )
