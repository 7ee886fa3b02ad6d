"""Tokens: what a valid one proves, and the attacks that are known (RFC 8725, and the CVEs of JWT libraries)."""

import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.access.tokens import (
    LEEWAY_SECONDS,
    MAX_TOKEN_BYTES,
    Algorithm,
    Tokens,
    claimed_subject,
    public_key,
    secret_key,
)
from aerostack_realtime.protocol.errors import AerostackError, TokenExpired, Unauthorized
from tests.unit.access.signed_tokens import CLAIMS, NOW, SECRET, by_hand, made, part, pem, private, tokens


def test_a_valid_token_proves_its_claims() -> None:
    assert tokens().check(made(role="admin")) == {**CLAIMS, "role": "admin"}
    assert tokens().check(by_hand({"alg": "HS256"})) == CLAIMS


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_checks_tokens_of_its_algorithm(algorithm: Algorithm) -> None:
    checks = tokens(public_key(pem(algorithm), algorithm))
    assert checks.check(made(private(algorithm), algorithm))["sub"] == "ann"
    with pytest.raises(Unauthorized):
        checks.check(made())


def test_secrets_are_rotated_by_having_two() -> None:
    checks = tokens(secret_key("x" * 32), secret_key(SECRET))
    assert checks.check(made())
    assert checks.check(made("x" * 32))


def test_a_key_with_an_id_checks_only_tokens_that_name_it_or_none() -> None:
    checks = tokens(secret_key(SECRET, kid="one"))
    assert checks.check(made(header={"kid": "one"}))
    assert checks.check(made())
    with pytest.raises(Unauthorized):
        checks.check(made(header={"kid": "two"}))


def test_issuer_and_audience_are_checked_when_they_are_configured() -> None:
    checks = tokens(secret_key(SECRET, issuer="https://idp", audience="this-project"))
    assert checks.check(made(iss="https://idp", aud="this-project"))
    assert checks.check(made(iss="https://idp", aud=["other", "this-project"]))
    lacking: list[dict[str, Any]] = [
        {},
        {"iss": "https://idp"},
        {"aud": "this-project"},
        {"iss": "https://idp", "aud": "other-project"},
    ]
    for claims in lacking:
        with pytest.raises(Unauthorized):
            checks.check(made(**claims))
    assert tokens().check(made(iss="anyone", aud="anything"))


def test_times_have_a_leeway() -> None:
    assert tokens().check(made(exp=NOW - LEEWAY_SECONDS))
    assert tokens().check(made(nbf=NOW + LEEWAY_SECONDS))
    with pytest.raises(TokenExpired):
        tokens().check(made(exp=NOW - LEEWAY_SECONDS - 1))
    with pytest.raises(Unauthorized, match="not valid yet"):
        tokens().check(made(nbf=NOW + LEEWAY_SECONDS + 1))


def test_a_token_that_no_key_fits_asks_for_new_keys() -> None:
    asked: list[str] = []
    checks = Tokens(lambda: (secret_key(SECRET, kid="one"),), lambda: NOW, lambda: asked.append("once"))
    with pytest.raises(Unauthorized):
        checks.check(made(header={"kid": "two"}))
    assert asked == ["once"]


def confused() -> str:
    """The public key, which everyone has, taken for an HMAC secret."""
    return by_hand({"alg": "HS256"}, secret=pem("RS256").encode())


def duplicated() -> str:
    return by_hand(b'{"alg":"none","alg":"HS256"}')


def swapped() -> str:
    head, _, signature = made().split(".")
    return f"{head}.{part({**CLAIMS, 'sub': 'root'})}.{signature}"


def malleable() -> str:
    """A signature of zeros, as CVE-2022-21449 took it for ES256."""
    return f"{part({'alg': 'ES256'})}.{part(CLAIMS)}.{part(bytes(64))}"


