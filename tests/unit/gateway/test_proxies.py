"""Where a client is, behind proxies."""

import pytest

from aerostack_realtime.gateway.proxies import UNKNOWN, Proxies


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["1.2.3.4"], "203.0.113.9"),
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6", "1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("2001:db8:1:2:3::4", [], "2001:db8:1:2::"),
        ("10.0.0.1", ["[2001:db8:1:2:3::4]"], "2001:db8:1:2::"),
        (None, ["1.2.3.4"], UNKNOWN),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str | None, forwarded: list[str], client: str) -> None:
    assert Proxies(["10.0.0.0/8"]).client(peer, forwarded) == client


def test_invalid_networks_are_refused() -> None:
    with pytest.raises(ValueError):
        Proxies(["proxy.example.com"])
