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


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example.com", True),
        ("https://a.b.example.com", True),
        ("https://example.com", False),
        ("https://.example.com", False),
        ("http://a.example.com", False),
        ("https://a.example.com:444", False),
        ("https://aexample.com", False),
        ("https://a.example.com.evil.com", False),
        ("https://evil.com/.example.com", False),
        ("https://evil.com#.example.com", False),
        ("https://evil.com?.example.com", False),
        ("https://user@a.example.com", False),
    ],
)
def test_a_wildcard_stands_for_sub_domains_only(origin: str, allowed: bool) -> None:
    assert Origins(["https://*.example.com"], loopback=False).allows(origin, "api.internal") is allowed


@pytest.mark.parametrize("written", ["capacitor://localhost", "tauri://localhost", "app://-"])
def test_an_app_whose_pages_have_a_scheme_of_their_own_can_be_listed(written: str) -> None:
    origins = Origins([written], loopback=False)
    assert origins.allows(written, "api.example.com")
    assert not origins.allows("https://localhost", "api.example.com")
    assert not origins.allows("null", "api.example.com")


@pytest.mark.parametrize(
    "written",
    ["*", "https://*", "https://*.com", "https://a.*.com", "app.example.com", "https://a/b", "null", "file://a"],
)
def test_invalid_origins_are_refused_in_the_settings(written: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        Origins([written], loopback=False)


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost:8787", True),
        ("127.0.0.1", True),
        ("[::1]:8787", True),
        ("192.168.1.5:8787", True),
        ("app.localhost", True),
        ("rebound.evil.com:8787", False),
        ("localhost.evil.com", False),
        ("[", False),
    ],
)
def test_in_development_the_server_answers_to_no_name_that_others_own(host: str, served: bool) -> None:
    """DNS rebinding: the page of evil.com would be of our own origin."""
    origins = Origins([], loopback=True)
    assert origins.serves(host) is served
    assert Origins([], loopback=False).serves(host)
    assert not origins.allows("http://rebound.evil.com:8787", "rebound.evil.com:8787")


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1", "http://[::1]:80"])
def test_in_development_every_loopback_page_may(origin: str) -> None:
    assert Origins([], loopback=True).allows(origin, "127.0.0.1:8787")
    assert not Origins([], loopback=True).allows("http://192.168.1.2", "127.0.0.1:8787")
