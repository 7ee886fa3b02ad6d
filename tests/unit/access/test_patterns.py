"""Topic patterns: what they match, and which texts are refused."""

import pytest

from aerostack_realtime.access.patterns import Pattern


@pytest.mark.parametrize(
    ("pattern", "topic", "found"),
    [
        ("chat/{room}", "chat/general", {"room": "general"}),
        ("chat/{room}", "chat/a/b", None),
        ("chat/{room}", "chat", None),
        ("chat/{room}", "xchat/general", None),
        ("users/*/inbox", "users/7/inbox", {}),
        ("users/*/inbox", "users/7/8/inbox", None),
        ("org/{org}/**", "org/1/a/b", {"org": "1"}),
        ("org/{org}/**", "org/1", None),
        ("**", "any/thing", {}),
        ("a.b/c", "a.b/c", {}),
        ("a.b/c", "axb/c", None),
    ],
)
def test_a_pattern_matches_whole_segments(pattern: str, topic: str, found: dict[str, str] | None) -> None:
    assert Pattern(pattern).match(topic) == found


@pytest.mark.parametrize(
    "written",
    ["", "chat/", "/chat", "a//b", "**/x", "chat/{}", "chat/{1}", "c{x}", "{a}/{a}", "{user}/x", "a b", "a/(b)"],
)
def test_invalid_patterns_are_refused(written: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Pattern(written)
