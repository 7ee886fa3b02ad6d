from collections import Counter

import pytest

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.server_list import InvalidUrl, ServerList, base_url


def test_one_url_is_one_server() -> None:
    servers = ServerList("http://a")
    assert servers.current == "http://a"
    servers.advance()
    assert servers.current == "http://a"


def test_clients_spread_over_the_servers() -> None:
    first = Counter(ServerList(["http://a", "http://b", "http://c"]).current for _ in range(300))
    assert set(first) == {"http://a", "http://b", "http://c"}


def test_attempts_try_each_server_once_from_the_current_one() -> None:
    order = iter([0.3, 0.1, 0.2])
    servers = ServerList(["http://a", "http://b", "http://c"], lambda: next(order))
    assert list(servers.attempts()) == ["http://b", "http://c", "http://a"]
    for server in servers.attempts():
        if server == "http://c":
            break
    assert servers.current == "http://c"


def test_the_same_server_twice_is_one_server() -> None:
    assert len(list(ServerList(["http://a", "http://a/", "ws://a/v1"]).attempts())) == 1


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("http://h:1", "http://h:1"),
        ("https://h/prefix/", "https://h/prefix"),
        ("ws://h", "http://h"),
        ("wss://h:9/", "https://h:9"),
        ("https://h/v1", "https://h"),
        ("https://h/prefix/v1/", "https://h/prefix"),
        ("https://h/prefix/v11", "https://h/prefix/v11"),
    ],
)
def test_a_url_is_accepted_as_users_write_it(written: str, base: str) -> None:
    assert base_url(written) == base


@pytest.mark.parametrize("url", ["localhost:8787", "127.0.0.1:8902", "ftp://host", "http://", "http://[", ""])
def test_a_url_without_scheme_or_host_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrl, match="needs http:// or https://") as refused:
        base_url(url)
    assert repr(url) in refused.value.message
    assert isinstance(refused.value, AerostackError)
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize("url", ["http://ann:pw@host", "http://host/?token=pw", "//x:pw@h"])
def test_a_refused_url_with_a_credential_is_not_shown(url: str) -> None:
    with pytest.raises(InvalidUrl) as refused:
        base_url(url)
    assert "pw" not in refused.value.message


def test_a_list_needs_a_server() -> None:
    with pytest.raises(InvalidUrl, match="at least one"):
        ServerList([])
