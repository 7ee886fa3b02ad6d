from typing import Any

import pytest

from aerostack_realtime.protocol.errors import BadMessage, InvalidTopic
from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.client import RealtimeClient
from aerostack_realtime.sdk.endpoint import Endpoint


@pytest.mark.parametrize(
    "url", ["localhost:8787", "ftp://host", "http://", "http://ann:pw@host", "http://host/?token=t", ""]
)
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        Endpoint(url)


@pytest.mark.parametrize("url", ["http://h:1", "https://h/prefix/", "ws://h", "wss://h:9/"])
def test_a_server_may_be_written_for_http_or_websocket(url: str) -> None:
    assert repr(Endpoint(url)).startswith("<Endpoint http")


@pytest.mark.parametrize("topic", [None, 5, b"orders", ["orders"]])
@pytest.mark.parametrize("project", [None, "shop"])
def test_a_topic_of_another_type_is_an_invalid_topic(topic: Any, project: str | None) -> None:
    endpoint = Endpoint("http://h", project_id=project)
    for read in endpoint.channel_name, endpoint.wire_topic:
        with pytest.raises(InvalidTopic, match="is a text such as"):
            read(topic)


async def test_a_state_of_another_type_is_a_bad_message() -> None:
    state: Any = "online"
    with pytest.raises(BadMessage, match="is a mapping such as"):
        await RealtimeClient("http://h").channel("room/1").track(state)


def test_no_repr_shows_a_credential() -> None:
    sdk = Aerostack("http://h", api_key="ac_secret_1", token="jwt.secret.2")
    client = RealtimeClient("http://h", api_key="ac_secret_1", token="jwt.secret.2")
    shown = f"{sdk!r} {sdk.realtime!r} {client!r} {client.channel('chat/room')!r}"
    assert "secret" not in shown


@pytest.mark.parametrize("name", ["api_key", "token"])
def test_a_refused_credential_is_not_shown(name: str) -> None:
    with pytest.raises(ValueError, match=name) as refused:
        Endpoint("http://h", **{name: "hush hush\n"})
    assert "hush" not in str(refused.value)
