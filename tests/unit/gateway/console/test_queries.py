"""A page's query is a topic of the console's project, and back."""

import pytest

from aerostack_realtime.gateway.console.queries import OF_ONE, VIEWS, Query, View, parse, query_of, topic_of
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import BadMessage


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_has_a_topic_that_names_it_and_its_query(view: View) -> None:
    query = Query(view, name="chat/1/default") if view in OF_ONE else Query(view, search="Ann é")
    canonical = topics.canonical(topic_of(query), topics.CONSOLE)
    assert topics.is_console(canonical)
    assert query_of(canonical) == query
    assert topics.table_of(canonical) is None


@pytest.mark.parametrize(
    "topic",
    [
        "view/nothing",
        "other/overview",
        "overview",
        "view/channels/eyJ",
        "view/channels/W10",
        "view/channels/eyJsaW1pdCI6OTk5fQ",
        "view/channels/eyJ4IjoxfQ",
    ],
)
def test_an_unreadable_query_is_refused(topic: str) -> None:
    with pytest.raises(BadMessage):
        parse(topic)


def test_the_project_of_the_console_cannot_be_reached_from_another() -> None:
    assert topics.canonical("view/overview/_console", "default") == "view/overview/_console/default"
    assert not topics.is_console("view/overview/_console/default")