ATTACKS: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "no token": lambda: "not.a.token",
    "two parts": lambda: ".".join(made().split(".")[:2]),
    "four parts": lambda: made() + ".x",
    "five parts (JWE)": lambda: ".".join(["x"] * 5),
    "too long": lambda: "x" * (MAX_TOKEN_BYTES + 1),
    "alg none": lambda: f"{part({'alg': 'none'})}.{part(CLAIMS)}.",
    "alg None, signed": lambda: by_hand({"alg": "None"}),
    "alg none, signed": lambda: by_hand({"alg": "none"}),
    "alg nOnE": lambda: by_hand({"alg": "nOnE"}),
    "alg empty": lambda: by_hand({"alg": ""}),
    "alg missing": lambda: by_hand({"typ": "JWT"}),
    "alg a list": lambda: by_hand({"alg": ["HS256"]}),
    "alg hs256 in lower case": lambda: by_hand({"alg": "hs256"}),
    "another HMAC": lambda: made(SECRET * 2, "HS512"),
    "empty signature": lambda: f"{part({'alg': 'HS256'})}.{part(CLAIMS)}.",
    "signature of another": lambda: made("another-secret-of-at-least-32-bytes!"),
    "signed with nothing": lambda: by_hand({"alg": "HS256"}, secret=b""),
    "signed with the key id": lambda: by_hand({"alg": "HS256", "kid": "one"}, secret=b"one"),
    "public key as secret": confused,
    "RS256 without such a key": lambda: made(private("RS256"), "RS256"),
    "zero signature": malleable,
    "claims swapped": swapped,
    "header named twice": duplicated,
    "claim named twice": lambda: by_hand(
        {"alg": "HS256"}, f'{{"sub":"ann","exp":{NOW + 60},"sub":"root"}}'.encode()
    ),
    "jwk": lambda: made(header={"jwk": {"kty": "oct", "k": part(b"x")}}),
    "jku": lambda: made(header={"jku": "https://attacker.example/keys"}),
    "x5u": lambda: made(header={"x5u": "https://attacker.example/cert"}),
    "x5c": lambda: made(header={"x5c": ["MII"]}),
    "crit": lambda: made(header={"crit": ["exp"]}),
    "b64": lambda: by_hand({"alg": "HS256", "b64": False}),
    "kid as a path": lambda: by_hand({"alg": "HS256", "kid": "../../dev/null"}, secret=b""),
    "kid as SQL": lambda: by_hand({"alg": "HS256", "kid": "x' UNION SELECT 'k' --"}, secret=b"k"),
    "kid a number": lambda: by_hand({"alg": "HS256", "kid": 7}),
    "no exp": lambda: by_hand({"alg": "HS256"}, {"sub": "ann"}),
    "no sub": lambda: by_hand({"alg": "HS256"}, {"exp": NOW + 60}),
    "exp a word": lambda: by_hand({"alg": "HS256"}, {"sub": "ann", "exp": "9999999999"}),
    "exp true": lambda: by_hand({"alg": "HS256"}, {"sub": "ann", "exp": True}),
    "exp infinite": lambda: by_hand({"alg": "HS256"}, b'{"sub":"ann","exp":1e999}'),
    "exp not a number": lambda: by_hand({"alg": "HS256"}, b'{"sub":"ann","exp":NaN}'),
    "exp beyond floats": lambda: by_hand({"alg": "HS256"}, b'{"sub":"ann","exp":1' + b"0" * 400 + b"}"),
    "nbf a word": lambda: by_hand({"alg": "HS256"}, {**CLAIMS, "nbf": "0"}),
    "sub empty": lambda: made(sub=""),
    "sub a number": lambda: by_hand({"alg": "HS256"}, {**CLAIMS, "sub": 7}),
    "claims a list": lambda: by_hand({"alg": "HS256"}, [1]),
    "nested": lambda: by_hand(b"[" * 5000),
    "not base64": lambda: "%%%.%%%.%%%",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_forged_or_unfit_token_is_refused(attack: Callable[[], str]) -> None:
    with pytest.raises(Unauthorized):
        tokens(secret_key(SECRET), public_key(pem("ES256"), "ES256")).check(attack())


def test_a_refusal_repeats_nothing_of_the_token() -> None:
    with pytest.raises(Unauthorized) as refused:
        tokens(secret_key(SECRET, audience="mine")).check(made(aud="marker-audience", sub="marker-sub"))
    assert "marker" not in str(refused.value)


