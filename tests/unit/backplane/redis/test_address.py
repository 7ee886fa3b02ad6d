"""URLs of Redis: what they mean, and one sentence for each mistake."""

import pytest

from aerostack_realtime.backplane.base import JournalUnusable
from aerostack_realtime.backplane.redis.address import Address, Credentials, Endpoint, Tls, parse_address

PASSWORD = "s3cret-pa55"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", Address((Endpoint("cache", 6379),))),
        ("redis://[::1]:7000/3", Address((Endpoint("::1", 7000),), database=3)),
        ("redis://:p%40ss@cache", Address((Endpoint("cache", 6379),), Credentials(None, "p@ss"))),
        ("redis://node:word@cache/0", Address((Endpoint("cache", 6379),), Credentials("node", "word"))),
        ("rediss://cache?verify=none", Address((Endpoint("cache", 6379),), tls=Tls("none"))),
        (
            "rediss://cache?ca=/ca.pem&cert=/c.pem&key=/k.pem",
            Address((Endpoint("cache", 6379),), tls=Tls("full", "/ca.pem", "/c.pem", "/k.pem")),
        ),
        ("unix:///run/redis.sock?database=2", Address((Endpoint(path="/run/redis.sock"),), database=2)),
        (
            "redis+sentinel://u:p@one,two:5000/main/4?sentinel_user=s&sentinel_password=q",
            Address(
                (Endpoint("one", 26379), Endpoint("two", 5000)),
                Credentials("u", "p"),
                4,
                None,
                "main",
                Credentials("s", "q"),
            ),
        ),
    ],
)
def test_a_url_names_a_server(url: str, address: Address) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://cache", "must begin with one of redis, rediss, unix"),
        ("redis:cache", "must begin with one of"),
        (f"redis://:{PASSWORD}/x@cache", "reserved character"),
        (f"redis://:{PASSWORD}#x@cache", "reserved character"),
        (f"redis://:{PASSWORD}@x@cache", "reserved character"),
        (f"redis://{PASSWORD}@cache", "user without a password"),
        (f"redis://:{PASSWORD}@cache:port", "port .* not a number"),
        (f"redis://:{PASSWORD}@", "host .* is missing"),
        (f"redis://:{PASSWORD}@cache/first", "database .* not a number"),
        (f"redis://:{PASSWORD}@one,two", "Redis Cluster is not supported"),
        (f"redis://:{PASSWORD}@cache?ca=/x", "TLS options need rediss"),
        (f"rediss://:{PASSWORD}@cache?key=/x", "`key` without a `cert`"),
        (f"rediss://:{PASSWORD}@cache?verify=maybe", "full, ca or none"),
        ("unix://run/redis.sock", "needs an absolute path"),
        (f"redis+sentinel://:{PASSWORD}@one,two", "name of the master is missing"),
    ],
)
def test_a_wrong_url_gets_one_sentence_without_its_password(url: str, sentence: str) -> None:
    with pytest.raises(JournalUnusable, match=sentence) as raised:
        parse_address(url)
    assert PASSWORD not in str(raised.value)


def test_an_address_prints_no_credentials() -> None:
    address = parse_address(f"rediss+sentinel://user:{PASSWORD}@one/main?sentinel_password={PASSWORD}")
    assert str(address) == "rediss+sentinel://one:26379/main/0"
    assert PASSWORD not in repr(address)
