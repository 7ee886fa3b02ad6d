"""Origins: which pages may connect."""

import pytest

from aerostack_realtime.gateway.origins import Origins


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://app.example.com", True),
        ("https://APP.example.com", True),
        ("https://api.example.com", True),
        ("http://app.example.com", False),
        ("https://app.example.com.evil.com", False),
        ("https://evilapp.example.com", False),
        ("null", False),
        ("", False),
        ("http://[", False),
        ("http://localhost:5173", False),
    ],
)
def test_the_own_origin_and_the_listed_ones_and_no_other(origin: str | None, allowed: bool) -> None:
    origins = Origins(["https://app.example.com"], loopback=False)
    assert origins.allows(origin, "api.example.com") is allowed


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1", "http://[::1]:80"])
def test_in_development_every_loopback_page_may(origin: str) -> None:
    assert Origins([], loopback=True).allows(origin, "127.0.0.1:8787")
    assert not Origins([], loopback=True).allows("http://192.168.1.2", "127.0.0.1:8787")