def test_a_public_key_as_secret_is_refused_where_it_is_configured() -> None:
    with pytest.raises(ValueError, match="PEM"):
        secret_key(pem("RS256"))
    with pytest.raises(ValueError, match="32 characters"):
        secret_key("short")
    for other_form in ("ssh-ed25519 " + "A" * 40, json.dumps({"kty": "oct", "k": part(b"x" * 32)})):
        with pytest.raises(ValueError, match="random text"):
            secret_key(other_form)


def test_keys_of_other_algorithms_weak_and_private_ones_are_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key()
    secret = private("ES256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    weak_pem = weak.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for key, algorithm in (
        (pem("RS256"), "ES256"),
        (pem("ES256"), "EdDSA"),
        (weak_pem, "RS256"),
        (secret, "ES256"),
    ):
        with pytest.raises(ValueError):
            public_key(key, algorithm)  # type: ignore[arg-type]


header = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from(["HS256", "none", "RS256", ""]) | st.integers(),
        "kid": st.text() | st.none(),
        "crit": st.just(["exp"]),
        "typ": st.text(),
    },
)
junk = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda of: st.lists(of))
claims = st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "aud", "iss", "role"]), junk)


@given(header, claims)
def test_a_signed_token_is_a_user_or_refused_whatever_is_in_it(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    try:
        found = tokens().check(by_hand(header, claims))
    except AerostackError:
        return
    assert found["sub"]
    assert found["exp"] > NOW - 60


@given(st.text(max_size=200) | st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}", fullmatch=True))
def test_whatever_is_sent_as_a_token_is_refused(sent: str) -> None:
    with pytest.raises(Unauthorized):
        tokens().check(sent)


characters = st.sampled_from("AQgwx019_-+/=. é\n")
edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.text(characters, max_size=3)), max_size=2)
audiences = st.sampled_from(
    ["mine", "other", "", ["mine"], ["x", "mine"], ["x"], [7, "mine"], {"mine": 1}, 7, None]
)
issuers = st.sampled_from(["https://issuer.example", "https://issuer.example/", "", 7, None, ["x"]])


def decoded(token: str, algorithm: Algorithm, issuer: str | None, audience: str | None) -> Any:
    """The claims by PyJWT alone, None for a token that it refuses."""
    key = SECRET if algorithm == "HS256" else private(algorithm).public_key()
    options = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "sub", "jti")}
    checked = {"verify_aud": audience is not None, "verify_iss": issuer is not None}
    try:
        return jwt.decode(
            token,
            key,
            [algorithm],
            issuer=issuer,
            audience=audience,
            options=options | checked,  # type: ignore[arg-type]
        )
    except (jwt.PyJWTError, ValueError):
        return None


@given(
    st.sampled_from(["HS256", "RS256", "ES256", "EdDSA"]),
    st.fixed_dictionaries({}, optional={"iss": issuers, "aud": audiences}),
    st.sampled_from([None, "https://issuer.example"]),
    st.sampled_from([None, "mine"]),
    edits,
)
def test_no_token_is_accepted_that_pyjwt_alone_refuses(
    algorithm: Algorithm, claims: dict[str, Any], issuer: str | None, audience: str | None, edits: Any
) -> None:
    whole = isinstance(claims.get("iss", ""), str)  # PyJWT signs no other
    key = SECRET if algorithm == "HS256" else private(algorithm)
    token = made(key, algorithm, **claims) if whole else by_hand({"alg": "HS256"}, {**CLAIMS, **claims})
    for at, removed, added in edits:
        token = token[:at] + added + token[at + removed :]
    if algorithm == "HS256":
        checks = tokens(secret_key(SECRET, issuer=issuer, audience=audience))
    else:
        checks = tokens(public_key(pem(algorithm), algorithm, issuer=issuer, audience=audience))
    expected = decoded(token, algorithm, issuer, audience)
    try:
        found = checks.check(token)
    except Unauthorized:
        assert edits or expected is None, "an untouched token is refused only where PyJWT refuses it"
    else:
        assert found == expected


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\udcff.\udcfe.x", "e30.W10.x", "." * 9000])
def test_other_texts_than_tokens_claim_no_subject(token: str) -> None:
    assert claimed_subject(token) is None


def test_a_forged_token_claims_its_subject() -> None:
    assert claimed_subject(jwt.encode({"sub": "ann"}, "", algorithm="none") + "x") == "ann"
