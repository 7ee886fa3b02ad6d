"""The address of an explanation in the answer to a refused subscription."""

import pytest

from aerostack_realtime.gateway.websocket.explanation_link import ExplanationLinks
from aerostack_realtime.protocol.messages import Error

REFUSED = Error("forbidden", "No.", False, "chat/1/default", "7")


def test_a_refusal_of_a_user_leads_to_the_right_that_is_missing() -> None:
    links = ExplanationLinks.of("http", "127.0.0.1:8787")
    assert links is not None
    error = links.added(REFUSED, "ann b", "c1")
    page = "http://127.0.0.1:8787/console/#/explain"
    assert error.message == f"No. Why: {page}?topic=chat/1&user=ann+b&access=subscribe"
    assert (error.code, error.topic, error.id) == ("forbidden", "chat/1/default", "7")
    assert links.added(REFUSED, None, "c1").message == f"No. Why: {page}?connection=c1"


@pytest.mark.parametrize("host", [None, "", "a b", "evil/\n", "x" * 300])
def test_a_host_that_cannot_be_written_gives_no_address(host: str | None) -> None:
    assert ExplanationLinks.of("http", host) is None
