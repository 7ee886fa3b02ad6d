"""Credentials: the identity they prove. Invalid tokens are in test_tokens.py."""

from typing import Any

import pytest

from aerostack_realtime.access.identity import Authenticator, Identity, sign
from aerostack_realtime.access.keys import Keys, hashed
from aerostack_realtime.access.revocations import Revocation, Revocations
from aerostack_realtime.access.tokens import Tokens, secret_key
from aerostack_realtime.protocol.errors import InvalidKey, Unauthorized

NOW = 1_763_912_345
SECRET = "a-secret-of-at-least-thirty-two-bytes"


def authenticator(*, tokens: bool = True, publishable: str | None = "public-one", **how: Any) -> Authenticator:
    return Authenticator(
        secret_keys=Keys(["secret-one", hashed("secret-two")]),
        publishable_keys=Keys([publishable] if publishable else []),
        tokens=Tokens(lambda: [secret_key(SECRET)], lambda: NOW) if tokens else None,
        now=lambda: NOW,
        **how,
    )


def token(secret: str = SECRET, **claims: Any) -> str:
    return sign(secret, {"sub": "ann", "exp": NOW + 60, **claims})


def identified(checks: Authenticator, *credentials: str | None) -> tuple[str, str | None]:
    identity = checks.identify(*credentials)
    assert identity is not None
    return identity.kind, identity.user_id


def test_each_secret_key_is_the_server_as_key_or_as_bearer() -> None:
    for key in ("secret-one", "secret-two"):
        assert identified(authenticator(), key, None) == ("server", None)
        assert identified(authenticator(), None, key) == ("server", None)


def test_keys_differ_by_their_fingerprints() -> None:
    one, two = (authenticator().identify(key, None) for key in ("secret-one", "secret-two"))
    assert one is not None
    assert two is not None
    assert one.key != two.key


def test_a_token_is_its_user_with_claims() -> None:
    identity = authenticator().identify("public-one", token(role="admin"))
    assert identity is not None
    assert (identity.kind, identity.user_id, identity.expires) == ("user", "ann", NOW + 60)
    assert identity.claims["role"] == "admin"


def test_a_publishable_key_proves_the_project_and_nobody() -> None:
    assert identified(authenticator(), "public-one", None, "ann") == ("anonymous", None)
    assert authenticator().identify(None, None) is None


def test_a_server_may_let_anonymous_clients_in() -> None:
    assert identified(authenticator(anonymous=True), None, None, "ann") == ("anonymous", None)


def test_a_claimed_user_id_counts_only_where_allowed() -> None:
    believing = authenticator(anonymous=True, claimed_ids=True)
    assert identified(believing, "public-one", None, "ann") == ("anonymous", "ann")


def test_open_access_believes_a_claimed_id_and_refuses_wrong_credentials() -> None:
    development = authenticator(open_access=True)
    assert development.identify(None, None, "ann") == Identity("anonymous", "ann")
    with pytest.raises(InvalidKey, match="not known here"):
        development.identify("anything", None, "ann")
    with pytest.raises(Unauthorized, match="not valid"):
        development.identify(None, token("another-secret-of-thirty-two-bytes"))


def test_a_key_sent_twice_is_one_key() -> None:
    assert identified(authenticator(), "public-one", "public-one") == ("anonymous", None)
    assert identified(authenticator(), "secret-one", "secret-one") == ("server", None)


def test_a_secret_key_may_act_for_a_user() -> None:
    assert identified(authenticator(), "secret-one", None, "ann") == ("server", "ann")
    assert identified(authenticator(), "secret-one", token()) == ("user", "ann")


def test_an_unknown_key_is_refused() -> None:
    for key in ("guess", hashed("secret-two")):
        with pytest.raises(Unauthorized, match="not known"):
            authenticator(anonymous=True).identify(key, token())


def test_a_revoked_token_is_refused() -> None:
    revocations = Revocations([Revocation("token", "j1", NOW, NOW + 60), Revocation("user", "bob", NOW, NOW)])
    checks = authenticator(revocations=revocations)
    assert checks.identify(None, token(jti="j2"))
    assert checks.identify(None, token(sub="bob", iat=NOW + 1))
    for claims in ({"jti": "j1"}, {"sub": "bob", "iat": NOW}, {"sub": "bob"}):
        with pytest.raises(Unauthorized, match="revoked"):
            checks.identify(None, token(**claims))


def test_revoked_tokens_are_forgotten_when_they_would_have_expired() -> None:
    revocations = Revocations([Revocation("token", "j1", NOW, NOW + 60), Revocation("user", "bob", NOW, NOW)])
    revocations.expire(NOW + 61)
    assert not revocations.revoked({"jti": "j1", "sub": "ann"})
    assert revocations.revoked({"sub": "bob", "iat": NOW})


def test_a_server_without_token_keys_says_so() -> None:
    with pytest.raises(Unauthorized, match="token_secret"):
        authenticator(tokens=False).identify(None, token())
