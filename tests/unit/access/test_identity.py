"""Credentials: who they prove someone to be, and the attacks on tokens that are known."""

import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from aerostack_realtime.access.identity import LEEWAY_SECONDS, Authenticator, Identity, sign
from aerostack_realtime.protocol.errors import TokenExpired, Unauthorized

NOW = 1_763_912_345
SECRET = "a-secret-of-at-least-thirty-two-bytes"


def authenticator(*, open_access: bool = False, token_secret: str | None = SECRET) -> Authenticator:
    return Authenticator(
        secret_keys=["secret-one", "secret-two"],
        publishable_keys=["public-one"],
        token_secret=token_secret,
        open_access=open_access,
        now=lambda: NOW,
    )


def token(secret: str = SECRET, **claims: Any) -> str:
    return sign(secret, {"sub": "ann", "exp": NOW + 60, **claims})


def test_each_secret_key_is_the_server_as_key_or_as_bearer() -> None:
    for key in ("secret-one", "secret-two"):
        assert authenticator().identify(key, None) == Identity("server")
        assert authenticator().identify(None, key) == Identity("server")


def test_a_token_is_its_user_with_claims() -> None:
    identity = authenticator().identify("public-one", token(role="admin"))
    assert identity is not None
    assert (identity.kind, identity.user_id, identity.expires) == ("user", "ann", NOW + 60)
    assert identity.claims["role"] == "admin"


def test_a_publishable_key_alone_proves_nobody() -> None:
    assert authenticator().identify("public-one", None) is None
    assert authenticator().identify(None, None) is None


def test_in_development_a_client_is_whom_it_claims_to_be() -> None:
    assert authenticator(open_access=True).identify("anything", None, "ann") == Identity("anonymous", "ann")


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(Unauthorized, match="not known"):
        authenticator().identify("guess", None)


def test_an_expired_token_says_so_after_the_leeway() -> None:
    assert authenticator().identify(None, token(exp=NOW - LEEWAY_SECONDS))
    with pytest.raises(TokenExpired):
        authenticator().identify(None, token(exp=NOW - LEEWAY_SECONDS - 1))


def unsigned(header: dict[str, Any]) -> str:
    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part({'sub': 'ann', 'exp': NOW + 60})}."


@pytest.mark.parametrize(
    "forge",
    [
        lambda: "",
        lambda: "not.a.token",
        lambda: "x" * 9000,
        lambda: token("another-secret-of-at-least-32-bytes!"),
        lambda: unsigned({"alg": "none", "typ": "JWT"}),
        lambda: unsigned({"alg": "HS256", "typ": "JWT"}),
        lambda: jwt.encode({"sub": "ann", "exp": NOW + 60}, SECRET * 2, algorithm="HS512"),
        lambda: jwt.encode(
            {"sub": "ann", "exp": NOW + 60}, SECRET, algorithm="HS256", headers={"jku": "http://x"}
        ),
        lambda: jwt.encode({"sub": "ann", "exp": NOW + 60}, SECRET, algorithm="HS256", headers={"crit": ["exp"]}),
        lambda: sign(SECRET, {"sub": "ann"}),
        lambda: sign(SECRET, {"exp": NOW + 60}),
        lambda: token(exp="soon"),
        lambda: token(sub=""),
        lambda: token(sub=7),
        lambda: token(nbf=4_000_000_000),
    ],
)
def test_a_forged_or_unfit_token_is_refused(forge: Callable[[], str]) -> None:
    given = forge()
    if given:
        with pytest.raises(Unauthorized):
            authenticator().identify(None, given)
    else:
        assert authenticator().identify(None, given) is None


def test_a_server_without_a_token_secret_says_so() -> None:
    with pytest.raises(Unauthorized, match="token_secret"):
        authenticator(token_secret=None).identify(None, token())
